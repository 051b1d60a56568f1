-- Everything that the pipeline needs in a Snowflake account. Run it as a whole with a role that may create all of it,
-- such as accountadmin, as often as you like: what is there stays, and what was taken away by hand is granted again.
-- Edit first what stands between <angle brackets>: the bucket, its role in AWS and the public keys. docs/cloud.md says
-- of each statement what it is for.

use role accountadmin;

-- Roles: who loads, who transforms, who reads. The administrator of the pipeline has all three, for work by hand; the
-- pipeline itself, a reset included, needs the first two only.
create role if not exists ecommerce_loader comment = 'Loads the history into raw';
create role if not exists ecommerce_transformer comment = 'Builds staging, intermediate and marts from raw';
create role if not exists ecommerce_reader comment = 'Reads the marts';
create role if not exists ecommerce_admin comment = 'Has what the other three have, for work by hand';
grant role ecommerce_loader to role ecommerce_admin;
grant role ecommerce_transformer to role ecommerce_admin;
grant role ecommerce_reader to role ecommerce_admin;
grant role ecommerce_admin to role sysadmin;

-- Warehouses bill by the second, at least a minute: each sleeps after a minute without work. What loads and what
-- transforms differ in size and time, so they are told apart on the bill. A monitor stops them when the month's credits
-- are used up.
create resource monitor if not exists ecommerce_month with credit_quota = 50 frequency = monthly start_timestamp = immediately
    triggers on 75 percent do notify on 100 percent do suspend on 110 percent do suspend_immediate;
create warehouse if not exists ecommerce_loading with
    warehouse_size = xsmall auto_suspend = 60 auto_resume = true initially_suspended = true;
create warehouse if not exists ecommerce_transforming with
    warehouse_size = small auto_suspend = 60 auto_resume = true initially_suspended = true;
create warehouse if not exists ecommerce_reading with
    warehouse_size = xsmall auto_suspend = 60 auto_resume = true initially_suspended = true;
alter warehouse ecommerce_loading set resource_monitor = ecommerce_month statement_timeout_in_seconds = 3600;
alter warehouse ecommerce_transforming set resource_monitor = ecommerce_month statement_timeout_in_seconds = 3600;
alter warehouse ecommerce_reading set resource_monitor = ecommerce_month statement_timeout_in_seconds = 600;
grant usage on warehouse ecommerce_loading to role ecommerce_loader;
grant usage on warehouse ecommerce_transforming to role ecommerce_transformer;
grant usage on warehouse ecommerce_reading to role ecommerce_reader;

-- The database and its schemas. Raw can be loaded again from the history and the rest built again from raw, so a day of
-- time travel is ample, and the week of fail-safe after it, which is stored and billed, is not needed: raw is transient,
-- which its tables inherit, and dbt makes its tables transient by itself.
create database if not exists ecommerce data_retention_time_in_days = 1;
create transient schema if not exists ecommerce.raw;
create schema if not exists ecommerce.staging;
create schema if not exists ecommerce.intermediate;
create schema if not exists ecommerce.marts;
grant usage on database ecommerce to role ecommerce_loader;
grant usage on database ecommerce to role ecommerce_transformer;
grant usage on database ecommerce to role ecommerce_reader;

-- The loader creates and owns the tables of raw, their ledgers and, without an external stage, the stage for parts.
grant usage, create table, create view, create stage on schema ecommerce.raw to role ecommerce_loader;

-- The transformer reads raw, notes its builds in raw._built through the loader, and owns what dbt builds. dbt asks for
-- the schemas that it builds and creates them if they are missing; they are not, so it needs no right to.
grant usage on schema ecommerce.raw to role ecommerce_transformer;
grant select on all tables in schema ecommerce.raw to role ecommerce_transformer;
grant select on all views in schema ecommerce.raw to role ecommerce_transformer;
grant select on future tables in schema ecommerce.raw to role ecommerce_transformer;
grant select on future views in schema ecommerce.raw to role ecommerce_transformer;
grant usage, create table, create view on schema ecommerce.staging to role ecommerce_transformer;
grant usage, create table, create view on schema ecommerce.intermediate to role ecommerce_transformer;
grant usage, create table, create view on schema ecommerce.marts to role ecommerce_transformer;

-- The reader sees the marts, those of tomorrow as well.
grant usage on schema ecommerce.marts to role ecommerce_reader;
grant select on all tables in schema ecommerce.marts to role ecommerce_reader;
grant select on all views in schema ecommerce.marts to role ecommerce_reader;
grant select on future tables in schema ecommerce.marts to role ecommerce_reader;
grant select on future views in schema ecommerce.marts to role ecommerce_reader;

-- A database for `make smoke`, which works as the same two roles. It is empty between two runs, and nothing in it can be
-- recovered.
create transient database if not exists ecommerce_smoke data_retention_time_in_days = 0;
create schema if not exists ecommerce_smoke.raw;
create schema if not exists ecommerce_smoke.staging;
create schema if not exists ecommerce_smoke.intermediate;
create schema if not exists ecommerce_smoke.marts;
grant usage on database ecommerce_smoke to role ecommerce_loader;
grant usage on database ecommerce_smoke to role ecommerce_transformer;
grant usage, create table, create view, create stage on schema ecommerce_smoke.raw to role ecommerce_loader;
grant usage on schema ecommerce_smoke.raw to role ecommerce_transformer;
grant select on all tables in schema ecommerce_smoke.raw to role ecommerce_transformer;
grant select on all views in schema ecommerce_smoke.raw to role ecommerce_transformer;
grant select on future tables in schema ecommerce_smoke.raw to role ecommerce_transformer;
grant select on future views in schema ecommerce_smoke.raw to role ecommerce_transformer;
grant usage, create table, create view on schema ecommerce_smoke.staging to role ecommerce_transformer;
grant usage, create table, create view on schema ecommerce_smoke.intermediate to role ecommerce_transformer;
grant usage, create table, create view on schema ecommerce_smoke.marts to role ecommerce_transformer;

-- The lake's history, read in place, and that of `make smoke` beside it. No key is in Snowflake: the integration takes on
-- a role in AWS, whose trust policy needs the user and the external id that `desc integration ecommerce_lake` tells.
-- Leave this part out to have the parts uploaded to an internal stage instead.
create storage integration if not exists ecommerce_lake
    type = external_stage
    storage_provider = 's3'
    enabled = true
    storage_aws_role_arn = 'arn:aws:iam::<account>:role/<role>'
    storage_allowed_locations = ('s3://<bucket>/<prefix>/history/');
alter storage integration ecommerce_lake set
    storage_allowed_locations = ('s3://<bucket>/<prefix>/history/', 's3://<bucket>/<prefix>/smoke/history/');
create stage if not exists ecommerce.raw.lake
    url = 's3://<bucket>/<prefix>/history/'
    storage_integration = ecommerce_lake;
create stage if not exists ecommerce_smoke.raw.lake
    url = 's3://<bucket>/<prefix>/smoke/history/'
    storage_integration = ecommerce_lake;
grant usage on stage ecommerce.raw.lake to role ecommerce_loader;
grant usage on stage ecommerce_smoke.raw.lake to role ecommerce_loader;

-- The users of the pipeline have keys, not passwords. Times are UTC, whatever the account's zone, a quoted name keeps its
-- case, as in raw._batches."table", and who waits for a lock gives up after a minute, not after Snowflake's twelve hours.
-- The loader's sessions ask for the same themselves; dbt's have it from here only.
create user if not exists ecommerce_loading_service
    type = service default_role = ecommerce_loader default_warehouse = ecommerce_loading;
create user if not exists ecommerce_transforming_service
    type = service default_role = ecommerce_transformer default_warehouse = ecommerce_transforming;
alter user ecommerce_loading_service set
    rsa_public_key = '<public key>' timezone = 'UTC' quoted_identifiers_ignore_case = false lock_timeout = 60;
alter user ecommerce_transforming_service set
    rsa_public_key = '<public key>' timezone = 'UTC' quoted_identifiers_ignore_case = false lock_timeout = 60;
grant role ecommerce_loader to user ecommerce_loading_service;
grant role ecommerce_transformer to user ecommerce_transforming_service;

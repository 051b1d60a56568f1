"""`make smoke` with the roles that are documented: it runs from end to end and leaves nothing."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from prefect_aws import AwsCredentials, S3Bucket
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector, SyncDriver

from blocks.embedded import DuckDBFile
from blocks.register import save
from blocks.snowflake import connection
from blocks.stack import Stack
from flows import smoke
from tasks.errors import ParameterError
from tasks.tables import TABLES
from tasks.warehouse.raw import SCHEMAS
from tasks.warehouse.snowflake import SnowflakeWarehouse
from tests import snowflake_server
from tests.emulated import NAME, PASSWORD, documented_roles, emulated
from tests.postgres_server import Postgres, served
from tests.s3_server import KEY, REGION, SECRET, S3Server
from tests.snowflake_server import Sent

TABLES_LEFT = "select relname from pg_class where relkind = 'r' and relnamespace::regnamespace::text ~ 'shop|smoke'"


@pytest.fixture
def server() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="server-") as folder, served(Path(folder)) as postgres:
        postgres.execute(*documented_roles(postgres.database), "create table shop.kept as select 1 as one")
        yield postgres


@pytest.fixture
def stack(prefect_url: str, server: Postgres, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A registered stack that holds something already."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": REGION}
    credentials = AwsCredentials(**keys, aws_client_parameters={"endpoint_url": s3.endpoint})
    components = {"host": server.host, "port": server.port, "database": server.database}
    tls = {"query": {"sslrootcert": str(server.certificate)}}
    role = {"driver": SyncDriver.POSTGRESQL_PSYCOPG2, "username": "shop_writer", "password": PASSWORD}
    stack = Stack(
        lake=S3Bucket(bucket_name=s3.make_bucket("smoked"), bucket_folder="shop", credentials=credentials),
        source=SqlAlchemyConnector(connection_info=ConnectionComponents(**components, **role, **tls)),
        warehouse=DuckDBFile(path=str(tmp_path / "warehouse.duckdb")),
        source_schema="shop",
        workspace=str(tmp_path),
    )
    stack.open_lake().write("history/kept", b"1")
    list(save(stack, "smoked"))
    return stack


def test_it_runs_from_end_to_end_and_leaves_nothing(
    stack: Stack, server: Postgres, s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    smoke.main("smoked")
    said = capsys.readouterr().out
    assert "orders and fct_sales_by_date, revenue and shipping" in said
    assert "interactions, rows in history and raw" in said
    left = s3.client().list_objects_v2(Bucket="smoked").get("Contents", [])
    assert [entry["Key"] for entry in left] == ["shop/history/kept"]
    assert server.execute(TABLES_LEFT) == [("kept",)]
    with pytest.raises(ParameterError, match="no stack"):
        Stack.named("smoked-smoke")


class Smoked(NamedTuple):
    """The emulated stack after a smoke test, and what Snowflake was sent by it."""

    stack: Stack
    sent: list[Sent]


@pytest.fixture(scope="module")
def smoked(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Smoked]:
    with pytest.MonkeyPatch.context() as patch, emulated(tmp_path_factory.mktemp("smoked")) as stack:
        patch.setenv("PREFECT_API_URL", prefect_url)
        address = {"host": stack.warehouse.host, "port": stack.warehouse.port}
        snowflake_server.sent(address)
        smoke.main(NAME)
        yield Smoked(stack, snowflake_server.sent(address))


def test_it_runs_on_snowflake_and_leaves_nothing(smoked: Smoked) -> None:
    with SnowflakeWarehouse(connection(smoke._warehouse(smoked.stack.warehouse), "left")) as warehouse:
        schemas = ", ".join(f"'{schema.upper()}'" for schema in SCHEMAS)
        assert warehouse.query(f"select * from information_schema.tables where table_schema in ({schemas})") == []
    assert smoked.stack.open_lake().files("smoke", recursive=True) == []


def test_each_role_drops_what_it_owns(smoked: Smoked) -> None:
    listed = [
        one.role
        for one in smoked.sent
        if re.match(
            r"select table_schema, table_name from \S+(views$|tables where table_type <> 'VIEW'$)", one.statement
        )
    ]
    assert listed == 2 * (
        2 * ["ecommerce_loader"] + 2 * ["ecommerce_transformer"]
    )  # views and tables, before and after


def test_it_loads_as_the_stack_does(smoked: Smoked) -> None:
    copies = [one for one in smoked.sent if one.statement.startswith("copy")]
    assert len(copies) > len(TABLES)
    assert all("from '@raw.lake/" in copy.statement for copy in copies)
    assert {copy.role for copy in copies} == {"ecommerce_loader"}
    assert not [one for one in smoked.sent if one.statement.startswith("put")]


def test_what_can_be_built_again_has_no_fail_safe(smoked: Smoked) -> None:
    created = [re.search(r"create or replace\s+(\w+)\s+table", one.statement) for one in smoked.sent]
    kinds = [found[1] for found in created if found]
    assert len(kinds) > 15
    assert set(kinds) <= {"transient", "temporary"}


def test_its_statements_say_their_flow_run_and_table(smoked: Smoked) -> None:
    tags = [(one.statement, json.loads(one.tag)) for one in smoked.sent]
    assert {tag["pipeline"] for _, tag in tags} == {"ecommerce"}
    assert {tag.get("flow") for _, tag in tags} == {None, "historical-load", "daily-increment", "transform"}
    assert len({tag["run"] for _, tag in tags if "run" in tag}) == 3
    for statement, tag in tags:
        if statement.startswith("copy"):
            assert statement.startswith(f"copy into raw.{tag['table']} ")
            assert tag["flow"] in ("historical-load", "daily-increment")
        if "node_id" in statement:  # dbt says in a comment which model a statement builds
            assert tag["flow"] == "transform"


def test_the_embedded_stack_is_referred_to_its_demo() -> None:
    with pytest.raises(ParameterError, match=r"flows\.demo"), smoke.beside("local"):
        pass

"""`make smoke` on a stack in S3 and Postgres: it runs from end to end and leaves nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect_aws import AwsCredentials, S3Bucket
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector, SyncDriver

from blocks.embedded import DuckDBFile
from blocks.register import save
from blocks.snowflake import connection
from blocks.stack import Stack
from flows import smoke
from tasks.errors import ParameterError
from tasks.warehouse.raw import SCHEMAS
from tasks.warehouse.snowflake import SnowflakeWarehouse
from tests.emulated import NAME, emulated
from tests.postgres_server import Postgres, served
from tests.s3_server import KEY, REGION, SECRET, S3Server


@pytest.fixture
def server() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="server-") as folder, served(Path(folder)) as postgres:
        postgres.execute(
            "create role writer login password 'pg-sekret'",
            "grant create on database postgres to writer",
            "create table public.kept as select 1 as one",
        )
        yield postgres


@pytest.fixture
def stack(prefect_url: str, server: Postgres, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A registered stack that holds something already."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": REGION}
    credentials = AwsCredentials(**keys, aws_client_parameters={"endpoint_url": s3.endpoint})
    components = {"host": server.host, "port": server.port, "database": server.database}
    tls = {"query": {"sslrootcert": str(server.certificate)}}
    role = {"driver": SyncDriver.POSTGRESQL_PSYCOPG2, "username": "writer", "password": "pg-sekret"}
    stack = Stack(
        lake=S3Bucket(bucket_name=s3.make_bucket("smoked"), bucket_folder="shop", credentials=credentials),
        source=SqlAlchemyConnector(connection_info=ConnectionComponents(**components, **role, **tls)),
        warehouse=DuckDBFile(path=str(tmp_path / "warehouse.duckdb")),
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
    schemas = "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'"
    assert server.execute(schemas) == [("public",)]
    with pytest.raises(ParameterError, match="no stack"):
        Stack.named("smoked-smoke")


def test_it_runs_on_snowflake_and_leaves_nothing(
    prefect_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    with emulated(tmp_path) as stack:
        smoke.main(NAME)
        assert "orders and fct_sales_by_date, revenue and shipping" in capsys.readouterr().out
        left = smoke._warehouse(stack.warehouse)
        with SnowflakeWarehouse(connection(left, "left")) as warehouse:
            schemas = ", ".join(f"'{schema.upper()}'" for schema in SCHEMAS)
            assert warehouse.query(f"select * from information_schema.tables where table_schema in ({schemas})") == []
        assert stack.open_lake().files("smoke", recursive=True) == []


def test_the_embedded_stack_is_referred_to_its_demo() -> None:
    with pytest.raises(ParameterError, match=r"flows\.demo"), smoke.beside("local"):
        pass

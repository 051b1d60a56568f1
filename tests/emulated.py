"""The cloud stack without a cloud: S3, Postgres and Snowflake as child processes, and a saved stack that uses them.

`python -m tests.emulated` (make cloud-demo) runs the demo's job on the embedded stack and on this one, side by side.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prefect.blocks.core import Block
from prefect_aws import AwsCredentials, S3Bucket
from prefect_snowflake import SnowflakeCredentials
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector, SyncDriver
from rich.table import Table

from blocks.register import save
from blocks.snowflake import SnowflakeServer
from blocks.stack import LOCAL, Stack
from flows.cli import CONSOLE, quiet, said_in_one_sentence
from flows.daily_increment import daily_increment
from flows.demo import DAYS, START, THROUGH
from flows.historical_load import historical_load
from flows.server import prefect_api
from flows.transform import transform
from tasks.errors import PipelineError
from tasks.source import embedded
from tasks.tables import TABLES
from tests import postgres_server, s3_server, snowflake_server

NAME = "emulated"
PASSWORD = "pg-sekret"
ROLES = (
    f"create role writer login password '{PASSWORD}'",
    f"create role reader login password '{PASSWORD}'",
    "grant create on database postgres to writer",
    "grant create, usage on schema public to writer",
    "alter default privileges for role writer in schema public grant select on tables to reader",
)
_REVENUE = "select count(*), sum(gross_revenue), sum(shipping) from marts.fct_sales_by_date"


@contextmanager
def emulated(folder: Path) -> Iterator[Stack]:
    """The stack `emulated`, saved by the Prefect API in use, for as long as its servers run."""
    with (
        s3_server.served() as s3,
        postgres_server.served(folder / "server") as postgres,
        snowflake_server.served() as snowflake,
    ):
        postgres.execute(*ROLES)
        stack = Stack(
            lake=bucket(s3),
            source=database(postgres, "writer"),
            reader=database(postgres, "reader"),
            warehouse=warehouse(snowflake),
            workspace=str(folder / "work"),
        )
        list(save(stack, NAME))
        yield Stack.named(NAME)


def bucket(s3: s3_server.S3Server) -> Block:
    """A new bucket, in which the lake has a prefix."""
    keys = {"aws_access_key_id": s3_server.KEY, "aws_secret_access_key": s3_server.SECRET}
    client = {"endpoint_url": s3.endpoint}
    credentials = AwsCredentials(**keys, region_name=s3_server.REGION, aws_client_parameters=client)
    return S3Bucket(bucket_name=s3.make_bucket(NAME), bucket_folder="shop", credentials=credentials)


def database(postgres: postgres_server.Postgres, role: str) -> Block:
    """The server as one of its roles, over TLS."""
    components = ConnectionComponents(
        driver=SyncDriver.POSTGRESQL_PSYCOPG2,
        username=role,
        password=PASSWORD,
        host=postgres.host,
        port=postgres.port,
        database=postgres.database,
        query={"sslrootcert": str(postgres.certificate)},
    )
    return SqlAlchemyConnector(connection_info=components)


def warehouse(given: dict[str, Any]) -> Block:
    """The account that the emulator plays."""
    login = {name: given[name] for name in ("account", "user", "password", "role")}
    place = {name: given[name] for name in ("host", "port", "protocol", "warehouse")}
    credentials = SnowflakeCredentials(**login)
    return SnowflakeServer(credentials=credentials, database="emulated", schema="raw", **place)


def main() -> None:
    """Run the demo's job on both stacks, from scratch, and show their figures; nothing is left behind."""
    began = time.perf_counter()
    with said_in_one_sentence(), quiet(), _own_home() as folder:
        CONSOLE.print(f"[bold]The shop from {START} through {DAYS[-1]} on two stacks, one after the other[/bold]")
        CONSOLE.print("Starting Prefect's API, and S3, Postgres and Snowflake on loopback (some 10 s) ...")
        with prefect_api(), emulated(folder):
            CONSOLE.print(_sheet({name: _figures(name) for name in (LOCAL, NAME)}))
    CONSOLE.print(f"\nDone in {time.perf_counter() - began:.0f} s; the servers have stopped, and their data is gone.")


@contextmanager
def _own_home() -> Iterator[Path]:
    """A folder for both stacks, removed with what still runs in it."""
    with tempfile.TemporaryDirectory(prefix="cloud-demo-") as name:
        os.environ["ECOMMERCE_HOME"] = name
        try:
            yield Path(name)
        except KeyboardInterrupt:
            raise PipelineError("Stopped by Ctrl-C; nothing is left of it.") from None
        finally:
            embedded.stop(Path(name) / "postgres")


def _figures(stack: str) -> dict[str, str]:
    jobs: dict[str, Callable[[], object]] = {
        f"load through {THROUGH}": lambda: historical_load(START, THROUGH, stack=stack)
    }
    jobs |= {f"increment {day}": partial(daily_increment, day, stack=stack) for day in DAYS}
    jobs["transform"] = lambda: transform(stack=stack)
    figures = {job: _seconds(f"{stack}: {job}", run) for job, run in jobs.items()}
    with Stack.named(stack).open_warehouse() as opened:
        for table in TABLES:
            counted = sum(loaded.rows for loaded in opened.totals(table, None).values())
            figures[f"raw.{table}"] = f"{counted:,}"
        ((days, revenue, shipping),) = opened.query(_REVENUE)
    return figures | {"days sold": f"{days:,}", "gross revenue": f"{revenue:,}", "shipping": f"{shipping:,}"}


def _seconds(job: str, run: Callable[[], object]) -> str:
    CONSOLE.rule(job)
    began = time.perf_counter()
    run()
    return f"{time.perf_counter() - began:.1f} s"


def _sheet(stacks: dict[str, dict[str, str]]) -> Table:
    sheet = Table("", title="the same shop on both stacks")
    for name in stacks:
        sheet.add_column(name, justify="right")
    for figure in stacks[LOCAL]:
        sheet.add_row(figure, *(figures[figure] for figures in stacks.values()))
    return sheet


if __name__ == "__main__":
    main()

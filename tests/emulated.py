"""The cloud stack without a cloud: S3, Postgres and Snowflake as child processes, and a saved stack that uses them.

`python -m tests.emulated` (make cloud-demo) runs the demo's job on the embedded stack and on this one, side by side.
"""

import os
import re
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
from tasks.warehouse.snowflake_client import connect
from tests import postgres_server, s3_server, snowflake_server

DOCS = Path(__file__).parents[1] / "docs"
NAME = "emulated"
FOLDER = "shop"
PASSWORD = "pg-sekret"
_REVENUE = "select count(*), sum(gross_revenue), sum(shipping) from marts.fct_sales_by_date"


@contextmanager
def emulated(folder: Path, *, staged: bool = True) -> Iterator[Stack]:
    """The stack `emulated`, saved by the Prefect API in use, for as long as its servers run.

    Databases, schemas and roles are those that docs/cloud.md and docs/snowflake.sql set up. Snowflake reads the lake
    through its external stage, or with `staged` False has the parts uploaded.
    """
    keys = {"AWS_ACCESS_KEY_ID": s3_server.KEY, "AWS_SECRET_ACCESS_KEY": s3_server.SECRET}
    with (
        s3_server.served() as s3,
        postgres_server.served(folder / "server") as postgres,
        snowflake_server.served(s3.endpoint, keys) as snowflake,
    ):
        lake = bucket(s3)
        postgres.execute(*documented_roles(postgres.database))
        with connect(**snowflake) as session:
            for statement in documented_account():
                session.cursor().execute(statement)
        stack = Stack(
            lake=lake,
            source=database(postgres, "shop_writer"),
            reader=database(postgres, "shop_reader"),
            warehouse=warehouse(snowflake, "load"),
            transformer=warehouse(snowflake, "transform"),
            source_schema="shop",
            stage="ecommerce.raw.lake" if staged else None,
            workspace=str(folder / "work"),
        )
        list(save(stack, NAME))
        yield Stack.named(NAME)


def documented_roles(database: str) -> list[str]:
    """What docs/cloud.md has run in Postgres, with a password, in a database of that name."""
    section = (DOCS / "cloud.md").read_text().partition("## 2. Postgres")[2]
    text = section.partition("```sql")[2].partition("```")[0]
    return statements(text.replace("'...'", f"'{PASSWORD}'").replace("database shop", f"database {database}"))


def documented_account() -> list[str]:
    """The statements of docs/snowflake.sql, for the emulated bucket."""
    text = (DOCS / "snowflake.sql").read_text().replace("<bucket>", NAME).replace("<prefix>", FOLDER)
    return statements(text)


def statements(text: str) -> list[str]:
    """The statements of a text of SQL, each in one line and without comments."""
    bare = re.sub(r"--.*", "", text)
    return [" ".join(statement.split()) for statement in bare.split(";") if statement.strip()]


def bucket(s3: s3_server.S3Server) -> Block:
    """A new bucket, in which the lake has a prefix."""
    keys = {"aws_access_key_id": s3_server.KEY, "aws_secret_access_key": s3_server.SECRET}
    client = {"endpoint_url": s3.endpoint}
    credentials = AwsCredentials(**keys, region_name=s3_server.REGION, aws_client_parameters=client)
    return S3Bucket(bucket_name=s3.make_bucket(NAME), bucket_folder=FOLDER, credentials=credentials)


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


def warehouse(given: dict[str, Any], work: str) -> Block:
    """The account that the emulator plays, for the role that does this work: load or transform."""
    login = {"account": given["account"], "password": given["password"]}
    credentials = SnowflakeCredentials(user=f"ecommerce_{work}ing_service", role=f"ecommerce_{work}er", **login)
    place = {name: given[name] for name in ("host", "port", "protocol")}
    names = {"warehouse": f"ecommerce_{work}ing", "database": "ecommerce", "schema": "raw"}
    return SnowflakeServer(credentials=credentials, **names, **place)


def main() -> None:
    """Run the demo's job on both stacks, from scratch, and show their figures; nothing is left behind."""
    began = time.perf_counter()
    with said_in_one_sentence(), quiet(), _own_home() as folder:
        CONSOLE.print(f"[bold]The shop from {START} through {DAYS[-1]} on two stacks, one after the other[/bold]")
        CONSOLE.print("Starting Prefect's API, and S3, Postgres and Snowflake on loopback (some 10 s) ...")
        with prefect_api(), emulated(folder):
            CONSOLE.print(side_by_side({name: _figures(name) for name in (LOCAL, NAME)}))
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
    return {job: _seconds(f"{stack}: {job}", run) for job, run in jobs.items()} | counts(Stack.named(stack))


def counts(stack: Stack) -> dict[str, str]:
    """What a stack holds: the rows of raw, and what the marts say of its sales."""
    with stack.open_warehouse() as opened:
        rows = {table: sum(loaded.rows for loaded in opened.totals(table, None).values()) for table in TABLES}
    with stack.open_transformer() as opened:
        ((days, revenue, shipping),) = opened.query(_REVENUE)
    figures = {f"raw.{table}": f"{count:,}" for table, count in rows.items()}
    return figures | {"days sold": f"{days:,}", "gross revenue": f"{revenue:,}", "shipping": f"{shipping:,}"}


def _seconds(job: str, run: Callable[[], object]) -> str:
    CONSOLE.rule(job)
    began = time.perf_counter()
    run()
    return f"{time.perf_counter() - began:.1f} s"


def side_by_side(stacks: dict[str, dict[str, str]]) -> Table:
    """A sheet of the stacks' figures, one a row."""
    table = Table("", title="the same shop on both stacks")
    for name in stacks:
        table.add_column(name, justify="right")
    for figure in stacks[LOCAL]:
        table.add_row(figure, *(figures[figure] for figures in stacks.values()))
    return table


if __name__ == "__main__":
    main()

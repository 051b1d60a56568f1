"""A small run from end to end on a registered stack, beside what it holds, which is then cleared away.

`python -m flows.smoke NAME`. It works with the stack's own roles, reader and stage included, in corners that
docs/cloud.md sets up together with the rest: a folder `smoke` below the lake's, a schema `ecommerce_smoke` of the
source's database, and in Snowflake the database `<database>_smoke`, with a stage of the same name over that folder; of
DuckDB it is a file beside the other.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import cyclopts
from prefect.blocks.core import Block
from prefect.filesystems import LocalFileSystem

from blocks.embedded import DuckDBFile
from blocks.stack import LOCAL, Stack
from flows.cli import CONSOLE, quiet, said_in_one_sentence, show
from flows.server import prefect_api
from tasks.errors import ParameterError, ReconcileError
from tasks.lake import meta
from tasks.lake.manifests import read_manifest, revisions
from tasks.tables import TABLES

FOLDER = "smoke"
SCHEMA = "ecommerce_smoke"
START, THROUGH, DAY = date(2024, 12, 1), date(2024, 12, 31), date(2025, 1, 1)
SCALE = 0.02

_MART = "select sum(gross_revenue) + sum(shipping) from marts.fct_sales_by_date"
_ORDERS = "select sum(total_amount) from staging.stg_orders where status <> 'Cancelled'"

app = cyclopts.App(name="python -m flows.smoke", version_flags=[], help_format="plaintext")


@app.default
def main(stack: str, /) -> None:
    """Load a month of a small shop, take one more day, build the marts, check counts and sums, and clear it all away.

    Args:
        stack: Name of the registered stack.
    """
    with quiet(), prefect_api(), beside(stack) as name:
        _run(name)
        for line in checked(Stack.named(name)):
            CONSOLE.print(line)
    CONSOLE.print(f"Stack {stack!r} works; what this wrote is gone again.")


@contextmanager
def beside(name: str) -> Iterator[str]:
    """The name of a stack that is like another but empty, saved for as long as the block lasts."""
    if name == LOCAL:
        raise ParameterError("The stack 'local' needs no smoke test: run python -m flows.demo.")
    stack, temporary = _beside(Stack.named(name)), f"{name}-smoke"
    clear(stack)
    source = stack.open_source()
    if missing := not source.rights().creates:
        source.create_schema()
    stack.save(temporary, overwrite=True, _sync=True)
    try:
        yield temporary
    finally:
        Stack.delete(temporary, _sync=True)
        clear(stack)
        if missing:
            source.drop_schema()


def clear(stack: Stack) -> None:
    """Remove everything that a smoke test writes."""
    lake = stack.open_lake()
    meta.begin_reset(lake)
    stack.open_source().clear()
    stack.clear_warehouse()
    meta.finish_reset(lake)


def checked(stack: Stack) -> Iterator[str]:
    """One line per table and sum that agree; `ReconcileError` names the first that do not."""
    lake = stack.open_lake()
    with stack.open_warehouse() as warehouse:
        for table in TABLES:
            expected = sum(read_manifest(lake, table, *revision).rows for revision in revisions(lake, table))
            found = sum(loaded.rows for loaded in warehouse.totals(table, None).values())
            yield _same(f"{table}, rows in history and raw", expected, found)
    with stack.open_transformer() as warehouse:
        (((mart,),), ((orders,),)) = (warehouse.query(statement) for statement in (_MART, _ORDERS))
        yield _same("orders and fct_sales_by_date, revenue and shipping", Decimal(orders), Decimal(mart))


def _same(what: str, expected: Decimal | int, found: Decimal | int) -> str:
    if expected != found or not expected:
        raise ReconcileError(f"{what}: {expected:,} and {found:,}.")
    return f"{what}: {found:,}"


def _beside(stack: Stack) -> Stack:
    moved: dict[str, Callable[[Any], Any]] = {
        "lake": _lake,
        "source": _copy,
        "reader": _copy,
        "warehouse": _warehouse,
        "transformer": _warehouse,
        "stage": _stage,
    }
    given = {name: getattr(stack, name) for name in moved}
    changed = {name: moved[name](part) for name, part in given.items() if part is not None}
    return _copy(stack, **changed, source_schema=SCHEMA, workspace=str(Path(stack.workspace) / FOLDER))


def _lake(block: Any) -> Block:
    if isinstance(block, LocalFileSystem):
        return _copy(block, basepath=str(Path(block.basepath or ".") / FOLDER))
    return _copy(block, bucket_folder=f"{block.bucket_folder}/{FOLDER}".strip("/"))


def _warehouse(block: Any) -> Block:
    if isinstance(block, DuckDBFile):
        return _copy(block, path=str(Path(block.path).with_suffix(f".{FOLDER}.duckdb")))
    return _copy(block, database=f"{block.database}_{FOLDER}")


def _stage(name: str) -> str:
    """The stage of that schema and name in the database of the session, which is the other one."""
    return ".".join(name.split(".")[-2:])


def _copy(block: Any, **changes: object) -> Any:
    """A block that is not that of its document any more, and neither are its credentials."""
    copy = block.model_copy(update=changes, deep=True)
    for one in (copy, getattr(copy, "credentials", None)):
        if one is not None:
            one._block_document_id = one._block_document_name = one._is_anonymous = None
    return copy


def _run(stack: str) -> None:
    from flows.daily_increment import daily_increment
    from flows.historical_load import historical_load
    from flows.transform import transform

    _step("historical load", lambda: historical_load(START, THROUGH, scale=SCALE, stack=stack))
    _step("daily increment", lambda: daily_increment(DAY, stack=stack))
    _step("transform", lambda: transform(stack=stack))


def _step(name: str, run: Callable[[], Any]) -> None:
    began = time.perf_counter()
    show(run())
    CONSOLE.print(f"{name}: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    with said_in_one_sentence():
        app()

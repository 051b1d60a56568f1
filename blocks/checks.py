"""Whether each part of a stack works, by a real round trip."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from blocks.embedded import DuckDBFile
from blocks.stack import Stack
from tasks.errors import PipelineError, TransientError
from tasks.source.ddl import POSTGRES_TABLES
from tasks.warehouse.protocol import Warehouse

_FILE = "check-of-the-connection"
_MADE = "check_of_the_connection"
_BUILT = ("staging", "intermediate", "marts")


class Check(NamedTuple):
    """What was found of one slot: one line that says what works, or what to do."""

    slot: str
    passed: bool
    said: str


def check(stack: Stack) -> Iterator[Check]:
    """Try every part of the stack, one after the other."""
    yield _tried("lake", stack, _lake)
    yield _tried("source", stack, _source)
    if stack.reader is not None:
        yield _tried("reader", stack, _reader)
    yield _tried("warehouse", stack, _warehouse)
    if stack.transformer is not None:
        yield _tried("transformer", stack, _transformer)


def _tried(slot: str, stack: Stack, attempt: Callable[[Stack], str]) -> Check:
    try:
        return Check(slot, True, attempt(stack))
    except PipelineError as error:
        return Check(slot, False, " ".join(str(error).split()))


def _lake(stack: Stack) -> str:
    """Write, read and delete a file, and see that the second of two writers is refused."""
    lake = stack.open_lake()
    lake.delete(_FILE)
    first, second = lake.create(_FILE, b"1"), lake.create(_FILE, b"2")
    found = lake.read(_FILE)
    lake.delete(_FILE)
    if (first, second, found) != (True, False, b"1"):
        raise PipelineError(f"{lake.address} let a second writer replace a file: it cannot hold a history.")
    return f"{lake.address}: wrote, read and deleted a file; a second writer was refused"


def _source(stack: Stack) -> str:
    rights = stack.open_source().rights()
    missing = {table.name for table in POSTGRES_TABLES} - set(rights.writable)
    if rights.replica:
        raise PipelineError(f"The {stack.title('source')} is a standby, which nobody can write to: name the primary.")
    if missing and not rights.creates:
        raise PipelineError(
            f"{rights.role} may neither create tables in schema {stack.source_schema!r} nor write "
            f"{', '.join(sorted(missing))}: grant CREATE on the schema, or the rights on the tables."
        )
    return f"Postgres {rights.version}: {rights.role} may write"


def _reader(stack: Stack) -> str:
    rights = stack.open_reader().rights()
    unread = {table.name for table in POSTGRES_TABLES} - set(rights.readable)
    where = ", on a replica: what reaches it late is taken by later runs, for 30 days" if rights.replica else ""
    if rights.writable and not rights.replica:
        raise PipelineError(
            f"{rights.role} may change {', '.join(rights.writable)}: the reader needs SELECT alone; revoke the rest."
        )
    later = f"; not yet there, or not granted: {', '.join(sorted(unread))}" if unread else ""
    return f"Postgres {rights.version}: {rights.role} may only read{where}{later}"


def _warehouse(stack: Stack) -> str:
    """Open it, or see that a run does: a DuckDB file has one user at a time."""
    try:
        with stack.open_warehouse() as warehouse:
            warehouse.prepare(())
            warehouse.check()
            if stack.transformer is None:
                _build(warehouse)
    except TransientError:
        if isinstance(stack.warehouse, DuckDBFile):
            return f"{stack.dbt_target()}: a run is at work on it"
        raise
    staged = f", and the stage {stack.stage} can be read" if stack.stage else ""
    return f"{stack.dbt_target()}: connected, raw is there, a query was answered{staged}"


def _transformer(stack: Stack) -> str:
    """Read what the loader has made of raw, a table and a view, and make a table and a view in dbt's schemas."""
    with stack.open_transformer() as warehouse:
        warehouse.check()
        for made in ("_built", "_batches"):
            warehouse.query(f"select count(*) from raw.{made}")  # noqa: S608 - ours
        _build(warehouse)
    return f"{stack.dbt_target()}: connected, may read raw and build {', '.join(_BUILT)}"


def _build(warehouse: Warehouse) -> None:
    """Do in each of dbt's schemas what dbt does: make the schema if it is not there, a table and a view."""
    there = {name for (name,) in warehouse.query("select lower(schema_name) from information_schema.schemata")}
    for schema in _BUILT:
        if schema not in there:
            warehouse.query(f"create schema {schema}")
        for kind in ("table", "view"):
            warehouse.query(f"create or replace {kind} {schema}.{_MADE}_{kind} as select 1 as one")
            warehouse.query(f"drop {kind} {schema}.{_MADE}_{kind}")

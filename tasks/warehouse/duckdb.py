"""The warehouse in a DuckDB file."""

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from tasks.errors import PipelineError, TransientError, WarehouseError, WarehouseMemoryError
from tasks.lake.manifests import Manifest, Part
from tasks.lake.store import Lake
from tasks.tables import Table
from tasks.warehouse.protocol import Revision
from tasks.warehouse.raw import BATCHES, BUILT, SCHEMAS, declared_columns, raw_names, sql_type
from tasks.warehouse.sql import SqlWarehouse, check_counts, counted, opened_part, sentence, title, utc

LOADING_MEMORY = "64MB"
"""DuckDB's memory while rows only pass through it: a load of 28 million rows peaked at 653 MiB, with 128MB at 720."""

_BATCH_ROWS = 65_536
_CATALOG = threading.Lock()  # DuckDB refuses one of two threads that alter the catalog at once
_FILES = threading.Lock()  # ... and a thread that opens the file while another is closing it (1 in 1,000 under stress)
T = TypeVar("T")

_CRAMPED = re.compile(r"(pin|allocate) block of size")
_ROOMY = set[Path]()  # files for which this process has needed more than LOADING_MEMORY
_HOLDER = re.compile(r"held in (?:(.*?) \()?PID (\d+)")  # of another container only the PID is told, as 0


class DuckDBWarehouse(SqlWarehouse):
    """A `Warehouse` in a file that one process writes at a time; its threads share one instance of the database.

    `threads` and the memory hold for that instance. They are set after connecting, not by `config`: DuckDB refuses a
    second connection in the process (dbt's) whose `config` differs from the first's. The memory is `LOADING_MEMORY`,
    and `memory_limit` once more was needed: DuckDB cannot spill values that are larger than a block.

    What a load adds stays in row groups of its own. To merge them with the last one, of up to 122,880 rows, it would
    have to read that again (up to 9 MB a day at scale 10); a build does it, which reads raw anyway.
    """

    def __init__(self, path: Path, *, memory_limit: str = "512MB", threads: int = 2) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._memory_limit = memory_limit
        self._connection = _connect(path)
        settings = {
            "memory_limit": memory_limit if path in _ROOMY else LOADING_MEMORY,
            "threads": threads,
            "max_vacuum_tasks": 0,
        }
        for name, value in settings.items():
            self._set(name, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this connection; the file is free once the process has closed all of them."""
        with _FILES:
            self._connection.close()

    def prepare(self, tables: Iterable[Table]) -> None:
        """Create what is missing of raw."""
        with self._session("prepare raw") as cursor, _CATALOG:
            cursor.execute("create schema if not exists raw")
            _create(cursor, "_batches", BATCHES, key=True)
            _create(cursor, "_built", BUILT, key=True)
            for table in tables:
                _create(cursor, table.name, declared_columns(table))

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, its parameters bound to question marks."""
        return self._with_memory(lambda: self._query(statement, parameters))

    def load(self, lake: Lake, table: Table, manifest: Manifest, run: str, loaded_at: datetime) -> bool:
        """Insert one committed revision and its ledger row in one transaction; False if it is loaded already."""
        return self._with_memory(lambda: self._load(lake, table, manifest, run, loaded_at))

    def _load(self, lake: Lake, table: Table, manifest: Manifest, run: str, loaded_at: datetime) -> bool:
        names = raw_names(table, manifest.columns)
        try:
            with self._session(f"load {title(manifest)}") as cursor:
                _add_columns(cursor, table, {names[name]: sql_type(kind) for name, kind in manifest.columns.items()})
                cursor.begin()
                _enter(cursor, manifest, run, loaded_at)
                for part in manifest.parts:
                    _insert(cursor, lake, manifest, part, names)
                _verify(cursor, manifest)
                cursor.commit()
        except TransientError:
            # The ledger's key refuses a revision that is there; of two loaders at once, one finds out when it commits.
            if self._has(manifest):
                return False
            raise
        return True

    def mark_built(self, revisions: Collection[Revision], as_of: date, run: str, built_at: datetime) -> None:
        """Note that a complete build as of `as_of` has processed `revisions`; without any, date the last build anew."""
        build = [as_of, utc(built_at), run]
        with self._session("note a build") as cursor:
            cursor.begin()
            if revisions:
                rows = [[*revision, *build] for revision in revisions]
                cursor.executemany("insert or replace into raw._built values (?, ?, ?, ?, ?, ?)", rows)
            else:
                cursor.execute(
                    "update raw._built set as_of = ?, built_at = ?, run = ? "
                    "where built_at = (select max(built_at) from raw._built)",
                    build,
                )
            cursor.commit()

    def clear(self) -> None:
        """Drop raw and the schemas that dbt builds."""
        with self._session("clear the warehouse") as cursor, _CATALOG:
            for schema in SCHEMAS:
                cursor.execute(_named("drop schema if exists {schema} cascade", schema=schema))

    def _query(self, statement: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._session("answer a query") as cursor:
            return cursor.execute(statement, list(parameters)).fetchall()

    def _with_memory(self, work: Callable[[], T]) -> T:
        """Do what may need more than `LOADING_MEMORY`: once more with `memory_limit` then."""
        try:
            return work()
        except WarehouseMemoryError:
            _ROOMY.add(self.path)
            self._set("memory_limit", self._memory_limit)
            return work()

    def _set(self, name: str, value: object) -> None:
        with _translated(f"set {name} of {self.path}"):
            self._connection.execute(f"set {name} = $value", {"value": value})

    def _has(self, manifest: Manifest) -> bool:
        key = [manifest.table, manifest.batch, manifest.revision]
        return bool(self.query('select 1 from raw._batches where "table" = ? and batch = ? and revision = ?', key))

    @contextmanager
    def _session(self, doing: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one thread and one purpose; closing it rolls back what was not committed."""
        with _translated(doing), closing(self._connection.cursor()) as cursor:
            yield cursor


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        with _FILES:
            return duckdb.connect(path)
    except duckdb.IOException as error:
        holder = _HOLDER.search(str(error))
        if holder is None:
            raise WarehouseError(f"could not open {path}: {sentence(error)}") from error
        raise TransientError(
            f"{path} is held by process {holder[2]} ({holder[1] or 'of another container'}); "
            "wait until it ends, or end it, then run again"
        ) from error
    except (duckdb.ConnectionException, duckdb.ResourceInUseException) as error:
        raise TransientError(
            f"{path} is in other use in this process, as by dbt; run again when that is done"
        ) from error
    except duckdb.Error as error:
        raise WarehouseError(f"could not open {path}: {sentence(error)}") from error


def _create(cursor: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str], *, key: bool = False) -> None:
    """Create a table, or add the columns that it lacks; with `key`, the first three columns are its key."""
    names = [_quoted(name) for name in columns]
    definitions = [f"{name} {kind}" for name, kind in zip(names, columns.values(), strict=True)]
    if key:
        definitions.append(f"primary key ({', '.join(names[:3])})")
    cursor.execute(_named(f"create table if not exists raw.{{table}} ({', '.join(definitions)})", table))
    _add_missing(cursor, table, columns)


def _add_columns(cursor: duckdb.DuckDBPyConnection, table: Table, columns: Mapping[str, str]) -> None:
    """Make room for a revision's columns; one that has changed its type is an error."""
    with _CATALOG:
        _add_missing(cursor, table.name, columns)
    there = {name.lower(): kind for name, kind in _columns(cursor, table.name).items()}
    changed = [
        f"{name} ({there[name.lower()]}, not {kind})" for name, kind in columns.items() if there[name.lower()] != kind
    ]
    if changed:
        raise WarehouseError(
            f"raw.{table.name} has another type than the history: {', '.join(changed)}; drop raw, so that it is loaded "
            "anew"
        )


def _add_missing(cursor: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> None:
    there = {name.lower() for name in _columns(cursor, table)}
    for name, kind in columns.items():
        if name.lower() not in there:
            cursor.execute(_named(f"alter table raw.{{table}} add column if not exists {{name}} {kind}", table, name))


def _columns(cursor: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return dict(
        cursor.execute(
            "select column_name, data_type from duckdb_columns() "
            "where database_name = current_database() and schema_name = 'raw' and table_name = ?",
            [table],
        ).fetchall()
    )


def _enter(cursor: duckdb.DuckDBPyConnection, manifest: Manifest, run: str, loaded_at: datetime) -> None:
    row = [manifest.table, manifest.batch, manifest.revision, manifest.rows, manifest.digest, utc(loaded_at), run]
    cursor.execute("insert into raw._batches values (?, ?, ?, ?, ?, ?, ?)", row)


def _insert(
    cursor: duckdb.DuckDBPyConnection, lake: Lake, manifest: Manifest, part: Part, names: Mapping[str, str]
) -> None:
    """Stream one part into raw, its columns by name."""
    statement = _named(
        "insert into raw.{table} by name "
        "select *, ?::date as _batch, ?::integer as _revision, ?::varchar as _part from incoming",
        manifest.table,
    )
    for batch in _read(lake, manifest, part):
        renamed = batch.rename_columns([names.get(name, name) for name in batch.schema.names])
        # DuckDB finds it by its name. What is registered instead is kept until the commit: 2 GB for 24 million rows.
        incoming = pa.Table.from_batches([renamed])  # noqa: F841
        cursor.execute(statement, [manifest.batch, manifest.revision, part.name])


def _read(lake: Lake, manifest: Manifest, part: Part) -> Iterator[pa.RecordBatch]:
    with opened_part(lake, manifest, part) as file:
        yield from file.iter_batches(_BATCH_ROWS)


def _verify(cursor: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
    """Compare what was inserted with what was committed."""
    ((rows, digest),) = cursor.execute(counted(manifest.table), [manifest.batch, manifest.revision]).fetchall()
    check_counts(manifest, rows, digest)


def _named(statement: str, table: str = "", name: str = "", schema: str = "") -> str:
    """Put identifiers, quoted, in their places; values are bound, never put."""
    return statement.format(table=_quoted(table), name=_quoted(name), schema=_quoted(schema))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Raise what DuckDB raises as the pipeline's own errors."""
    try:
        yield
    except duckdb.Error as error:
        raise _error(doing, error) from error


def _error(doing: str, error: duckdb.Error) -> PipelineError:
    if isinstance(error, duckdb.OutOfMemoryException) or _CRAMPED.search(str(error)):  # the latter from a commit
        return WarehouseMemoryError(
            f"could not {doing}: DuckDB has too little memory, so raise memory_limit of the DuckDB File block "
            f"({sentence(error)})"
        )
    if isinstance(error, (duckdb.TransactionException, duckdb.ConstraintException)):
        return TransientError(f"could not {doing}: another thread was faster ({sentence(error)}); try again")
    return WarehouseError(f"could not {doing}: {sentence(error)}")

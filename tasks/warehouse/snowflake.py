"""The warehouse in Snowflake.

A revision is loaded by one transaction: a MERGE into the ledger of its table claims it, COPY INTO takes its parts from
a stage, rows and digest are compared with the manifest, and all of it is committed or none. Each raw table has a ledger
of its own, `raw._batches_<table>`, because Snowflake locks whole tables until the commit; `raw._batches` is a view over
them. The MERGE takes the lock, so of two loaders at once the second finds the revision claimed.

COPY takes a SELECT over the stage rather than columns by name: it gives a feed's columns their names in raw, adds the
constants of the revision and the part of each row, and writes each row once, with no table in between. By itself COPY
passes over files that it loaded into the table in the last 64 days. What is loaded is the ledger's to say, and whether
a COPY that was rolled back leaves such a memory is not documented, so it is told to load them all (FORCE). A ledger
that was lost doubles nothing: the rows and digest of a revision are those of the manifest, or nothing is committed.

Definitions commit, so they come before the transaction. Parts reach Snowflake by an external stage over the lake's
history, or are PUT to an internal one.
"""

import json
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

from snowflake.connector import errors

from tasks.errors import WarehouseError
from tasks.lake import paths
from tasks.lake.manifests import Manifest, Part
from tasks.lake.store import Lake, LocalLake
from tasks.tables import TABLES, Table
from tasks.warehouse.protocol import Revision
from tasks.warehouse.raw import BATCHES, BUILT, SCHEMAS, TECHNICAL, declared_columns, raw_names, sql_type
from tasks.warehouse.snowflake_client import LOGIN, Cursor, connect, translated
from tasks.warehouse.sql import SqlWarehouse, check_counts, counted, of_table, opened_part, title, utc

PARTS_STAGE = "raw._parts"
"""The internal stage that parts are PUT to where there is no external one."""

FILES_PER_COPY = 1_000
"""What FILES of one COPY may name."""

_SESSION: Mapping[str, Any] = {
    "TIMEZONE": "UTC",
    "LOCK_TIMEOUT": 60,
    "STATEMENT_TIMEOUT_IN_SECONDS": 3_600,
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
}
_ROLLBACK_SECONDS = 10
_OBJECT = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*){0,2}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = {"table": '"table"', "rows": '"rows"'}  # columns of the ledger that are words of SQL keep their lower case


class SnowflakeWarehouse(SqlWarehouse):
    """A `Warehouse` in one database of a Snowflake account. Its threads take turns: a session has one transaction.

    `connection` are arguments of `snowflake.connector.connect`; `stage` is the name of an external stage over the
    `history` folder of the lake, or None: then parts are PUT to the internal stage `raw._parts`. `name` is what errors
    call the place where all this is set, `tag` what the query history says of each statement, such as its flow.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        stage: str | None = None,
        name: str = "the warehouse's block",
        tag: Mapping[str, str] | None = None,
    ) -> None:
        if stage is not None and not _OBJECT.fullmatch(stage):
            raise WarehouseError(f"{stage!r} is no name of a stage; write it as database.schema.stage, without quotes")
        self._stage, self._name, self._tag = stage, name, tag or {}
        self._virtual = connection.get("warehouse")
        self._turn = threading.RLock()
        told = {"QUERY_TAG": json.dumps(self._tag)}
        session = {**_SESSION, **told, **(connection.get("session_parameters") or {})}
        who = f"{connection.get('user')} of account {connection.get('account')}"
        with translated(f"connect to Snowflake as {who}", name, LOGIN):
            self._connection = connect(
                application="ecommerce", paramstyle="qmark", **{**connection, "session_parameters": session}
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; what it did not commit is rolled back."""
        self._connection.close()

    def check(self) -> None:
        """Use the virtual warehouse, which a login does not, and look into the stage; an error says what is missing."""
        with self._session("use the virtual warehouse and the stage") as cursor:
            if self._virtual:
                cursor.execute(f"use warehouse {_name(self._virtual)}")
            cursor.execute("select 1")
            if self._stage is not None:
                cursor.execute(f"list @{self._stage}")

    def prepare(self, tables: Iterable[Table]) -> None:
        """Create what is missing of raw; one query tells what is there."""
        with self._session("prepare raw") as cursor:
            there = _columns(cursor)
            if not there:
                _create_schema(cursor)
            ledgers = [_ledger(name) for name in TABLES]
            missing = [name for name in ledgers if name.upper() not in there]
            for name in missing:
                cursor.execute(_create_table(name, BATCHES, key=True))
            if missing or "_BATCHES" not in there:
                cursor.execute(_union_of_ledgers())
            _create(cursor, there, "_built", BUILT, key=True)
            for table in tables:
                _create(cursor, there, table.name, declared_columns(table))
            if self._stage is None:
                cursor.execute(f"create stage if not exists {PARTS_STAGE}")

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, its parameters bound to question marks."""
        with self._session("answer a query") as cursor:
            return [tuple(row) for row in _run(cursor, statement, parameters)]

    def load(self, lake: Lake, table: Table, manifest: Manifest, run: str, loaded_at: datetime) -> bool:
        """Insert one committed revision and its ledger row in one transaction; False if it is loaded already."""
        names = raw_names(table, manifest.columns)
        kinds = {names[name]: sql_type(kind) for name, kind in manifest.columns.items()}
        about = {"run": run, "table": manifest.table, "batch": manifest.batch.isoformat()}
        with self._session(f"load {title(manifest)}", **about) as cursor:
            _add_columns(cursor, table, kinds)
            with (
                _explained(lake, manifest),
                _staged(cursor, self._stage, lake, manifest) as place,
                _transaction(cursor),
            ):
                if not _claim(cursor, manifest, run, loaded_at):
                    return False
                for parts in _chunks(manifest.parts, FILES_PER_COPY):
                    _copy(cursor, place, manifest, parts, names)
                _verify(cursor, manifest)
            return True

    def mark_built(self, revisions: Collection[Revision], as_of: date, run: str, built_at: datetime) -> None:
        """Note that a complete build as of `as_of` has processed `revisions`; without any, date the last build anew."""
        build = [as_of, utc(built_at), run]
        with self._session("note a build") as cursor, _transaction(cursor):
            for some in _chunks(revisions, FILES_PER_COPY):
                values = [value for revision in some for value in (*revision, *build)]
                _run(cursor, _merge("_built", BUILT, len(some), replace=True), values)
            if not revisions:
                _run(
                    cursor,
                    "update raw._built set as_of = ?, built_at = ?, run = ? "
                    "where built_at = (select max(built_at) from raw._built)",
                    build,
                )

    def clear(self) -> None:
        """Drop every table and view of raw and of the schemas that dbt builds; schemas, stages and grants stay."""
        with self._session("clear the warehouse") as cursor:
            for kind, found in (("view", "views"), ("table", "tables where table_type <> 'VIEW'")):
                listed = f"select table_schema, table_name from information_schema.{found}"  # noqa: S608 - ours
                for schema, name in _run(cursor, listed):
                    if schema.lower() in SCHEMAS:
                        cursor.execute(f"drop {kind} if exists {_quoted(schema)}.{_quoted(name)}")

    @contextmanager
    def _session(self, doing: str, **about: str) -> Iterator[Cursor]:
        """A cursor for one thread and one purpose, `about` what its statements are besides the warehouse's own tag."""
        with self._turn, translated(doing, self._name), closing(self._connection.cursor()) as cursor:
            cursor.tag = {**self._tag, **about} if about else {}
            yield cursor


# Definitions


def _create_schema(cursor: Cursor) -> None:
    """Create raw unless it is there: even with `if not exists` it takes the privilege, which a loader may lack."""
    if not _run(cursor, "select 1 from information_schema.schemata where schema_name = 'RAW'"):
        cursor.execute("create transient schema if not exists raw")


def _columns(cursor: Cursor) -> dict[str, dict[str, str]]:
    """The columns of raw with their types, by the names that Snowflake has for tables and columns."""
    rows = _run(
        cursor,
        "select table_name, column_name, data_type, numeric_precision, numeric_scale "
        "from information_schema.columns where table_schema = 'RAW'",
    )
    there: dict[str, dict[str, str]] = {}
    for table, column, kind, precision, scale in rows:
        described = f"{kind}({precision},{scale})" if kind == "NUMBER" else kind
        there.setdefault(table, {})[column] = described
    return there


def _create(
    cursor: Cursor,
    there: dict[str, dict[str, str]],
    table: str,
    columns: Mapping[str, str],
    *,
    key: bool = False,
) -> None:
    """Create a table, or add the columns that it lacks."""
    if table.upper() not in there:
        cursor.execute(_create_table(table, columns, key=key))
    else:
        _add_missing(cursor, table, there[table.upper()], columns)


def _create_table(table: str, columns: Mapping[str, str], *, key: bool = False) -> str:
    """The statement for a table; with `key`, its first three columns are declared as its key."""
    definitions = [f"{_identifier(name)} {_type(kind)}" for name, kind in columns.items()]
    if key:
        definitions.append(f"primary key ({', '.join(map(_identifier, [*columns][:3]))})")
    return f"create table if not exists raw.{table} ({', '.join(definitions)})"


def _union_of_ledgers() -> str:
    columns = ", ".join(map(_identifier, BATCHES))
    selects = [f"select {columns} from raw.{_ledger(name)}" for name in TABLES]  # noqa: S608 - names are ours
    return f"create or replace view raw._batches ({columns}) as {' union all '.join(selects)}"


def _add_columns(cursor: Cursor, table: Table, columns: Mapping[str, str]) -> None:
    """Make room for a revision's columns; one that has changed its type is an error."""
    there = _columns(cursor).get(table.name.upper(), {})
    _add_missing(cursor, table.name, there, columns)
    changed = [
        f"{name} ({there[_stored(name)]}, not {kind})"
        for name, kind in columns.items()
        if there.get(_stored(name), _described(kind)) != _described(kind)
    ]
    if changed:
        raise WarehouseError(
            f"raw.{table.name} has another type than the history: {', '.join(changed)}; drop raw, so that it is loaded "
            "anew"
        )


def _add_missing(cursor: Cursor, table: str, there: Mapping[str, str], columns: Mapping[str, str]) -> None:
    for name, kind in columns.items():
        if _stored(name) not in there:
            cursor.execute(f"alter table raw.{table} add column if not exists {_identifier(name)} {_type(kind)}")


# Loading


@contextmanager
def _explained(lake: Lake, manifest: Manifest) -> Iterator[None]:
    """After what Snowflake or the connector refused, look for a part that is missing or damaged, and say so instead.

    Not before the load, which would ask the lake twice for each of its parts.
    """
    try:
        yield
    except (errors.Error, WarehouseError, FileNotFoundError):
        for part in manifest.parts:
            with opened_part(lake, manifest, part):
                pass
        raise


@contextmanager
def _staged(cursor: Cursor, stage: str | None, lake: Lake, manifest: Manifest) -> Iterator[str]:
    """The place, in SQL, from which COPY takes the parts: the batch in the external stage, or what is uploaded here.

    An upload has a folder of its own, which goes with the block: of two loaders at once one would else replace or
    remove files that the other is copying.
    """
    folder = paths.history(manifest.table, manifest.batch).partition("/")[2]
    if stage is not None:
        yield _literal(f"@{stage}/{folder}/")
        return
    place = _literal(f"@{PARTS_STAGE}/{folder}/{secrets.token_hex(8)}/")
    with ExitStack() as uploaded:
        if manifest.parts:
            uploaded.callback(_remove, cursor, place)
        for part in manifest.parts:
            with _local(lake, f"{paths.history(manifest.table, manifest.batch)}/{part.name}") as path:
                cursor.execute(f"put {_literal(f'file://{path}')} {place} auto_compress = false overwrite = true")
        yield place


def _remove(cursor: Cursor, place: str) -> None:
    with suppress(errors.Error):  # what stays takes space, and nothing reads it
        cursor.execute(f"remove {place}")


@contextmanager
def _local(lake: Lake, path: str) -> Iterator[Path]:
    """The file of a local lake itself, of another a copy for as long as it is used."""
    if isinstance(lake, LocalLake):
        yield lake.root / path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        with lake.filesystem.open_input_stream(path, compression=None) as stream, copy.open("wb") as target:
            shutil.copyfileobj(stream, target)
        yield copy


def _claim(cursor: Cursor, manifest: Manifest, run: str, loaded_at: datetime) -> bool:
    """Enter the revision in the ledger unless it is there, which waits for whoever is loading the table."""
    row = [manifest.table, manifest.batch, manifest.revision, manifest.rows, manifest.digest, utc(loaded_at), run]
    ((inserted,),) = _run(cursor, _merge(_ledger(manifest.table), BATCHES, 1, replace=False), row)
    return int(inserted) == 1


def _merge(table: str, columns: Mapping[str, str], rows: int, *, replace: bool) -> str:
    """The MERGE of bound rows into a ledger by its key; rows that are there stay, or are replaced."""
    names = [*map(_identifier, columns)]
    values = ", ".join(
        f"cast(? as {_type(kind)}) as {name}" for name, kind in zip(names, columns.values(), strict=True)
    )
    source = " union all ".join([f"select {values}"] * rows)
    same = " and ".join(f"ledger.{name} = new.{name}" for name in names[:3])
    update = ", ".join(f"{name} = new.{name}" for name in names[3:])
    replaced = f"when matched then update set {update} " if replace else ""
    return (
        # Names are ours, and values are bound.
        f"merge into raw.{table} as ledger using ({source}) as new on {same} {replaced}"  # noqa: S608
        f"when not matched then insert ({', '.join(names)}) values ({', '.join(f'new.{name}' for name in names)})"
    )


def _copy(cursor: Cursor, place: str, manifest: Manifest, parts: Sequence[Part], names: Mapping[str, str]) -> None:
    """Copy parts into raw, and see that COPY took every row of each."""
    rows = _run(cursor, _copy_statement(place, manifest, parts, names))
    columns = [column.name.lower() for column in cursor.description]
    told = [dict(zip(columns, row, strict=True)) for row in rows]
    loaded = {one["file"].rpartition("/")[2]: one["rows_loaded"] for one in told if one["status"] == "LOADED"}
    for part in parts:
        if part.name not in loaded:
            raise WarehouseError(
                f"COPY passed over {part.name} of {title(manifest)} ({told[0]['status'].rstrip('.')}); see that the "
                "stage is the lake's folder `history`"
            )
        if int(loaded[part.name]) != part.rows:
            raise WarehouseError(
                f"COPY loaded {loaded[part.name]} rows of {part.name} of {title(manifest)}, but its manifest says "
                f"{part.rows}; nothing was loaded: look for a part that was changed"
            )


def _copy_statement(place: str, manifest: Manifest, parts: Sequence[Part], names: Mapping[str, str]) -> str:
    """The COPY of parts: the columns of the files by name, and what all rows of a revision have in common."""
    taken = {name: sql_type(kind) for name, kind in manifest.columns.items()}
    taken |= {name: TECHNICAL[name] for name in ("_cursor", "_version")}
    values = [f"$1[{_literal(name)}]::{_type(kind)}" for name, kind in taken.items()]
    values += [f"'{manifest.batch.isoformat()}'::date", str(int(manifest.revision))]
    values += ["split_part(metadata$filename, '/', -1)"]
    columns = [*(_identifier(names.get(name, name)) for name in taken), "_batch", "_revision", "_part"]
    files = ", ".join(_literal(part.name) for part in parts)
    return (
        # Names are ours or quoted.
        f"copy into raw.{manifest.table} ({', '.join(columns)}) "  # noqa: S608
        f"from (select {', '.join(values)} from {place}) "
        f"files = ({files}) file_format = (type = parquet use_logical_type = true) force = true"
    )


def _verify(cursor: Cursor, manifest: Manifest) -> None:
    ((rows, digest),) = _run(cursor, counted(manifest.table), [manifest.batch, manifest.revision])
    check_counts(manifest, int(rows), int(digest))


# Statements


@contextmanager
def _transaction(cursor: Cursor) -> Iterator[None]:
    """Commit what is done in the block, or roll it back if that raises."""
    cursor.execute("begin")
    with ExitStack() as uncommitted:
        uncommitted.callback(_roll_back, cursor)
        yield
        uncommitted.pop_all()
    cursor.execute("commit")


def _roll_back(cursor: Cursor) -> None:
    """Undo the transaction, or end its session: the next one would else go on with it, and commit both."""
    try:
        cursor.execute("rollback", timeout=_ROLLBACK_SECONDS)
    except errors.Error:
        cursor.connection.close(retry=False)


def _run(cursor: Cursor, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
    cursor.execute(statement, list(parameters) or None)
    return list(cursor.fetchall())


def _chunks(items: Collection[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _ledger(table: str) -> str:
    return of_table("_batches_{table}", table)


def _type(kind: str) -> str:
    return "TIMESTAMP_NTZ(6)" if kind == "TIMESTAMP" else kind


def _described(kind: str) -> str:
    """What Snowflake says of a column of that type."""
    if kind.startswith("DECIMAL"):
        return kind.replace("DECIMAL", "NUMBER")
    known = {"BIGINT": "NUMBER(38,0)", "INTEGER": "NUMBER(38,0)", "VARCHAR": "TEXT", "TIMESTAMP": "TIMESTAMP_NTZ"}
    return known.get(kind, kind)


def _identifier(name: str) -> str:
    """A column in SQL: ours as it is, what only a feed knows in quotes."""
    if name in _RESERVED:
        return _RESERVED[name]
    return name if name in _OURS else _quoted(_stored(name))


def _stored(name: str) -> str:
    """Snowflake's name of a column: a plain one can be written without quotes, whatever its case."""
    if name in _RESERVED or not _PLAIN.fullmatch(name):
        return name
    return name.upper()


def _name(given: str) -> str:
    """The name of an object as the connector takes it: in the case it is written in only where that is needed."""
    return given if _OBJECT.fullmatch(given) else _quoted(given.strip('"'))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


_OURS = frozenset(
    {*TECHNICAL, *BATCHES, *BUILT, *(name for table in TABLES.values() for name in declared_columns(table))}
)

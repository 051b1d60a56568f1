"""The shop's operational database: rows in by upsert, rows out by COPY within one snapshot."""

import io
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import date, timedelta
from typing import Any, NamedTuple

import psycopg2
import psycopg2.errors
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2 import extensions, sql
from pyarrow import csv

from tasks.errors import SourceError, TransientError
from tasks.source import ddl, rows
from tasks.source.faults import translated
from tasks.tables import Table
from tasks.window import Chunk, Window

_COPY_BYTES = 1 << 20
_DDL_LOCK = 5_226_437_110
_DEAD_PEER: dict[str, Any] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A peer that is gone without a word is noticed within a minute, whether we wait for it or write to it."""

_POLL_SECONDS = 0.1
_CAUGHT_UP = "select not pg_is_in_recovery() or coalesce(pg_last_wal_replay_lsn() >= %s::pg_lsn, false)"
_RIGHTS = """
select current_setting('server_version'), current_user, pg_is_in_recovery(),
    coalesce(has_schema_privilege(to_regnamespace(quote_ident(%(schema)s)), 'create'), false),
    array(select relname::text from held where has_table_privilege(oid, 'select')),
    array(select relname::text from held where has_table_privilege(oid, 'insert, update, delete'))
"""
_HELD = """
with held as (
    select pg_class.oid, relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = %(schema)s and relname = any(%(tables)s) order by relname
)
"""


class Rights(NamedTuple):
    """What a role may do with the shop's tables, and on which server; `writable` are those it may change."""

    version: str
    role: str
    replica: bool
    creates: bool
    readable: list[str]
    writable: list[str]


class Source:
    """The Postgres tables of one schema. Every method is one transaction on a connection of its own.

    `dsn` is a libpq connection string or address, `name` is what errors call it; timeouts are in seconds. Broken
    connections, locks and timeouts are raised as TransientError, everything else that Postgres refuses as SourceError.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "public",
        name: str = "the embedded Postgres",
        connect_timeout: int = 10,
        lock_timeout: int = 60,
        statement_timeout: int = 900,
    ) -> None:
        self.schema = schema
        self._dsn = dsn
        self._name = name
        self._connect_timeout = connect_timeout
        self._patience = statement_timeout + 2 * lock_timeout
        self._timeouts = {"lock_timeout": lock_timeout, "statement_timeout": statement_timeout}

    def check(self) -> None:
        """Ask the server for its answer; an error says why there is none."""
        with self._transaction("reach the shop's database") as cursor:
            cursor.execute("select 1")

    def rights(self) -> Rights:
        """What the role of this connection may do with the shop's tables that there are."""
        with self._transaction("ask for the rights on the shop's tables") as cursor:
            tables = [table.name for table in ddl.POSTGRES_TABLES]
            cursor.execute(_HELD + _RIGHTS, {"schema": self.schema, "tables": tables})
            ((*found,),) = cursor.fetchall()
        return Rights(*found)

    def create_schema(self) -> None:
        """Create the schema of the tables, unless it is there."""
        with self._transaction(f"create schema {self.schema}") as cursor:
            cursor.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(self.schema)))

    def drop_schema(self) -> None:
        """Drop the schema with all it holds; nothing happens if there is none."""
        with self._transaction(f"drop schema {self.schema}") as cursor:
            cursor.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(self.schema)))

    def create_tables(self) -> None:
        """Create the tables that are missing, with keys, constraints and the index on the cursor."""
        with self._transaction("create the shop's tables") as cursor:
            # Two creators at once would collide in the catalog despite "if not exists".
            cursor.execute("select pg_advisory_xact_lock(%s)", [_DDL_LOCK])
            for table in ddl.POSTGRES_TABLES:
                cursor.execute(ddl.create_table(table, self.schema))
                cursor.execute(ddl.create_index(table, self.schema))

    def clear(self) -> None:
        """Drop the shop's tables; nothing happens if there are none."""
        tables = (sql.Identifier(self.schema, table.name) for table in ddl.POSTGRES_TABLES)
        with self._transaction("drop the shop's tables") as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", [_DDL_LOCK])
            cursor.execute(sql.SQL("drop table if exists {}").format(sql.SQL(", ").join(tables)))

    def upsert(self, table: Table, records: pa.Table) -> int:
        """Write `records` (one per key, columns by name) where they are newer than what is there; the rows written.

        A record that is there stays unless the incoming `updated_at` is greater; in a table without `updated_at` it
        always stays. Instants are UTC. Where there is no key between the first and the last of `records`, as in a first
        load, they go straight into the table, in 0.6 of the time that a staging table takes.
        """
        columns, data = records.column_names, _csv(records)
        with self._transaction(f"write {table.name}") as cursor:
            if self._is_new(cursor, table, records) and _copied(cursor, ddl.copy(table, self.schema, columns), data):
                return records.num_rows
            cursor.execute(ddl.create_incoming(table, self.schema))
            cursor.copy_expert(ddl.copy_incoming(columns), pa.BufferReader(data), _COPY_BYTES)
            cursor.execute(ddl.upsert(table, self.schema, columns))
            return cursor.rowcount

    def _is_new(self, cursor: extensions.cursor, table: Table, records: pa.Table) -> bool:
        keys = pc.min_max(records[table.key]).as_py()
        cursor.execute(ddl.any_between(table, self.schema), keys)
        return not _value(cursor)

    def position(self) -> str:
        """Where the log of the server's changes ends now: what a standby must have replayed to have all of them."""
        with self._transaction("ask a primary where its log ends") as cursor:
            # Of what is written, not of what is on disk: with synchronous_commit = off that comes later.
            cursor.execute("select pg_current_wal_insert_lsn()::text")
            return str(_value(cursor))

    def catch_up(self, position: str) -> None:
        """Wait until a standby has replayed its primary's log up to `position`; a primary need not.

        Raises TransientError if that takes longer than a statement may.
        """
        give_up = time.monotonic() + self._timeouts["statement_timeout"]
        with self._transaction("wait for what a standby has to replay") as cursor:
            while True:
                cursor.execute(_CAUGHT_UP, [position])
                if _value(cursor):
                    return
                if time.monotonic() > give_up:
                    raise TransientError(
                        f"the standby is behind what the shop has written; see why it replays no more, or let the "
                        f"reader be the primary ({self._name}), then run again"
                    )
                time.sleep(_POLL_SECONDS)

    @contextmanager
    def snapshot(self) -> Iterator[str]:
        """Hold the database still: while the block runs, readers that are given the name see this one state.

        They must connect to the same server; that may be a standby (from Postgres 10 on). Those that come after the
        holder has lost its connection are refused with SnapshotLostError.
        """
        with self._translated("hold a snapshot of the shop's database"), closing(self._connect()) as connection:
            connection.set_session("REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                with self._watched(connection):
                    self._configure(cursor)
                    cursor.execute("set local idle_in_transaction_session_timeout = 0")
                    cursor.execute("select pg_export_snapshot()")
                yield _value(cursor)

    def counts(self, table: Table, window: Window, as_of: date, snapshot: str) -> dict[date, int]:
        """Rows per day (UTC) of the cursor, within `window` and before `as_of`: what `copy_out` will take, by day.

        Rows without a usable cursor (NULL, infinite) and all rows of a reference table count for the last day before
        `as_of`, if the window reaches it.
        """
        with self._transaction(f"count {table.name}", snapshot) as cursor:
            dated, last = rows.daily_counts(table, self.schema, self._columns(cursor, table), window, as_of)
            cursor.execute(dated)
            found = Counter(dict(cursor.fetchall()))
            cursor.execute(last)
            found[as_of - timedelta(1)] += _value(cursor)
        return {day: count for day, count in sorted(found.items()) if count}

    def copy_out(self, table: Table, chunk: Chunk, as_of: date, snapshot: str) -> pa.Table:
        """The rows of `chunk` before `as_of`, in no particular order, with the columns that the table really has.

        A declared column has its type in `table.history_schema` (instants as UTC microseconds without a zone) where
        Postgres' own type fits it; it is text otherwise, and so is an unknown column. If a single value does not fit
        (NaN, an infinite instant, a third decimal), ALL columns come as text, to be checked record by record. The chunk
        that ends at `as_of` also takes the rows without a usable cursor; of a reference table it takes every row,
        and other chunks take none.
        """
        out = io.BytesIO()
        with self._transaction(f"read {table.name} {chunk}", snapshot) as cursor:
            columns = self._columns(cursor, table)
            query = rows.selection(table, self.schema, columns, chunk, as_of)
            cursor.copy_expert(sql.SQL("copy ({}) to stdout (format csv)").format(query), out, _COPY_BYTES)
        return rows.parse(pa.py_buffer(out.getbuffer()), rows.arrow_types(table, columns))

    def _columns(self, cursor: extensions.cursor, table: Table) -> dict[str, str]:
        name = sql.Identifier(self.schema, table.name).as_string(cursor)
        cursor.execute(rows.COLUMNS, [name])
        found = dict(cursor.fetchall())
        if not found:
            raise SourceError(
                f"there is no table {name} in the shop's database; generate the shop's data, create the table, or "
                f"correct the stack's source_schema ({self._name}), then run again"
            )
        return found

    @contextmanager
    def _transaction(self, doing: str, snapshot: str | None = None) -> Iterator[extensions.cursor]:
        with (
            self._translated(doing),
            closing(self._connect()) as connection,
            self._watched(connection),
            connection.cursor() as cursor,
        ):
            if snapshot is not None:
                connection.set_session("REPEATABLE READ", readonly=True)
                cursor.execute("set transaction snapshot %s", [snapshot])
            self._configure(cursor)
            yield cursor
            connection.commit()  # after an error closing rolls back; to ask for it would hide a lost connection

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated(doing, self._name)

    def _connect(self) -> extensions.connection:
        made: extensions.connection = psycopg2.connect(self._dsn, connect_timeout=self._connect_timeout, **_DEAD_PEER)
        return made

    @contextmanager
    def _watched(self, connection: extensions.connection) -> Iterator[None]:
        """Cut a connection that outlives every timeout: a server that hangs keeps none, and libpq waits forever."""
        with socket.socket(fileno=os.dup(connection.fileno())) as wire:
            watchdog = threading.Timer(self._patience, _cut, [wire])
            watchdog.daemon = True
            watchdog.start()
            try:
                yield
            finally:
                watchdog.cancel()

    def _configure(self, cursor: extensions.cursor) -> None:
        """Settings of this transaction only, so that a connection pooler in between does no harm."""
        cursor.execute(
            "set local timezone to 'UTC'; set local datestyle to 'ISO, YMD'; set local client_encoding to 'UTF8'"
        )
        for name, seconds in self._timeouts.items():
            cursor.execute("select set_config(%s, %s, true)", [name, f"{seconds}s"])


def _copied(cursor: extensions.cursor, copy: sql.Composed, data: pa.Buffer) -> bool:
    """Copy into a table; False, and nothing is copied, if another writer was faster with one of the keys."""
    cursor.execute("savepoint straight")
    try:
        cursor.copy_expert(copy, pa.BufferReader(data), _COPY_BYTES)
    except psycopg2.errors.UniqueViolation:
        cursor.execute("rollback to savepoint straight")
        return False
    return True


def _csv(records: pa.Table) -> pa.Buffer:
    out = pa.BufferOutputStream()
    # Every text is quoted but NULL: that tells it from an empty text.
    csv.write_csv(records, out, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return out.getvalue()


def _value(cursor: extensions.cursor) -> Any:
    ((value,),) = cursor.fetchall()
    return value


def _cut(wire: socket.socket) -> None:
    with suppress(OSError):  # the peer was faster
        wire.shutdown(socket.SHUT_RDWR)

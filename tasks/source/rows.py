"""Which rows of a Postgres table a chunk takes, and how they become Arrow.

A row belongs to the day of its cursor. A row without a usable cursor (NULL or infinite) and every row of a reference
table belong to the last day before `as_of`, so that each is in exactly one chunk of a plan that reaches `as_of`.
"""

from collections.abc import Mapping
from datetime import date
from typing import IO, cast

import pyarrow as pa
from psycopg2 import sql
from pyarrow import csv

from tasks.errors import SourceError
from tasks.source.ddl import cursor_expression
from tasks.tables import Column, Table, Type
from tasks.window import Chunk, Window, midnight

COLUMNS = """
select attname, format_type(coalesce(nullif(typbasetype, 0), pg_type.oid), null)
from pg_attribute join pg_type on pg_type.oid = atttypid
where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
order by attnum
"""
"""The columns of a table or view and their types, those of domains resolved."""

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_INSTANTS = frozenset({"timestamp with time zone", "timestamp without time zone", "date"})
_DECIMALS = _INTEGERS | {"numeric"}
_FITTING = {
    Type.INTEGER: _DECIMALS,
    Type.BOOLEAN: {"boolean"},
    Type.DATE: {"date"},
    Type.INSTANT: _INSTANTS,
    Type.MONEY: _DECIMALS,
    Type.WEIGHT: _DECIMALS,
}
_BLOCK_BYTES = 16 << 20


def selection(table: Table, schema: str, columns: Mapping[str, str], chunk: Chunk, as_of: date) -> sql.Composed:
    """The query for the rows of `chunk`; `columns` maps the table's actual columns to their Postgres types."""
    return sql.SQL("select {} from {} where {} and {}").format(
        sql.SQL(", ").join(_value(name, kind, table.column(name)) for name, kind in columns.items()),
        sql.Identifier(schema, table.name),
        _in_window(table, columns, chunk.window, as_of),
        _in_share(table, columns, chunk),
    )


def daily_counts(
    table: Table, schema: str, columns: Mapping[str, str], window: Window, as_of: date
) -> tuple[sql.Composed, sql.Composed]:
    """Two queries: (cursor day, rows) of what is dated in the window, and (rows) of what the last day takes besides."""
    cursor, source = _cursor(table, columns), sql.Identifier(schema, table.name)
    dated = sql.SQL("select cast({} as date) as day, count(*) from {} where {} group by day").format(
        cursor, source, sql.SQL("false") if table.whole else _dated(cursor, window.start, min(window.end, as_of))
    )
    last = _everything(cursor, as_of) if table.whole else _undated(cursor)
    taken = last if window.end >= as_of else sql.SQL("false")
    return dated, sql.SQL("select count(*) from {} where {}").format(source, taken)


def parse(data: pa.Buffer, types: dict[str, pa.DataType]) -> pa.Table:
    """Read Postgres' CSV (NULL is nothing, an empty text is `""`); all columns are text if one value does not fit."""
    if not data.size:
        return pa.schema(list(types.items())).empty_table()
    try:
        return _read(data, types, _BLOCK_BYTES)
    except pa.ArrowInvalid:
        # One block for all: a value larger than a block cannot be read either.
        return _read(data, dict.fromkeys(types, pa.string()), data.size + 1)


def arrow_types(table: Table, columns: Mapping[str, str]) -> dict[str, pa.DataType]:
    """A declared column has its history type if Postgres' type can hold nothing else; any other column is text."""
    return {name: _arrow_type(table, name, kind) for name, kind in columns.items()}


def _arrow_type(table: Table, name: str, kind: str) -> pa.DataType:
    column = table.column(name)
    fits = column is not None and kind in _FITTING.get(column.type, {kind})
    return table.history_schema.field(name).type if fits else pa.string()


def _read(data: pa.Buffer, types: dict[str, pa.DataType], block_bytes: int) -> pa.Table:
    return csv.read_csv(
        cast(IO[bytes], pa.BufferReader(data)),
        csv.ReadOptions(column_names=list(types), block_size=block_bytes),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _value(name: str, kind: str, declared: Column | None) -> sql.Composable:
    column = sql.Identifier(name)
    if declared and declared.type is Type.INSTANT and kind == "timestamp with time zone":
        return sql.SQL("{} at time zone 'UTC'").format(column)
    # COPY writes a boolean as t, the cast as true, like every other producer.
    return sql.SQL("cast({} as text)").format(column) if kind == "boolean" else column


def _cursor(table: Table, columns: Mapping[str, str]) -> sql.Composable:
    present = [name for name in table.cursors if name in columns]
    odd = [f"{name} ({columns[name]})" for name in present if columns[name] not in _INSTANTS]
    if odd:
        raise SourceError(
            f"{table.name} cannot be read by its cursor: {', '.join(odd)} is no timestamp; alter its type, or put a "
            "view of that name over the table"
        )
    return cursor_expression(present) if present else sql.SQL("cast(null as timestamptz)")


def _in_window(table: Table, columns: Mapping[str, str], window: Window, as_of: date) -> sql.Composed:
    cursor, last = _cursor(table, columns), window.end >= as_of
    if table.whole:
        return sql.SQL("({})").format(_everything(cursor, as_of) if last else sql.SQL("false"))
    dated = _dated(cursor, window.start, min(window.end, as_of))
    return sql.SQL("({} or {})").format(dated, _undated(cursor) if last else sql.SQL("false"))


def _everything(cursor: sql.Composable, as_of: date) -> sql.Composed:
    return sql.SQL("({} < {} or {})").format(cursor, sql.Literal(midnight(as_of)), _undated(cursor))


def _dated(cursor: sql.Composable, start: date, end: date) -> sql.Composed:
    bounds = sql.Literal(midnight(start)), sql.Literal(midnight(end))
    return sql.SQL("({} >= {} and {} < {})").format(cursor, bounds[0], cursor, bounds[1])


def _undated(cursor: sql.Composable) -> sql.Composed:
    # Spelled so that the index on the cursor serves it.
    return sql.SQL("({} is null or {} = any ('{{-infinity, infinity}}'))").format(cursor, cursor)


def _in_share(table: Table, columns: Mapping[str, str], chunk: Chunk) -> sql.Composable:
    if chunk.shares == 1 or table.key not in columns:
        return sql.SQL("true" if chunk.share == 0 else "false")
    key: sql.Composable = sql.Identifier(table.key)
    if columns[table.key] not in _INTEGERS:
        key = sql.SQL("hashtext(cast({} as text))").format(key)
    shares = sql.Literal(chunk.shares)
    # A remainder has the sign of its dividend; a key that is NULL goes to share 0.
    remainder = sql.SQL("coalesce(({} % {} + {}) % {}, 0)").format(key, shares, shares, shares)
    return sql.SQL("{} = {}").format(remainder, sql.Literal(chunk.share))

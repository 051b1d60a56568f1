"""The line between good and bad records: only what fits its column exactly passes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa

from tasks.lake.arrow import Field, Values
from tasks.lake.arrow import compute as pc
from tasks.lake.json_records import TOO_DEEP, json_text, parse_record
from tasks.lake.values import INSTANT, MisfitError, fit, instant, shown, text
from tasks.lake.versions import version_of
from tasks.tables import Table, Type
from tasks.window import CHUNK_ROWS, midnight

CURSOR, VERSION, POSITION, FILE = "_cursor", "_version", "_position", "_file"
OWN_COLUMNS = frozenset({CURSOR, VERSION, POSITION, FILE, "_batch", "_revision", "_part"})
"""Names that the pipeline gives to columns of its own."""

_CURSOR_TYPE = pa.timestamp("us")
_NAME_LIMIT = 255  # characters of an identifier in Snowflake
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Bad:
    """A record that could not be taken: where it stood in its source, why, and its text."""

    position: int | str
    reason: str
    record: str


@dataclass(frozen=True)
class Checked:
    """Records of one source that were looked at: `read` = the good `records` + the `bad` ones.

    `records` holds the declared columns in their history types, then the `unknown` ones as text (by name, those with
    a value), then `_cursor` (timestamp[us], UTC; NULL if the record has none), `_version` and `_position` (int64).
    """

    records: pa.Table
    bad: list[Bad]
    read: int
    unknown: tuple[str, ...] = ()


def check_columns(table: Table, records: pa.Table, as_of: date, first: int = 1) -> Checked | None:
    """Check typed columns, all records at once; None if any of them needs a look of its own.

    Columns must have their history types, unknown ones must be text; `first` is the position of the first record.
    """
    try:
        records.validate(full=True)
        columns = {field.name: _declared(field, records) for field in table.history_schema}
        unknown = _unknown(table, records)
        cursor = _cursors(table, columns)
    except (pa.ArrowInvalid, MisfitError):
        return None
    if columns[table.key].null_count or _late(cursor, as_of):
        return None
    positions = pa.array(np.arange(first, first + records.num_rows))
    return Checked(_finished(columns, unknown, cursor, positions), [], records.num_rows, tuple(unknown))


def check_records(table: Table, rows: Iterable[tuple[int, Mapping[str, object] | bytes]], as_of: date) -> Checked:
    """Check record by record: `rows` are positions with parsed values by column, or with the text of a JSON object."""
    form, bad, read = _Form(table, as_of), list[Bad](), 0
    for position, record in rows:
        read += 1
        try:
            form.fill(position, parse_record(record) if isinstance(record, bytes) else record)
        except MisfitError as error:
            bad.append(Bad(position, str(error), _record_text(record)))
        except RecursionError:
            bad.append(Bad(position, TOO_DEEP, _record_text(record)))
    return form.checked(bad, read)


def check_rows(table: Table, rows: pa.Table, as_of: date) -> Iterator[Checked]:
    """Check rows of a database: typed columns or, where a value did not fit, columns of text."""
    for start in range(0, rows.num_rows, CHUNK_ROWS):
        block, first = rows.slice(start, CHUNK_ROWS), start + 1
        checked = check_columns(table, block, as_of, first)
        yield checked or check_records(table, enumerate(block.to_pylist(), first), as_of)


def latest(as_of: date) -> datetime:
    """The greatest cursor (UTC, without a zone) that a record taken as of that midnight may have: one day after it."""
    return (midnight(as_of) + _ONE_DAY).replace(tzinfo=None)


class _Form:
    """Collects checked records, to turn them into columns."""

    def __init__(self, table: Table, as_of: date) -> None:
        self._table, self._latest = table, latest(as_of)
        schema = table.history_schema
        self._columns = [(column, pa.types.is_string(schema.field(column.name).type)) for column in table.columns]
        self._cursors = [schema.get_field_index(name) for name in table.cursors]
        self._names = {column.name: column.name for column in table.columns}
        self._rows: list[tuple[object, ...]] = []
        self._unknown: list[dict[str, str]] = []

    def fill(self, position: int, record: Mapping[str, object]) -> None:
        """Add a record; raises MisfitError, and adds nothing, if it is bad."""
        named = self._named(record)
        values = [fit(column, named.pop(column.name, None), as_text=as_text) for column, as_text in self._columns]
        if values[0] is None:
            raise MisfitError(f"{self._table.key} is missing, expected the key of the record")
        unknown = {name: _unknown_text(name, value) for name, value in named.items() if value is not None}
        self._rows.append((*values, self._cursor(values), position))
        self._unknown.append(unknown)

    def checked(self, bad: list[Bad], read: int) -> Checked:
        """What was collected."""
        fields = [*self._table.history_schema, pa.field(CURSOR, _CURSOR_TYPE), pa.field(POSITION, pa.int64())]
        rows = list(zip(*self._rows, strict=True)) or [()] * len(fields)
        columns = {field.name: pa.array(values, field.type) for field, values in zip(fields, rows, strict=True)}
        names = sorted({name for unknown in self._unknown for name in unknown})
        unknown = {name: pa.array([row.get(name) for row in self._unknown], pa.string()) for name in names}
        cursor, positions = columns.pop(CURSOR), columns.pop(POSITION)
        return Checked(_finished(columns, unknown, cursor, positions), bad, read, tuple(names))

    def _named(self, record: Mapping[str, object]) -> dict[str, object]:
        for name in record.keys() - self._names.keys():
            self._names[name] = _stored_name(name)
        named = {self._names[name]: value for name, value in record.items()}
        if len(named) != len(record):
            raise MisfitError(f"{_repeated(self._names[name] for name in record)} is there more than once")
        return named

    def _cursor(self, values: list[object]) -> datetime | None:
        found = next((instant(values[n]) for n in self._cursors if values[n] is not None), None)
        if found is not None and found > self._latest:
            raise MisfitError(f"the record changed at {found}Z, expected no later than {self._latest}Z")
        return found


def _stored_name(name: str) -> str:
    """Warehouses do not tell `Name` from `name`, and some names are the pipeline's own."""
    try:
        stored = text(name).lower()
    except ValueError as error:
        raise MisfitError(f"{shown(name)} is no name for a column, expected text without broken characters") from error
    if not 0 < len(stored) <= _NAME_LIMIT:
        raise MisfitError(f"{shown(name)} is no name for a column, expected 1 to {_NAME_LIMIT} characters")
    return f"source{stored}" if stored in OWN_COLUMNS else stored


def _repeated(names: Iterable[str]) -> str:
    found = list(names)
    return next(name for name in found if found.count(name) > 1)


def _unknown_text(name: str, value: object) -> str:
    try:
        return text(value if isinstance(value, str) else json_text(value))
    except ValueError as error:
        raise MisfitError(f"{name} is {shown(value)}, expected JSON without NUL or broken characters") from error


def _record_text(record: Mapping[str, object] | bytes) -> str:
    # Bytes that are not UTF-8 are shown as \xe9, so that nobody takes the text for whole.
    return record.decode(errors="backslashreplace").strip() if isinstance(record, bytes) else json_text(record)


def _declared(field: Field, records: pa.Table) -> Values:
    """The column as it is stored; raises MisfitError for another type."""
    if field.name not in records.column_names:
        return pa.chunked_array([pa.nulls(records.num_rows, field.type)])
    column = records[field.name]
    if column.type != field.type:
        raise MisfitError(f"{field.name} is {column.type}, expected {field.type}")
    return _without_nul(column)


def _unknown(table: Table, records: pa.Table) -> dict[str, Values]:
    declared = set(table.history_schema.names)
    names = {_stored_name(name): name for name in records.column_names}
    if len(names) != records.num_columns or any(name != names[name] for name in declared & names.keys()):
        raise MisfitError("columns whose names differ only in case")
    columns = {stored: records[names[stored]] for stored in sorted(names.keys() - declared)}
    if any(column.type != pa.string() for column in columns.values()):
        raise MisfitError("unknown columns that are not text")
    return {name: _without_nul(column) for name, column in columns.items() if column.null_count < len(column)}


def _without_nul(column: Values) -> Values:
    if pa.types.is_string(column.type) and pc.any(pc.match_substring(column, "\0")).as_py():
        raise MisfitError("text with NUL")
    return column


def _cursors(table: Table, columns: Mapping[str, Values]) -> Values:
    """The cursor of every record, once all its dates and instants are known to be some."""
    dated = [column.name for column in table.columns if column.type in (Type.DATE, Type.INSTANT)]
    instants = {name: _instants(columns[name]) for name in dated}
    return pc.coalesce(*(instants[name] for name in table.cursors))


def _instants(column: Values) -> Values:
    if not pa.types.is_string(column.type):
        return column
    if not pc.all(pc.match_substring_regex(column, f"^{INSTANT}$"), min_count=0).as_py():
        raise MisfitError("text that is no instant")
    # Arrow casts text with an offset or text without one, and refuses a mixture as it does a 30th of February.
    zoned = pc.any(pc.match_substring_regex(column, "[T ].*[Z+-]")).as_py()
    instants = column.cast(pa.timestamp("us", "UTC")).cast(_CURSOR_TYPE) if zoned else column.cast(_CURSOR_TYPE)
    if pc.any(pc.starts_with(column, "0000")).as_py() or not _in_python(instants):
        raise MisfitError("a year 0 or 10000, which the check of single records does not have")
    return instants


def _in_python(instants: Values) -> bool:
    """Whether all are in datetime's years 1 to 9999, which an offset may lead out of."""
    try:
        pc.min_max(instants).as_py()
    except (ValueError, OverflowError):
        return False
    return True


def _late(cursor: Values, as_of: date) -> bool:
    return bool(pc.any(pc.greater(cursor, pa.scalar(latest(as_of), _CURSOR_TYPE))).as_py())


def _finished(
    columns: Mapping[str, Values], unknown: Mapping[str, Values], cursor: Values, positions: Values
) -> pa.Table:
    business = {**columns, **unknown}
    return pa.table({**business, CURSOR: cursor, VERSION: version_of(pa.table(business)), POSITION: positions})

"""What raw looks like in any warehouse: technical columns, column names and types."""

import re
from collections.abc import Iterable

from tasks.errors import WarehouseError
from tasks.tables import Table

TECHNICAL = {
    "_batch": "DATE",
    "_revision": "INTEGER",
    "_part": "VARCHAR",
    "_cursor": "TIMESTAMP",
    "_version": "BIGINT",
}
"""The columns that the pipeline adds to the source's, and their types."""

BATCHES = {
    "table": "VARCHAR",
    "batch": "DATE",
    "revision": "INTEGER",
    "rows": "BIGINT",
    "digest": "DECIMAL(38,0)",
    "loaded_at": "TIMESTAMP",
    "run": "VARCHAR",
}
"""Columns of the ledger `raw._batches`; the first three are its key, `loaded_at` is UTC."""

BUILT = {
    "table": "VARCHAR",
    "batch": "DATE",
    "revision": "INTEGER",
    "as_of": "DATE",
    "built_at": "TIMESTAMP",
    "run": "VARCHAR",
}
"""Columns of `raw._built`; the first three are its key, `built_at` is UTC."""

SCHEMAS = ("marts", "intermediate", "staging", "raw")
"""The schemas of the warehouse, what depends on others first."""

_TYPES = {
    "int64": "BIGINT",
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "timestamp[us]": "TIMESTAMP",
}
_DECIMAL = re.compile(r"decimal128\((\d+), (\d+)\)")


def sql_type(arrow: str) -> str:
    """The SQL type of an Arrow type given as text.

    >>> sql_type("decimal128(12, 2)")
    'DECIMAL(12,2)'
    """
    if decimal := _DECIMAL.fullmatch(arrow):
        return f"DECIMAL({decimal[1]},{decimal[2]})"
    if arrow not in _TYPES:
        raise WarehouseError(f"raw has no type for Arrow's {arrow}; add it to the types of raw")
    return _TYPES[arrow]


def declared_columns(table: Table) -> dict[str, str]:
    """The columns that `raw.<table>` has from the start, with their SQL types."""
    return {field.name: sql_type(str(field.type)) for field in table.history_schema} | TECHNICAL


def raw_names(table: Table, columns: Iterable[str]) -> dict[str, str]:
    """The name in raw of each source column.

    It is the same, except that a warehouse takes no empty name and none that differs from another in case alone: an
    unknown column that would meet a declared, technical or unknown one gets underscores appended.
    """
    taken = {name.lower() for name in declared_columns(table)}
    names = {}
    for column in sorted(columns):
        name = column or "_"
        if table.column(column) is None:
            while name.lower() in taken:
                name += "_"
            taken.add(name.lower())
        names[column] = name
    return names

"""Arrow columns out of NumPy arrays, without a Python object per row."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.shop.random import Bits, Ints
from tasks.tables import TABLES

if TYPE_CHECKING:
    Values: TypeAlias = pa.Array[Any]
else:
    Values = pa.Array

_HEX = np.frombuffer("".join(f"{value:04x}" for value in range(1 << 16)).encode(), np.uint32)


def whole(values: Ints) -> Values:
    """Integers as they are."""
    column: Values = pa.array(values)
    return column


def instants(micros: Ints) -> Values:
    """Microseconds since 1970 as timestamps (UTC, without a zone)."""
    return _over(pa.timestamp("us"), len(micros), micros)


def dates(micros: Ints) -> Values:
    """The UTC day of instants."""
    return pc.cast(instants(micros), pa.date32(), safe=False)


def money(cents: Ints) -> Values:
    """Cents, none negative, as DECIMAL(12,2)."""
    return _decimals(cents, pa.decimal128(12, 2))


def weight(grams: Ints) -> Values:
    """Grams, none negative, as kilograms in DECIMAL(12,3)."""
    return _decimals(grams, pa.decimal128(12, 3))


def labels(pool: Values, which: Ints) -> Values:
    """For each number the text of `pool` at that position."""
    return pool.take(whole(which))


def joined(*parts: Values | str) -> Values:
    """Row by row, the parts in one text."""
    column: Values = pc.call_function("binary_join_element_wise", [*parts, pa.scalar("")])
    return column


def text(values: Ints) -> Values:
    """Integers in decimal digits."""
    return pc.cast(pa.array(values), pa.string())


def hexadecimal(hashes: Bits) -> Values:
    """Each hash in 16 hexadecimal digits."""
    digits = _HEX[np.ascontiguousarray(hashes).astype(">u8").view(">u2")]
    offsets = np.arange(len(hashes) + 1, dtype=np.int32) * 16
    return pa.Array.from_buffers(
        pa.string(), len(hashes), [None, pa.py_buffer(offsets.data), pa.py_buffer(digits.data)]
    )


def record_table(name: str, columns: Mapping[str, Values]) -> pa.Table:
    """The columns in the order and with the types of `tasks.tables`."""
    schema = TABLES[name].shop_schema
    return pa.Table.from_arrays([columns[field.name] for field in schema], schema=schema)


def texts(values: Sequence[str]) -> Values:
    """A pool of texts."""
    return pa.array(values, pa.string())


def _decimals(units: Ints, kind: pa.DataType) -> Values:
    words = np.zeros((len(units), 2), np.int64)
    words[:, 0] = units
    return _over(kind, len(units), words)


def _over(kind: pa.DataType, length: int, values: Ints) -> Values:
    return pa.Array.from_buffers(kind, length, [None, pa.py_buffer(values.data)])

"""One JSON record, read strictly: no repeated names, no rounding of numbers, only text that is UTF-8."""

import codecs
import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from tasks.lake.values import MisfitError, shown

TOO_DEEP = "too deeply nested to be read"
PLAIN = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)
"""Finds where a value ends, and takes it as it comes: numbers as text, of a repeated name the last value."""

_INT_DIGITS = 40  # twice what 64 bits need


class UnreadableError(MisfitError):
    """Text that is not JSON."""


def parse_record(line: bytes) -> dict[str, object]:
    """The JSON object in `line`; integers are int, other numbers Decimal, NaN and Infinity the Decimals of that name.

    Raises UnreadableError if it is not JSON, and MisfitError if it is no object or names a column twice.
    """
    try:
        parsed = _DECODER.decode(line.removeprefix(codecs.BOM_UTF8).decode())
    except MisfitError:
        raise
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not UTF-8: byte {error.start + 1} is {error.object[error.start]:#04x}") from error
    except RecursionError as error:
        raise UnreadableError(TOO_DEEP) from error
    except ValueError as error:
        raise UnreadableError(f"not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise MisfitError(f"{shown(parsed)} is no record, expected a JSON object")
    return parsed


def glance(text: str) -> object:
    """What the JSON in `text` roughly is, None if it is none: for a bad record, to tell what it is instead."""
    try:
        return PLAIN.decode(text)
    except (ValueError, RecursionError):
        return None


def json_text(value: object) -> str:
    """The JSON text of a parsed value, its numbers as exact as they came; what JSON has no type for becomes text."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json_text(name)}: {json_text(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(json_text(element) for element in value) + "]"
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MisfitError(f"{shown(twice)} is there more than once, expected each column once")
    return found


def _integer(digits: str) -> int | Decimal:
    # Python refuses an int of more than 4,300 digits, and takes the time of their square for fewer.
    return int(digits) if len(digits) <= _INT_DIGITS else Decimal(digits)


def _fraction(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation as error:
        raise MisfitError(f"{shown(digits)} is out of reach, expected an exponent of at most 18 digits") from error


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=Decimal
)

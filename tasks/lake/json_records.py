"""One JSON record, read strictly: no repeated names, no rounding of numbers, only text that is UTF-8."""

import json
from collections.abc import Mapping
from decimal import Decimal

from tasks.lake.values import MisfitError, shown


class UnreadableError(MisfitError):
    """Text that is not JSON."""


def parse_record(line: bytes) -> dict[str, object]:
    """The JSON object in `line`; integers are int, other numbers Decimal, NaN and Infinity the Decimals of that name.

    Raises UnreadableError if it is not JSON, and MisfitError if it is no object or names a column twice.
    """
    try:
        parsed = _DECODER.decode(line.decode())
    except MisfitError:
        raise
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not UTF-8: byte {error.start + 1} is {error.object[error.start]:#04x}") from error
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise UnreadableError(f"not JSON: {error or type(error).__name__}") from error
    if not isinstance(parsed, dict):
        raise MisfitError(f"{shown(parsed)} is no record, expected a JSON object")
    return parsed


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


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Decimal, parse_constant=Decimal)

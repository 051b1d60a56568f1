"""Whether one value fits its column, and what it then is; nothing is rounded, cut or guessed."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

from tasks.tables import Column, Type

_SHOWN = 60
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
INSTANT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?"
)
"""ISO 8601 as a regular expression: a day, perhaps with a time to the nanosecond, perhaps with an offset from UTC."""
_INSTANT = re.compile(INSTANT)


class MisfitError(ValueError):
    """A record that cannot be taken; the message names the column, the value and what was expected."""


def fit(column: Column, value: object, *, as_text: bool) -> object:
    """What `value` is in `column`: int, bool, str, Decimal, date or naive UTC datetime; None stays None.

    Numbers, booleans and instants may also come as text that is exactly such a value. With `as_text` a date or an
    instant is checked, but stays the text that it was. Raises MisfitError.
    """
    if value is None:
        return None
    convert, expected = _FITS[column.type]
    try:
        fitting = convert(value)
    except (ValueError, OverflowError) as error:
        raise MisfitError(f"{column.name} is {shown(value)}, expected {expected}") from error
    return value if as_text and column.type in (Type.DATE, Type.INSTANT) else fitting


def shown(value: object) -> str:
    """A value as a reader of a log wants to see it: recognisable and short."""
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def text(value: object) -> str:
    """`value`, if it is text that every place of the pipeline can store."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    if not value.isascii():
        value.encode()  # a lone surrogate is no character: UnicodeEncodeError is a ValueError
    return value


def instant(value: object) -> datetime:
    """The instant in UTC, without a zone; text without a zone is UTC."""
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError  # noqa: TRY004 - that the value does not fit is all that matters, whether by type or content
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _date(value: object) -> date:
    return value if isinstance(value, date) and not isinstance(value, datetime) else instant(value).date()


def _boolean(value: object) -> bool:
    if not isinstance(value, bool) and value not in ("true", "false"):
        raise ValueError
    return value in (True, "true")


def _integer(value: object) -> int:
    number = _number(value, _INTEGER)
    if not -(2**63) <= number < 2**63 or number != int(number):
        raise ValueError
    return int(number)


def _decimal(scale: int) -> Callable[[object], Decimal]:
    limit, unit = Decimal(10) ** (12 - scale), Decimal(1).scaleb(-scale)

    def convert(value: object) -> Decimal:
        """The number with that scale; `ValueError` if it does not fit DECIMAL(12, scale)."""
        number = Decimal(_number(value, _DECIMAL))
        # The size first: rounding a number of a million digits would take that much memory. By comparisons, which are
        # exact: abs() rounds, and overflows from 1e1000000 on.
        if not -limit < number < limit or number != (rounded := number.quantize(unit)):
            raise ValueError
        return rounded

    return convert


def _number(value: object, pattern: re.Pattern[str]) -> int | Decimal:
    if isinstance(value, str) and pattern.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        raise ValueError
    return value


_FITS: dict[Type, tuple[Callable[[object], object], str]] = {
    Type.INTEGER: (_integer, "a whole number of at most 64 bits"),
    Type.TEXT: (text, "text without NUL or broken characters"),
    Type.BOOLEAN: (_boolean, "true or false"),
    Type.DATE: (_date, "a date such as 2025-01-31"),
    Type.INSTANT: (instant, "an instant such as 2025-01-31T12:34:56Z"),
    Type.MONEY: (_decimal(2), "a number below ten billion with at most 2 decimals"),
    Type.WEIGHT: (_decimal(3), "a number below a billion with at most 3 decimals"),
}

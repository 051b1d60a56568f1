"""Windows of days and the chunks they are worked in."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

CHUNK_ROWS = 250_000
DAYS_TAKEN = 30


def midnight(day: date) -> datetime:
    """The instant (UTC) at which `day` begins."""
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True, order=True)
class Window:
    """A half-open range of UTC days `[start, end)`."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a window cannot end ({self.end}) before it starts ({self.start})")

    def __str__(self) -> str:
        return f"{self.start}--{self.end - timedelta(1)}"

    def __len__(self) -> int:
        return (self.end - self.start).days

    def __iter__(self) -> Iterator[date]:
        return (self.start + timedelta(n) for n in range(len(self)))

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end


@dataclass(frozen=True, order=True)
class Chunk:
    """Whole cursor days of one table, or one share by key of a single large day.

    A share takes the records whose key leaves the remainder `share` when divided by `shares`.
    """

    table: str
    window: Window
    share: int = 0
    shares: int = 1

    def __str__(self) -> str:
        split = f" {self.share + 1}of{self.shares}" if self.shares > 1 else ""
        return f"{self.window}{split}"


def plan_chunks(table: str, counts: Mapping[date, int], window: Window, limit: int = CHUNK_ROWS) -> tuple[Chunk, ...]:
    """Cut `window` into chunks of at most about `limit` rows, given the rows per cursor day.

    Days without a count are empty. Every day of the window is in exactly one chunk (or one set of shares), so the
    plan depends on the source alone.

    >>> days = Window(date(2025, 1, 1), date(2025, 1, 3))
    >>> [str(chunk) for chunk in plan_chunks("orders", {date(2025, 1, 1): 9}, days)]
    ['2025-01-01--2025-01-02']
    """
    return tuple(_chunks(table, counts, window, limit))


def _chunks(table: str, counts: Mapping[date, int], window: Window, limit: int) -> Iterable[Chunk]:
    start, rows = window.start, 0
    for day in window:
        count = counts.get(day, 0)
        if rows and rows + count > limit:
            yield Chunk(table, Window(start, day))
            start, rows = day, 0
        if count > limit:
            if start < day:
                yield Chunk(table, Window(start, day))
            shares = -(-count // limit)
            following = day + timedelta(1)
            yield from (Chunk(table, Window(day, following), share, shares) for share in range(shares))
            start, rows = following, 0
        else:
            rows += count
    if start < window.end:
        yield Chunk(table, Window(start, window.end))

"""Manifests: what a revision of a batch consists of. Writing one is the commit."""

from dataclasses import dataclass
from datetime import date, datetime

from tasks.lake.store import Stored
from tasks.window import Window


@dataclass(frozen=True)
class Part:
    """One Parquet file of a revision, sorted by (`_cursor`, key).

    `digest` is the sum of `_version`; `first` and `last` bound `_cursor` (None where no record has one) and
    `undated` counts the records without a cursor.
    """

    name: str
    rows: int
    digest: int
    first: datetime | None
    last: datetime | None
    undated: int


@dataclass(frozen=True)
class Manifest:
    """One committed revision of one batch of one table: source records = rows + known + quarantined.

    `columns` are the business columns of its parts with their Arrow types as text; `sources` are the landing files
    it took; `shop` identifies the simulated shop, None for a real one.
    """

    table: str
    batch: date
    revision: int
    window: Window
    rows: int
    known: int
    quarantined: int
    digest: int
    columns: dict[str, str]
    parts: tuple[Part, ...]
    sources: tuple[Stored, ...]
    shop: str | None

"""The simulated shop: eight tables as of any day, a pure function of the opening day, the seed and the scale."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from types import MappingProxyType

import pyarrow as pa

from tasks.errors import ParameterError
from tasks.shop import categories, customers, interactions, order_items, orders, products, reviews, subcategories
from tasks.shop.random import Ints
from tasks.shop.vocabulary import all_pools
from tasks.shop.world import MILLION, World
from tasks.tables import TABLES
from tasks.window import Window

SMALLEST_SCALE, LARGEST_SCALE = 1 / MILLION, 1000
"""Counts are scaled in millionths; above the largest, the cumulative counts of a few decades would leave 64 bits."""

SNAPSHOTS: Mapping[str, Callable[[World, Window, int, int], pa.Table]] = MappingProxyType(
    {
        "categories": categories.snapshot,
        "subcategories": subcategories.snapshot,
        "customers": customers.snapshot,
        "products": products.snapshot,
        "orders": orders.snapshot,
        "order_items": order_items.snapshot,
        "reviews": reviews.snapshot,
        "interactions": interactions.snapshot,
    }
)
"""What makes each table: (world, a window of days before the world's `as_of`, share, shares)."""

COUNTS: Mapping[str, Callable[[World, Window], Ints]] = MappingProxyType(
    {
        "categories": categories.counts,
        "subcategories": subcategories.counts,
        "customers": customers.counts,
        "products": products.counts,
        "orders": orders.counts,
        "order_items": order_items.counts,
        "reviews": reviews.counts,
        "interactions": interactions.counts,
    }
)
"""What estimates the records per day of each table."""


@dataclass(frozen=True)
class Shop:
    """A shop that opens on `start`. Counts are proportional to `scale`, products to its square root."""

    start: date
    seed: int = 42
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not SMALLEST_SCALE <= self.scale <= LARGEST_SCALE:
            raise ParameterError(f"scale must lie between {SMALLEST_SCALE:f} and {LARGEST_SCALE}, not {self.scale}")

    def snapshot(self, table: str, window: Window, as_of: date, share: int = 0, shares: int = 1) -> pa.Table:
        """The records whose latest change, as of the midnight that begins `as_of`, falls in `window`.

        Of products every change in the window. Rows are sorted by key (products by key and `updated_at`), their schema
        is that of `TABLES[table].shop_schema`. Of several `shares` only the keys that leave the remainder `share`.

        >>> from datetime import date
        >>> shop = Shop(date(2023, 1, 1))
        >>> shop.snapshot("orders", Window(date(2023, 3, 1), date(2023, 3, 2)), date(2023, 3, 2)).num_rows
        55
        """
        trading = self._trading(window, as_of)
        if not len(trading):
            return TABLES[table].shop_schema.empty_table()
        return SNAPSHOTS[table](_world(self.seed, self.start, self._ppm, as_of), trading, share, shares)

    def counts(self, table: str, window: Window, as_of: date) -> dict[date, int]:
        """About how many records `snapshot` gives for each day of `window`, near enough to plan chunks with."""
        trading = self._trading(window, as_of)
        if not len(trading):
            return {}
        counted = COUNTS[table](_world(self.seed, self.start, self._ppm, as_of), trading)
        return {day: count for day, count in zip(trading, counted.tolist(), strict=True) if count}

    @property
    def version(self) -> str:
        """A short digest that changes whenever the shop's pools, curves or formulas make other records."""
        return _version()

    def identity(self) -> str:
        """The parameters and the version in one line: shops with one identity make the same records."""
        return f"seed={self.seed} scale={float(self.scale)!r} start={self.start} version={self.version}"

    @property
    def _ppm(self) -> int:
        return round(self.scale * MILLION)

    def _trading(self, window: Window, as_of: date) -> Window:
        """The days of `window` on which the shop was open and that are over as of `as_of`."""
        start = max(self.start, window.start)
        return Window(start, max(start, min(window.end, as_of)))


@lru_cache(maxsize=8)
def _world(seed: int, start: date, ppm: int, as_of: date) -> World:
    return World(seed, start, ppm, as_of)


@cache
def _version() -> str:
    """Digest of the pools and of two years of a tiny shop, so that no change of a formula can be forgotten."""
    digest = hashlib.blake2b(digest_size=6)
    for pool in all_pools():
        digest.update(repr(pool.to_pylist()).encode())
    reference = Shop(date(2023, 1, 1), seed=0, scale=0.003)
    whole = Window(reference.start, reference.start + timedelta(760))
    for table in TABLES:
        digest.update(repr(reference.snapshot(table, whole, whole.end).to_pylist()).encode())
    return digest.hexdigest()

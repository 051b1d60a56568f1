"""The shop's parameters turned into who and what has arrived by an instant."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from math import isqrt

import numpy as np

from tasks.shop import random
from tasks.shop.calendar import DAY, Arrivals, accumulate, midnight_micros, seasonal_weights
from tasks.shop.random import Bits, Ints
from tasks.window import Window

MILLION = 1_000_000
SESSIONS = 142_000
CUSTOMERS_FIRST, CUSTOMERS = 600, 2_540
PRODUCTS_FIRST, PRODUCTS_A_YEAR = 600, 192
"""Rates at scale 1: per 1e9 of seasonal weight, on the opening day, per 365 days."""


@dataclass(frozen=True)
class World:
    """The shop as of the midnight that begins `as_of`. Every table is made from one of these."""

    seed: int
    start: date
    ppm: int
    as_of: date

    @property
    def opening(self) -> int:
        """The opening midnight, in microseconds since 1970."""
        return midnight_micros(self.start)

    @property
    def closing(self) -> int:
        """The midnight that begins `as_of`: nothing is dated at or after it."""
        return midnight_micros(self.as_of)

    @cached_property
    def sessions(self) -> Arrivals:
        """Sessions by their last instant; there are none on the opening day."""
        weights = self._weights.copy()
        weights[0] = 0
        return self._arrivals("session", accumulate(weights, SESSIONS, self.ppm))

    @cached_property
    def customers(self) -> Arrivals:
        """Customers by sign-up; the first ones on the opening day."""
        totals = accumulate(self._weights, CUSTOMERS, self.ppm)
        totals[1:] += max(1, CUSTOMERS_FIRST * self.ppm // MILLION)
        return self._arrivals("customer", totals)

    @cached_property
    def products(self) -> Arrivals:
        """Products by launch; their number grows with the square root of the scale."""
        root = isqrt(self.ppm * MILLION)
        totals = np.arange(self._days + 1) * PRODUCTS_A_YEAR * root // (365 * MILLION)
        totals[1:] += max(1, PRODUCTS_FIRST * root // MILLION)
        return self._arrivals("product", totals)

    def bits(self, stream: str, ids: Ints) -> Bits:
        """One hash per id in the stream of that name."""
        return random.bits(self.seed, stream, ids)

    def days(self, instants: Ints) -> Ints:
        """The day of the shop's life, from 0, on which each instant lies."""
        days: Ints = (instants - self.opening) // DAY
        return days

    def volume(self, window: Window, per_1000_sessions: int, delay: int = 0) -> Ints:
        """What each day of `window` brings of something that comes with sessions, or `delay` days after them."""
        days = np.arange(len(window) + 1) + (window.start - self.start).days - delay
        totals = self.sessions.totals[np.maximum(days, 0)] * per_1000_sessions // 1_000
        return np.diff(totals)

    def stretched(self, window: Window, days: int) -> Window:
        """`window`, begun that many days earlier, but not before the opening."""
        return Window(max(self.start, window.start - timedelta(days)), window.end)

    def sample(self) -> "World":
        """The same shop at scale 1 at most: its counts by day, scaled up, are near enough to plan with."""
        return replace(self, ppm=min(self.ppm, MILLION))

    @property
    def _days(self) -> int:
        """One more than the days before `as_of`, so that the volume of the day to come is known."""
        return (self.as_of - self.start).days + 1

    @cached_property
    def _weights(self) -> Ints:
        return seasonal_weights(self.seed, self.start, self._days)

    def _arrivals(self, name: str, totals: Ints) -> Arrivals:
        return Arrivals(self.seed, f"{name}.instant", self.start, totals)


def micros_of(window: Window) -> tuple[int, int]:
    """The instants at which `window` begins and ends, in microseconds since 1970."""
    return midnight_micros(window.start), midnight_micros(window.end)


def in_share(keys: Ints, share: int, shares: int) -> Ints:
    """Positions of the keys that leave the remainder `share`."""
    return np.flatnonzero(keys % shares == share) if shares > 1 else np.arange(len(keys))


def scaled_counts(world: World, sample: World, window: Window, updated: Ints) -> Ints:
    """Records per day of `window` in the world, from the instants of the last changes in its sample."""
    first, _ = micros_of(window)
    return np.bincount((updated - first) // DAY, minlength=len(window)) * world.ppm // sample.ppm

"""When things happen: volumes day by day, and instants within a day.

The volume of a day follows growth, month, weekday and season. Ids are handed out in the order of arrival, so that the
ids of a day are a range between two cumulative counts, and a later day never moves an earlier one.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from tasks.shop.random import Ints, below, bits
from tasks.window import Window

HOUR = 3_600_000_000
DAY = 24 * HOUR
NEVER = 1 << 62
"""An instant, in microseconds since 1970, that is later than all."""

GROWTH_DAYS = 3650
MONTHS = np.array((90, 88, 93, 95, 98, 96, 97, 98, 101, 104, 116, 122))
WEEKDAYS = np.array((100, 97, 95, 98, 104, 118, 112))
BLACK_FRIDAY = {-1: 150, 0: 270, 1: 190, 2: 170, 3: 230, 4: 130}
"""Percent of a usual day, by days after Black Friday (the day after the fourth Thursday of November)."""
DECEMBER = {**dict.fromkeys(range(8, 15), 130), **dict.fromkeys(range(15, 22), 150), 24: 60, 25: 45}
"""Percent of a usual day, by day of December."""

HOURS = np.array((14, 9, 6, 5, 5, 8, 16, 28, 42, 51, 56, 58, 60, 56, 52, 50, 50, 54, 62, 74, 84, 76, 54, 30))
HOUR_OF_WEIGHT = np.repeat(np.arange(24), HOURS)
HOUR_STARTS = np.cumsum(HOURS) - HOURS
TICKS = 1_000_000
"""The ticks of one unit of an hour's weight. Those of a whole day are just under 2**30."""
LEAD = 24 * HOUR // 60
"""The curve's first hour begins at 00:24 and each lasts 59 minutes, so that what leads up to an instant, by less than
24 minutes, lies on the same day."""
SHORT_HOUR_SECONDS = 59 * 60


def midnight_micros(day: date) -> int:
    """The instant at which `day` begins, in microseconds since 1970 (UTC)."""
    return int(np.datetime64(day, "us").view(np.int64))


def seasonal_weights(seed: int, start: date, days: int) -> Ints:
    """How busy each of `days` days from `start` is: about a million on a usual opening day."""
    numbers = np.arange(days)
    dates = np.datetime64(start, "D") + numbers
    years, months = dates.astype("datetime64[Y]"), dates.astype("datetime64[M]")
    november = (years.astype("datetime64[M]") + 10).astype("datetime64[D]")
    friday = november + (3 - _weekday(november)) % 7 + 22
    month, day_of_month = months.view(np.int64) % 12, (dates - months).view(np.int64) + 1
    percent = np.full(days, 100)
    for offset, value in BLACK_FRIDAY.items():
        percent[(dates - friday).view(np.int64) == offset] = value
    for day, value in DECEMBER.items():
        percent[(month == 11) & (day_of_month == day)] = value
    growth = 600 + np.minimum(numbers, GROWTH_DAYS)
    noise = 94 + below(bits(seed, "calendar.noise", numbers), 13)
    weights: Ints = growth * MONTHS[month] * WEEKDAYS[_weekday(dates)] // 100 * percent // 100 * noise // 6
    return weights


def _weekday(dates: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> Ints:
    """Monday is 0; 1970-01-01 was a Thursday."""
    return (dates.view(np.int64) + 3) % 7


def accumulate(weights: Ints, rate: int, ppm: int) -> Ints:
    """Ids that arrive before each day and up to the end of the last: `rate` per 1e9 of weight, times `ppm` millionths.

    Exact: floor(sums * rate * ppm / 1e15) in two steps, neither of which leaves 64 bits for a scale up to 1000.
    """
    sums = np.concatenate(([0], np.cumsum(weights)))
    whole, rest = np.divmod(sums * rate, 10**9)
    totals: Ints = (whole * ppm + rest * ppm // 10**9) // 10**6
    return totals


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Ids 1, 2, 3... in the order in which they arrive. `totals[d]` counts those before day `d` of the shop's life."""

    seed: int
    stream: str
    start: date
    totals: Ints

    def ids(self, window: Window) -> Ints:
        """The ids that arrive in `window`, ascending."""
        first, last = ((day - self.start).days for day in (window.start, window.end))
        return np.arange(self.totals[max(first, 0)] + 1, self.totals[max(last, 0)] + 1)

    def days(self, ids: Ints) -> Ints:
        """The day of the shop's life, from 0, on which each id arrives."""
        return np.searchsorted(self.totals, ids) - 1

    def instants(self, ids: Ints, days: Ints) -> Ints:
        """Microseconds since 1970 at which each id arrives, given its day; strictly increasing with the id."""
        before = self.totals[days]
        count = self.totals[days + 1] - before
        ticks = len(HOUR_OF_WEIGHT) * TICKS
        tick = (ids - before - 1) * ticks // count + below(bits(self.seed, self.stream, ids), ticks // count)
        hour = HOUR_OF_WEIGHT[tick // TICKS]
        within = (tick - HOUR_STARTS[hour] * TICKS) * SHORT_HOUR_SECONDS // HOURS[hour]
        since_midnight: Ints = LEAD + hour * (SHORT_HOUR_SECONDS * 1_000_000) + within
        return midnight_micros(self.start) + days * DAY + since_midnight

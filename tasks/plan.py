"""What a run will do: which days of which tables, for which shop. Decided before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from tasks.errors import ParameterError
from tasks.lake import meta
from tasks.lake.manifests import newest_batch_before, revisions
from tasks.lake.meta import LakeInfo
from tasks.lake.store import Lake
from tasks.shop.shop import Shop
from tasks.tables import TABLES
from tasks.window import DAYS_TAKEN, Chunk, Window, plan_chunks

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Occasion:
    """What every run is told: its id, when it started (UTC), its stack, whether the shop writes first, how strict."""

    id: str
    started: datetime
    stack: str
    generate: bool
    max_bad: float


@dataclass(frozen=True)
class Run:
    """One run of one `day`: the window of days of each table that takes part, and the shop that writes them first.

    `shop` is None where a real shop has written already; `identity` names the simulated shop of the lake, if it is
    one; `max_bad` is the tolerated share of bad records; `backfill` marks a historical load, whose feeds may have
    landed on any day.
    """

    id: str
    started: datetime
    stack: str
    day: date
    windows: Mapping[str, Window]
    shop: Shop | None
    identity: str | None
    max_bad: float
    backfill: bool = False

    @property
    def as_of(self) -> date:
        """The date whose first instant ends `day`."""
        return self.day + ONE_DAY

    def chunks(self, table: str) -> Sequence[Chunk]:
        """The chunks in which the simulated shop writes `table`; none for a real shop."""
        if self.shop is None:
            return ()
        window = self.windows[table]
        return plan_chunks(table, self.shop.counts(table, window, self.as_of), window)


def check_history_days(occasion: Occasion, start: date, through: date) -> None:
    """Raise `ParameterError` if `through` is before the opening day, or has not begun."""
    if through < start:
        raise ParameterError(f"through ({through}) is before start ({start}).")
    check_begun(occasion, "through", through)


def check_begun(occasion: Occasion, parameter: str, day: date) -> None:
    """Raise `ParameterError` if a parameter's day is after that on which the run started, in UTC."""
    today = occasion.started.date()
    if day > today:
        raise ParameterError(
            f"{parameter} {day} has not begun: the last day that can be taken is today, {today} (UTC)."
        )


def plan_history(lake: Lake, occasion: Occasion, shop: Shop, through: date) -> Run:
    """The historical load of everything up to `through`, for the tables that have not committed it yet.

    A table without any batch starts with the opening day, one with batches continues like an increment. Raises
    `ParameterError` if the lake holds another shop.
    """
    mine = _of_shop(shop, through) if occasion.generate else LakeInfo(shop.start, through)
    info = meta.begin(lake, mine)
    if replace(mine, through=info.through) != info and occasion.generate:
        raise ParameterError(
            f"Stack {occasion.stack!r} holds {info.identity}, not {mine.identity}: "
            "ask for the same, take another stack, or replace it with reset=True."
        )
    tables = [] if through < info.through else [name for name in TABLES if (through, 1) not in revisions(lake, name)]
    info = meta.extend(lake, info, through)
    return _run(lake, occasion, info, through, tables, backfill=True)


def plan_increment(lake: Lake, occasion: Occasion, day: date) -> Run:
    """The increment of one day: the 30 days that end with it, and the days before them that no run has taken yet.

    Raises `ParameterError` if the lake has no historical load, `day` is part of it, or its shop cannot be continued.
    """
    info = meta.read(lake)
    if info is None:
        raise ParameterError(
            f"Stack {occasion.stack!r} holds no history yet: run historical_load before daily_increment."
        )
    if day <= info.through:
        raise ParameterError(f"day {day} is part of the historical load, which goes through {info.through}.")
    return _run(lake, occasion, info, day, list(TABLES))


def _run(
    lake: Lake, occasion: Occasion, info: LakeInfo, day: date, tables: Sequence[str], backfill: bool = False
) -> Run:
    windows = {table: _window(lake, table, day, info.start) for table in tables}
    shop = _continued(info, occasion.stack) if occasion.generate else None
    identity = info.identity if info.simulated else None
    return Run(
        occasion.id, occasion.started, occasion.stack, day, windows, shop, identity, occasion.max_bad, backfill=backfill
    )


def _of_shop(shop: Shop, through: date) -> LakeInfo:
    return LakeInfo(shop.start, through, shop.seed, shop.scale, shop.version)


def _window(lake: Lake, table: str, day: date, opening: date) -> Window:
    newest = newest_batch_before(lake, table, day)
    untaken = opening if newest is None else newest + ONE_DAY
    return Window(min(day - (DAYS_TAKEN - 1) * ONE_DAY, untaken), day + ONE_DAY)


def _continued(info: LakeInfo, stack: str) -> Shop:
    """The shop whose history the lake holds, refused if today's code would continue it differently."""
    if info.seed is None or info.scale is None:
        raise ParameterError(
            f"Stack {stack!r} holds a real shop's data, which the simulation must not extend: use generate=False."
        )
    shop = Shop(start=info.start, seed=info.seed, scale=info.scale)
    if shop.version != info.version:
        raise ParameterError(
            f"Stack {stack!r} holds a shop of version {info.version}, this code makes version {shop.version}: "
            "load its history again with reset=True, or run the release that wrote it."
        )
    return shop

"""What a stack holds, per table and day, and what is missing between landing and marts."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from tasks.balance import audit
from tasks.lake import commits, meta, paths
from tasks.lake.manifests import committed, revisions
from tasks.lake.store import Lake
from tasks.tables import TABLES, Home
from tasks.warehouse.protocol import Warehouse
from tasks.warehouse.sql import of_table
from tasks.window import Window


@dataclass(frozen=True)
class DayStatus:
    """One table on one day: files landed (None for a table without feeds), and revisions in each place.

    `taken_with` is the batch whose window holds the day: its own, or that of a later day which caught it up; None
    while no run has taken the day. `of_history` marks the last day of the historical load. `lost` are revisions that
    are not loaded and would not be: their rows in the ledger were deleted, long after they were loaded.
    """

    table: str
    day: date
    landed: int | None
    committed: int
    loaded: int
    built: int
    taken_with: date | None
    of_history: bool = False
    lost: int = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """What is still to do, one phrase each."""
        found = []
        if self.taken_with is None:
            run = "historical_load again" if self.of_history else "daily_increment for this day or a later one"
            found.append(f"no batch is committed: run {run}")
        if self.loaded + self.lost < self.committed:
            waiting = self.committed - self.loaded - self.lost
            found.append(f"{_number(waiting)} not loaded: the next run loads what is missing")
        if self.lost:
            found.append(
                f"{_number(self.lost)} not loaded, and no run looks for it: delete all rows of the table in raw and in "
                "raw._batches, then run daily_increment"
            )
        if self.built < self.loaded:
            found.append(f"{_number(self.loaded - self.built)} not built: run transform")
        return tuple(found)


class Layers(NamedTuple):
    """Rows of one table: versions in the history and in raw, current records in staging."""

    table: str
    history: int
    raw: int
    staging: int


def status(lake: Lake, warehouse: Warehouse, days: int) -> list[DayStatus]:
    """The newest `days` days that any table has, by day; empty for a stack without a history.

    Creates what is missing of raw: a warehouse that lost it, or that no run has reached yet, then has nothing loaded.
    """
    info = meta.read(lake)
    if info is None:
        return []
    there = {table: revisions(lake, table) for table in TABLES}
    batches = {table: _per_day(there[table]) for table in TABLES}
    newest = max([info.through, *(day for counts in batches.values() for day in counts)])
    shown = Window(max(info.through, newest - timedelta(days=days - 1)), newest + timedelta(days=1))
    warehouse.prepare(TABLES.values())
    unbuilt = warehouse.unbuilt(date.max)
    lines = []
    for table in TABLES:
        taken = _taken(lake, table, shown, batches[table])
        ledger = warehouse.ledger(table)
        loaded = _per_day(ledger)
        to_load = commits.unloaded(lake, table, ledger, datetime.now(UTC))
        lost = _per_day(set(there[table]).difference(ledger, to_load))
        waiting = _per_day((r.batch, r.revision) for r in unbuilt if r.table == table)
        lines += [
            DayStatus(
                table,
                day,
                _landed(lake, table, day),
                committed=batches[table][day],
                loaded=loaded[day],
                built=loaded[day] - waiting[day],
                taken_with=taken.get(day),
                of_history=day == info.through,
                lost=lost[day],
            )
            for day in shown
        ]
    return sorted(lines, key=lambda line: line.day)


def gaps(lines: Iterable[DayStatus]) -> list[str]:
    """What is missing, one sentence for all the tables and days that lack the same."""
    tables = defaultdict[tuple[date, str], list[str]](list)
    for line in lines:
        for phrase in line.missing:
            tables[line.day, phrase].append(line.table)
    days = defaultdict[tuple[str, str], list[str]](list)
    for (day, phrase), lacking in tables.items():
        names = "all tables" if len(lacking) == len(TABLES) else ", ".join(lacking)
        days[names, phrase].append(str(day))
    return [f"{names} {', '.join(found)}: {phrase}" for (names, phrase), found in days.items()]


def audit_stack(lake: Lake, warehouse: Warehouse) -> list[str]:
    """What differs between the whole history and raw, one sentence each; creates what is missing of raw."""
    warehouse.prepare(TABLES.values())
    return [f"{table}: {problem}" for table in TABLES for problem in audit(lake, warehouse, table)]


def layers(lake: Lake, warehouse: Warehouse) -> list[Layers]:
    """The rows of every table in each layer of a stack that was built, counted in the warehouse itself."""
    return [
        Layers(
            table,
            history=sum(manifest.rows for manifest in committed(lake, table)),
            raw=sum(rows for rows, _ in warehouse.totals(table, None).values()),
            staging=int(warehouse.query(of_table("select count(*) from staging.stg_{table}", table))[0][0]),
        )
        for table in TABLES
    ]


def _taken(lake: Lake, table: str, days: Window, batches: Collection[date]) -> dict[date, date]:
    """The batch with which each day was taken: its own, or else the first that caught it up."""
    taken = {day: day for day in days if day in batches}
    without = [day for day in days if day not in batches]
    if without:
        for manifest in reversed(committed(lake, table, since=without[0])):
            taken |= {day: manifest.batch for day in without if day in manifest.window}
    return taken


def _per_day(found: Iterable[tuple[date, int]]) -> Counter[date]:
    return Counter(day for day, _ in found)


def _number(revisions_: int) -> str:
    return "1 revision is" if revisions_ == 1 else f"{revisions_} revisions are"


def _landed(lake: Lake, table: str, day: date) -> int | None:
    return len(lake.files(paths.landing(table, day), recursive=True)) if TABLES[table].home is Home.JSON else None

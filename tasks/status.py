"""What a stack holds, per table and day, and what is missing between landing and marts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from tasks.balance import audit
from tasks.lake import meta, paths
from tasks.lake.manifests import revisions
from tasks.lake.store import Lake
from tasks.tables import TABLES, Home
from tasks.warehouse.protocol import Warehouse

_FAR = date.max


@dataclass(frozen=True)
class DayStatus:
    """One table on one day: files landed (None for a table without feeds), and revisions in each place."""

    table: str
    day: date
    landed: int | None
    committed: int
    loaded: int
    built: int

    @property
    def missing(self) -> tuple[str, ...]:
        """What is still to do, one phrase each."""
        found = []
        if not self.committed:
            found.append("no batch is committed: run daily_increment for this day or a later one")
        if self.loaded < self.committed:
            found.append(f"{self.committed - self.loaded} revisions are not loaded: the next run loads them")
        if self.built < self.loaded:
            found.append(f"{self.loaded - self.built} revisions are not built: run transform")
        return tuple(found)


def status(lake: Lake, warehouse: Warehouse, days: int) -> list[DayStatus]:
    """The newest `days` days that any table has, newest first; empty for a stack without a history."""
    committed = {table: _count(revisions(lake, table)) for table in TABLES}
    batches = [batch for counts in committed.values() for batch in counts]
    info = meta.read(lake)
    if info is None or not batches:
        return []
    newest, first = max(batches), max(info.through, max(batches) - timedelta(days=days - 1))
    unbuilt = warehouse.unbuilt(_FAR)
    lines = []
    for table in TABLES:
        loaded = _count(list(warehouse.ledger(table)))
        waiting = _count([(r.batch, r.revision) for r in unbuilt if r.table == table])
        for n in range((newest - first).days + 1):
            day = newest - timedelta(days=n)
            lines.append(
                DayStatus(
                    table,
                    day,
                    _landed(lake, table, day),
                    committed[table].get(day, 0),
                    loaded.get(day, 0),
                    loaded.get(day, 0) - waiting.get(day, 0),
                )
            )
    return sorted(lines, key=lambda line: line.day, reverse=True)


def audit_stack(lake: Lake, warehouse: Warehouse) -> list[str]:
    """What differs between the whole history and raw, one sentence each."""
    return [f"{table}: {problem}" for table in TABLES for problem in audit(lake, warehouse, table)]


def _count(found: list[tuple[date, int]]) -> Mapping[date, int]:
    counts: dict[date, int] = {}
    for day, _ in found:
        counts[day] = counts.get(day, 0) + 1
    return counts


def _landed(lake: Lake, table: str, day: date) -> int | None:
    return len(lake.files(paths.landing(table, day), recursive=True)) if TABLES[table].home is Home.JSON else None

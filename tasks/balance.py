"""The balance sheet of a run: every record accounted for, in every place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

from tasks.errors import HistoryError
from tasks.lake import parts
from tasks.lake.history import Appended
from tasks.lake.manifests import Manifest, committed, read_manifest, revisions
from tasks.lake.store import Lake
from tasks.warehouse.protocol import Warehouse
from tasks.window import DAYS_TAKEN

_WEEKS_COMPARED = 4
_SMALLEST_ALARM = 20  # rows: below that, a shop of a few orders a day would alarm by chance every week


@dataclass(frozen=True)
class Balance:
    """One table of a run. source = appended + known + quarantined, and history = raw for the run's batch.

    `batch_rows` counts the batch over all of its revisions, as its manifests say; `raw_rows` as the warehouse counts.
    """

    table: str
    source: int
    appended: int
    known: int
    quarantined: int
    batch_rows: int
    raw_rows: int
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class IngestReport:
    """What a run did: its stack and day, and the balance of each table that took part.

    `newest_cut` is the as_of that can be built then: the end of the newest day that all tables have loaded, if any.
    """

    stack: str
    day: date
    tables: tuple[Balance, ...]
    newest_cut: date | None

    @property
    def appended(self) -> int:
        """Rows that the run added to the history, over all tables."""
        return sum(balance.appended for balance in self.tables)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at although nothing failed, one sentence each."""
        return tuple(f"{b.table}: {warning}" for b in self.tables for warning in b.warnings)


def balance(lake: Lake, warehouse: Warehouse, appended: Appended) -> Balance:
    """Hold what a run appended to one table against its manifests, its parts and the warehouse."""
    mine = [m for m in committed(lake, appended.table, since=appended.batch) if m.batch == appended.batch]
    raw = warehouse.totals(appended.table, [appended.batch])
    problems = [problem for manifest in mine for problem in _differences(lake, manifest, raw)]
    accounted = appended.appended + appended.known + appended.quarantined
    if accounted != appended.read:
        problems.append(f"{appended.read:,} source records, but {accounted:,} are accounted for")
    warning = _unusual_volume(lake, appended, sum(m.rows for m in mine))
    return Balance(
        appended.table,
        appended.read,
        appended.appended,
        appended.known,
        appended.quarantined,
        batch_rows=sum(manifest.rows for manifest in mine),
        raw_rows=sum(rows for rows, _ in raw.values()),
        problems=tuple(problems),
        warnings=(*appended.warnings, *warning),
    )


def audit(lake: Lake, warehouse: Warehouse, table: str) -> list[str]:
    """Hold the whole history of `table` against its parts and the warehouse; what differs, one sentence each."""
    raw = warehouse.totals(table, None)
    manifests = [read_manifest(lake, table, batch, revision) for batch, revision in revisions(lake, table)]
    surplus = sorted(set(raw) - {(manifest.batch, manifest.revision) for manifest in manifests})
    problems = [problem for manifest in manifests for problem in _differences(lake, manifest, raw)]
    return problems + [f"raw has batch {batch} revision {revision}, the history has not" for batch, revision in surplus]


def _differences(lake: Lake, manifest: Manifest, raw: Mapping[tuple[date, int], tuple[int, int]]) -> list[str]:
    name = f"batch {manifest.batch} revision {manifest.revision}"
    expected = (manifest.rows, manifest.digest)
    try:
        counted = parts.totals(lake, manifest)
    except HistoryError as error:
        return [f"{name}: {error}"]
    found = {
        "the lake": counted,
        "raw": raw.get((manifest.batch, manifest.revision), (0, 0)),
    }
    return [
        f"{name} has {expected[0]:,} rows (digest {expected[1]}), {place} has {rows:,} ({digest})"
        for place, (rows, digest) in found.items()
        if (rows, digest) != expected
    ]


def _unusual_volume(lake: Lake, appended: Appended, rows: int) -> list[str]:
    days = [appended.batch - timedelta(weeks=weeks) for weeks in range(1, _WEEKS_COMPARED + 1)]
    earlier = [m for m in committed(lake, appended.table, since=days[-1]) if m.batch in days and _is_daily(m)]
    if not earlier:
        return []
    usual = median(_rows_per_day(earlier))
    if abs(rows - usual) <= max(usual / 2, _SMALLEST_ALARM):
        return []
    return [f"{rows:,} new rows, but {usual:,.0f} are usual on a {appended.batch:%A}"]


def _is_daily(manifest: Manifest) -> bool:
    return len(manifest.window) == DAYS_TAKEN


def _rows_per_day(manifests: Sequence[Manifest]) -> list[int]:
    days = {manifest.batch for manifest in manifests}
    return [sum(manifest.rows for manifest in manifests if manifest.batch == day) for day in days]

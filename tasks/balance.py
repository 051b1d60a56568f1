"""The balance sheet of a run: every record accounted for, in every place."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

from tasks.errors import HistoryError
from tasks.lake import parts
from tasks.lake.history import Appended
from tasks.lake.manifests import Manifest, committed, read_manifest, revisions
from tasks.lake.store import Lake
from tasks.warehouse.protocol import Warehouse

_DAY = timedelta(days=1)
_WEEKS_COMPARED = 4
_CHANCE = 9  # three standard deviations, squared: the shop at scales 0.1 to 1 alarms twice in 4 years of days


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
    newest_cut: date | None = None

    @property
    def appended(self) -> int:
        """Rows that the run added to the history, over all tables."""
        return sum(balance.appended for balance in self.tables)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at although nothing failed, one sentence each."""
        return tuple(f"{b.table}: {warning}" for b in self.tables for warning in b.warnings)


def summed(reports: Iterable[IngestReport]) -> tuple[Balance, ...]:
    """What runs of different days did together: one balance per table that took part in any."""
    by_table: dict[str, Balance] = {}
    for line in (line for report in reports for line in report.tables):
        before = by_table.get(line.table, Balance(line.table, 0, 0, 0, 0, 0, 0))
        by_table[line.table] = Balance(
            line.table,
            before.source + line.source,
            before.appended + line.appended,
            before.known + line.known,
            before.quarantined + line.quarantined,
            before.batch_rows + line.batch_rows,
            before.raw_rows + line.raw_rows,
            (*before.problems, *line.problems),
            (*before.warnings, *line.warnings),
        )
    return tuple(by_table.values())


def balance(lake: Lake, warehouse: Warehouse, appended: Appended) -> Balance:
    """Hold what a run appended to one table against its manifests, its parts and the warehouse."""
    mine = [m for m in committed(lake, appended.table, since=appended.batch) if m.batch == appended.batch]
    raw = warehouse.totals(appended.table, [appended.batch])
    problems = [problem for manifest in mine for problem in _differences(lake, manifest, raw)]
    accounted = appended.appended + appended.known + appended.quarantined
    if accounted != appended.read:
        problems.append(f"{appended.read:,} source records, but {accounted:,} are accounted for")
    batch_rows = sum(manifest.rows for manifest in mine)
    warning = _unusual_volume(lake, appended.table, appended.batch, batch_rows)
    return Balance(
        appended.table,
        appended.read,
        appended.appended,
        appended.known,
        appended.quarantined,
        batch_rows=batch_rows,
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


def _unusual_volume(lake: Lake, table: str, day: date, rows: int) -> list[str]:
    """Hold a batch against the days that were taken alone on its weekday; nothing to say of a day that comes late.

    A batch that catches up holds no fewer rows than one day, and no more than its days add up to: records that change
    daily are in it once (30 days of customers at scale 1 have 1,948, thirty times a day of 262).
    """
    weeks = [day - timedelta(weeks=n) for n in range(1, _WEEKS_COMPARED + 1)]
    found = revisions(lake, table, since=weeks[-1] - _DAY)
    batches = {batch for batch, _ in found}
    alone = [week for week in weeks if {week, week - _DAY} <= batches]
    if not alone or max(batches) > day:
        return []
    usual = round(median(sum(read_manifest(lake, table, *r).rows for r in found if r[0] == week) for week in alone))
    days = (day - max(batch for batch in batches if batch < day)).days
    if not _is_far(rows, min(max(rows, usual), days * usual)):
        return []
    taken = f" of {days} days" if days > 1 else ""
    return [f"{rows:,} new rows{taken}, but {usual:,} are usual on a {day:%A}"]


def _is_far(rows: int, usual: int) -> bool:
    """Whether a count is off by more than half, and by more than chance has two counts of that size differ."""
    off = abs(rows - usual)
    return 2 * off > usual and off * off > _CHANCE * (rows + usual)

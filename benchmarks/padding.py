"""Makes a stack's history longer than it is: the same records again, as other records of the time before it.

Each copy of the historical load is moved back by whole days and given keys, parents and sessions of its own, then
committed as the batches that the runs of that time would have committed, and loaded into raw. So the padded stack has
the lake, the ledger and the warehouse file of an old shop, whose marts reconcile, while the days to come see the same
shop as before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise

import pyarrow as pa

from blocks.stack import Stack
from tasks.errors import HistoryError
from tasks.lake import commits, meta, parts, paths
from tasks.lake.arrow import Values
from tasks.lake.arrow import compute as pc
from tasks.lake.checks import CURSOR, VERSION, check_columns
from tasks.lake.manifests import Manifest, commit, committed
from tasks.lake.parts import Span
from tasks.lake.store import Lake
from tasks.tables import TABLES, Table, Type
from tasks.window import DAYS_TAKEN, Window, midnight

_EVER = Span(datetime(1, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001 - cursors have no zone
_TEXT = "%Y-%m-%dT%H:%M:%SZ"  # of an instant in microseconds, %S has the six decimals that the feeds have
_DATE = "%Y-%m-%d"


def pad(stack: Stack, copies: int, batches: int, loaded_at: datetime) -> int:
    """Put that many copies of the historical load, in so many batches each, before it; the rows added."""
    lake, rows = stack.open_lake(), 0
    loaded = _loaded_days(lake)
    spare = {table.name: _keys(lake, table) for table in TABLES.values()}
    with stack.open_warehouse() as warehouse:
        warehouse.query("reset max_vacuum_tasks")  # each build of that time has merged what a load keeps apart
        for table in TABLES.values():
            for manifest in _committed(lake, table, loaded, spare, copies, batches):
                warehouse.load(lake, table, manifest, "padding", loaded_at)
                rows += manifest.rows
    return rows


def size(lake: Lake) -> int:
    """Bytes of the history's parts."""
    return sum(stored.size for stored in lake.files("history", recursive=True) if stored.path.endswith(".parquet"))


def _loaded_days(lake: Lake) -> Window:
    info = meta.read(lake)
    if info is None:
        raise HistoryError(f"{lake.address} holds no history to copy: run historical_load first.")
    return Window(info.start, info.through + timedelta(1))


def _keys(lake: Lake, table: Table) -> int:
    """How far the keys of one copy lie from those of the next: twice their range, so that days to come have room."""
    (original,) = committed(lake, table.name)
    return 2 * int(pc.max(_records(lake, original)[table.key]).as_py())


def _committed(
    lake: Lake, table: Table, loaded: Window, spare: Mapping[str, int], copies: int, batches: int
) -> Iterator[Manifest]:
    (original,) = committed(lake, table.name)
    records = _records(lake, original)
    for copy in range(1, copies + 1):
        back = copy * len(loaded)
        keys = {name: copy * between for name, between in spare.items()}
        moved = _moved(table, records, keys=keys, back=timedelta(back), until=loaded.start)
        for days in _shares(loaded, back, batches):
            yield _commit(lake, original, moved, days)


def _records(lake: Lake, manifest: Manifest) -> pa.Table:
    """The business columns of a revision."""
    folder = paths.history(manifest.table, manifest.batch)
    found = [block for part in manifest.parts for block in parts.read(lake, f"{folder}/{part.name}", _EVER)]
    return pa.concat_tables(found).drop_columns([CURSOR, VERSION])


def _moved(table: Table, records: pa.Table, *, keys: Mapping[str, int], back: timedelta, until: date) -> pa.Table:
    """Other records, that long ago: with cursor and version as they would have been extracted, sorted for parts."""
    tables = {table.key: table.name, **table.parents}
    for column in table.columns:
        at, values = records.column_names.index(column.name), records[column.name]
        if column.name in tables:
            values = pc.add(values, keys[tables[column.name]])
        elif column.name == "session_id":
            values = pc.binary_join_element_wise(values, str(back.days), "-")
        elif column.type in (Type.INSTANT, Type.DATE):
            values = _earlier(values, back, _TEXT if column.type is Type.INSTANT else _DATE)
        records = records.set_column(at, column.name, values)
    checked = check_columns(table, records, until)
    if checked is None or checked.bad:
        raise HistoryError(f"the copy of {table.name} made {back.days} days ago is not what a source would deliver")
    return checked.records.select([*records.column_names, CURSOR, VERSION]).sort_by(
        [(CURSOR, "ascending"), (table.key, "ascending")]
    )


def _earlier(instants: Values, back: timedelta, form: str) -> Values:
    """The same instants that long ago, as text of that form if they were text."""
    ago = pa.scalar(back, pa.duration("us"))
    if not pa.types.is_string(instants.type):
        return pc.subtract(instants, ago)
    return pc.strftime(pc.subtract(instants.cast(pa.timestamp("us", "UTC" if form == _TEXT else None)), ago), form)


def _shares(loaded: Window, back: int, batches: int) -> Iterator[Window]:
    """The days of one copy, shared out among its batches."""
    opening, days = loaded.start - timedelta(back), len(loaded)
    bounds = [opening + timedelta(days * n // batches) for n in range(batches + 1)]
    return (Window(start, end) for start, end in pairwise(bounds))


def _commit(lake: Lake, original: Manifest, records: pa.Table, days: Window) -> Manifest:
    """Commit the records of those days as the batch of the last of them; a day without records has a batch too."""
    first, end = (pa.scalar(midnight(day).replace(tzinfo=None), pa.timestamp("us")) for day in (days.start, days.end))
    mine = records.filter(pc.and_(pc.greater_equal(records[CURSOR], first), pc.less(records[CURSOR], end)))
    batch = days.end - timedelta(1)
    folder = paths.history(original.table, batch)
    written = [parts.write(lake, folder, 0, mine)] if mine.num_rows else []
    manifest = replace(
        original,
        batch=batch,
        window=Window(days.end - timedelta(DAYS_TAKEN), days.end),
        rows=mine.num_rows,
        known=0,
        quarantined=0,
        digest=sum(part.digest for part in written),
        parts=tuple(written),
        sources=(),
    )
    commits.write(lake, manifest, (), midnight(days.end))
    if not commit(lake, manifest):
        raise HistoryError(f"{folder} is there already: pad a history only once.")
    return manifest

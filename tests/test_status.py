"""What `python -m flows.status` finds: which days are taken, what is loaded and built, and what is missing."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tasks.lake import commits, meta
from tasks.lake.manifests import Manifest, commit
from tasks.lake.meta import LakeInfo
from tasks.lake.store import Lake, LocalLake
from tasks.status import DayStatus, audit_stack, gaps, status
from tasks.tables import TABLES
from tasks.warehouse.duckdb import DuckDBWarehouse
from tasks.warehouse.protocol import Revision
from tasks.window import Window

ONE_DAY = timedelta(days=1)
THROUGH = date(2024, 12, 31)
FIRST, LAST = date(2025, 1, 1), date(2025, 1, 5)
AT = datetime(2025, 1, 6, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with a historical load of every table."""
    made = LocalLake(tmp_path / "lake")
    meta.begin(made, LakeInfo(date(2024, 12, 1), THROUGH))
    for table in TABLES:
        batch(made, table, THROUGH, days=31)
    return made


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DuckDBWarehouse]:
    """A warehouse in which no run has made anything yet."""
    with DuckDBWarehouse(tmp_path / "warehouse.duckdb") as opened:
        yield opened


def batch(lake: Lake, table: str, day: date, days: int = 30, revision: int = 1) -> Manifest:
    """Commit a revision without rows, taken from a window of that many days."""
    window = Window(day - (days - 1) * ONE_DAY, day + ONE_DAY)
    manifest = Manifest(table, day, revision, window, 0, 0, 0, 0, {}, (), (), None)
    assert commit(lake, manifest)
    return manifest


def load(lake: Lake, warehouse: DuckDBWarehouse, manifest: Manifest) -> None:
    warehouse.prepare(TABLES.values())
    assert warehouse.load(lake, TABLES[manifest.table], manifest, "run", AT)


def of_table(found: list[DayStatus], table: str) -> Mapping[date, DayStatus]:
    return {line.day: line for line in found if line.table == table}


def test_a_day_that_a_later_batch_caught_up_is_not_missing(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    batch(lake, "orders", LAST)
    batch(lake, "orders", LAST + ONE_DAY)
    batch(lake, "reviews", LAST, days=3)  # not further back than the 3rd
    found = status(lake, warehouse, days=14)

    orders = of_table(found, "orders")
    assert [day for day, line in orders.items() if line.committed] == [THROUGH, LAST, LAST + ONE_DAY]
    assert [line.taken_with for line in orders.values()] == [THROUGH, *[LAST] * 5, LAST + ONE_DAY]
    assert not any("no batch" in phrase for line in orders.values() for phrase in line.missing)

    lacking = {day: line.missing for day, line in of_table(found, "reviews").items() if line.taken_with is None}
    assert list(lacking) == [FIRST, FIRST + ONE_DAY, LAST + ONE_DAY]
    assert set(lacking.values()) == {("no batch is committed: run daily_increment for this day or a later one",)}


def test_the_newest_days_are_shown_by_day(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    batch(lake, "orders", LAST)
    assert [(line.day, line.table) for line in status(lake, warehouse, days=2)] == [
        (day, table) for day in (LAST - ONE_DAY, LAST) for table in TABLES
    ]


def test_a_warehouse_without_raw_has_nothing_loaded(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    (history,) = of_table(status(lake, warehouse, days=1), "orders").values()
    assert (history.committed, history.loaded, history.built) == (1, 0, 0)
    load(lake, warehouse, batch(lake, "orders", FIRST))
    assert of_table(status(lake, warehouse, days=1), "orders")[FIRST].loaded == 1

    warehouse.query("drop schema raw cascade")
    assert of_table(status(lake, warehouse, days=1), "orders")[FIRST].loaded == 0
    warehouse.query("drop schema raw cascade")
    assert audit_stack(lake, warehouse) == []  # these batches have no rows that could be missing


def test_what_is_missing_is_said_once_for_all_that_lack_it(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    for table in TABLES:
        load(lake, warehouse, batch(lake, table, FIRST))
        load(lake, warehouse, batch(lake, table, FIRST, revision=2))
        load(lake, warehouse, batch(lake, table, FIRST + ONE_DAY))
    warehouse.mark_built([Revision(table, FIRST + ONE_DAY, 1) for table in TABLES], AT.date(), "run", AT)
    batch(lake, "orders", FIRST + ONE_DAY, revision=2)
    batch(lake, "reviews", FIRST + ONE_DAY, revision=2)
    assert gaps(line for line in status(lake, warehouse, days=14) if line.day > THROUGH) == [
        "all tables 2025-01-01: 2 revisions are not built: run transform",
        "orders, reviews 2025-01-02: 1 revision is not loaded: the next run loads what is missing",
    ]


def test_what_no_run_would_load_is_told_apart(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    now = datetime.now(UTC)
    for day, noted in ((FIRST, now - timedelta(days=60)), (LAST, now)):
        manifest = batch(lake, "orders", day)
        commits.write(lake, manifest, (), noted)
        load(lake, warehouse, manifest)
    commits.write(lake, batch(lake, "orders", LAST, revision=2), (), now)
    warehouse.query("delete from raw._batches where batch = ?", [FIRST])
    found = of_table(status(lake, warehouse, days=14), "orders")
    assert found[LAST].missing[0] == "1 revision is not loaded: the next run loads what is missing"
    (phrase,) = found[FIRST].missing
    assert phrase.startswith("1 revision is not loaded, and no run looks for it: delete all rows of the table in raw")


def test_a_history_that_was_cut_short_is_to_be_loaded_again(tmp_path: Path, warehouse: DuckDBWarehouse) -> None:
    lake = LocalLake(tmp_path / "begun")
    assert status(lake, warehouse, days=14) == []
    meta.begin(lake, LakeInfo(date(2024, 12, 1), THROUGH))
    found = status(lake, warehouse, days=14)
    assert gaps(found) == ["all tables 2024-12-31: no batch is committed: run historical_load again"]
    batch(lake, "orders", THROUGH, days=31)
    assert "orders" not in gaps(status(lake, warehouse, days=14))[0].split(":")[0]

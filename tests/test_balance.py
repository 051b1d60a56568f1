"""The balance sheet finds what does not add up, and what is unusual."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import pyarrow as pa
import pytest

from tasks.balance import Balance, IngestReport, _is_far, audit, balance, summed
from tasks.lake import parts
from tasks.lake.history import Appended
from tasks.lake.manifests import Manifest, commit
from tasks.lake.store import Lake, LocalLake
from tasks.shop.shop import Shop
from tasks.tables import TABLES
from tasks.warehouse.duckdb import DuckDBWarehouse
from tasks.window import Window

TABLE = TABLES["categories"]
DAY = date(2025, 2, 14)
WEEK, ONE_DAY = timedelta(weeks=1), timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return LocalLake(tmp_path / "lake")


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DuckDBWarehouse]:
    with DuckDBWarehouse(tmp_path / "warehouse.duckdb") as opened:
        opened.prepare(TABLES.values())
        yield opened


def batch(lake: Lake, day: date, rows: int, days: int = 30) -> Manifest:
    """Commit a batch of that many rows, taken from a window of that many days."""
    cursor = pa.array([datetime(2025, 1, 1)] * rows, pa.timestamp("us"))  # noqa: DTZ001 (UTC without a zone)
    keys = pa.array(range(rows), pa.int64())
    records = pa.table({"category_id": keys, "_cursor": cursor, "_version": keys})
    part = parts.write(lake, f"history/categories/batch={day}", 0, records)
    window = Window(day - timedelta(days=days - 1), day + timedelta(days=1))
    columns = {"category_id": "int64"}
    manifest = Manifest("categories", day, 1, window, rows, 0, 0, part.digest, columns, (part,), (), None)
    assert commit(lake, manifest)
    return manifest


def load(lake: Lake, warehouse: DuckDBWarehouse, manifest: Manifest) -> None:
    assert warehouse.load(lake, TABLE, manifest, "run", datetime(2025, 2, 15, tzinfo=UTC))


def appended(rows: int) -> Appended:
    return Appended("categories", DAY, 1, rows, rows, 0, 0)


def warnings(lake: Lake, warehouse: DuckDBWarehouse, rows: int) -> tuple[str, ...]:
    """What is said of a batch of DAY with that many rows."""
    load(lake, warehouse, batch(lake, DAY, rows))
    line = balance(lake, warehouse, appended(rows))
    assert line.problems == ()
    return line.warnings


def weeks_of(lake: Lake, *usual: int) -> None:
    """Commit batches of the days one, two, ... weeks before DAY, each with a batch of the day before it."""
    for weeks, rows in enumerate(usual, start=1):
        batch(lake, DAY - weeks * WEEK - ONE_DAY, 5)  # another weekday, of other volume
        batch(lake, DAY - weeks * WEEK, rows)


@pytest.mark.parametrize(
    ("rows", "warned"), [(200, False), (110, False), (90, True), (0, True), (290, False), (310, True)]
)
def test_a_volume_far_from_the_weekdays_is_a_warning(
    lake: Lake, warehouse: DuckDBWarehouse, rows: int, warned: bool
) -> None:
    weeks_of(lake, 200, 190, 1_000)
    batch(lake, DAY - ONE_DAY, 5)
    expected = (f"{rows:,} new rows, but 200 are usual on a Friday",) if warned else ()
    assert warnings(lake, warehouse, rows) == expected


@pytest.mark.parametrize(
    ("usual", "rows", "warned"),
    [(14, 0, True), (14, 5, False), (14, 26, False), (14, 40, True), (3, 0, False), (3, 12, False), (0, 1, False)],
)
def test_a_small_feed_that_stops_is_noticed_and_chance_is_not(
    lake: Lake, warehouse: DuckDBWarehouse, usual: int, rows: int, warned: bool
) -> None:
    weeks_of(lake, usual, usual)
    batch(lake, DAY - ONE_DAY, 5)
    assert bool(warnings(lake, warehouse, rows)) is warned


@pytest.mark.parametrize("table", ["order_items", "reviews", "interactions"])
def test_a_shop_does_not_alarm_by_chance(table: str) -> None:
    """What a small shop's records vary in nearly a year, weekday by weekday, is hardly ever something to warn of."""
    window = Window(date(2024, 1, 1), date(2024, 11, 20))
    records = Shop(date(2023, 1, 1), scale=0.1).snapshot(table, window, window.end)
    counted = Counter(instant.date() for instant in records["created_at"].to_pylist())
    rows = [counted[day] for day in window]
    alarms = [n for n in range(28, len(rows)) if _is_far(rows[n], round(median(rows[n - 28 : n : 7])))]
    assert len(alarms) <= 1


@pytest.mark.parametrize(
    ("rows", "said"), [(0, "0 new rows of 3 days"), (200, ""), (600, ""), (1_000, "1,000 new rows of 3 days")]
)
def test_days_that_are_caught_up_bring_more_than_a_day_and_less_than_all_of_them(
    lake: Lake, warehouse: DuckDBWarehouse, rows: int, said: str
) -> None:
    weeks_of(lake, 200, 200)
    batch(lake, DAY - 3 * ONE_DAY, 5)
    assert warnings(lake, warehouse, rows) == ((f"{said}, but 200 are usual on a Friday",) if said else ())


@pytest.mark.parametrize("missed", [1, 5, 700])
def test_a_batch_of_many_days_is_no_measure_of_a_day(lake: Lake, warehouse: DuckDBWarehouse, missed: int) -> None:
    batch(lake, DAY - WEEK - (1 + missed) * ONE_DAY, 50)
    batch(lake, DAY - WEEK, 5_000, days=max(30, 1 + missed))
    batch(lake, DAY - ONE_DAY, 50)
    assert warnings(lake, warehouse, 50) == ()


def test_a_day_that_comes_after_a_later_one_is_not_compared(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    weeks_of(lake, 200, 200)
    batch(lake, DAY - ONE_DAY, 200)
    batch(lake, DAY + ONE_DAY, 400)
    assert warnings(lake, warehouse, 0) == ()


def test_records_that_are_not_accounted_for(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    load(lake, warehouse, batch(lake, DAY, 3))
    line = balance(lake, warehouse, replace(appended(3), read=4))
    assert line.problems == ("4 source records, but 3 are accounted for",)


def test_a_batch_that_raw_lacks(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    manifest = batch(lake, DAY, 3)
    (problem,) = balance(lake, warehouse, appended(3)).problems
    assert problem == f"batch {DAY} revision 1 has 3 rows (digest {manifest.digest}), raw has 0 (0)"


def test_a_row_changed_in_raw_is_found_by_its_digest(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    load(lake, warehouse, batch(lake, DAY - WEEK, 3))
    load(lake, warehouse, batch(lake, DAY, 3))
    assert audit(lake, warehouse, "categories") == []
    warehouse.query("update raw.categories set _version = 7 where category_id = 1 and _batch = ?", [DAY - WEEK])
    assert balance(lake, warehouse, appended(3)).problems == ()
    (problem,) = audit(lake, warehouse, "categories")
    assert problem == f"batch {DAY - WEEK} revision 1 has 3 rows (digest 3), raw has 3 (9)"


def test_a_batch_that_only_raw_has(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    load(lake, warehouse, batch(lake, DAY, 3))
    lake.delete(f"history/categories/batch={DAY}")
    assert audit(lake, warehouse, "categories") == [f"raw has batch {DAY} revision 1, the history has not"]


def test_runs_of_several_days_are_summed_table_by_table() -> None:
    history = Balance("orders", 10, 9, 0, 1, batch_rows=9, raw_rows=9)
    day = Balance("orders", 5, 2, 3, 0, batch_rows=2, raw_rows=2, warnings=("late",))
    items = Balance("order_items", 4, 4, 0, 0, batch_rows=4, raw_rows=4)
    reports = [IngestReport("local", DAY - ONE_DAY, (history,)), IngestReport("local", DAY, (day, items))]
    assert summed(reports) == (Balance("orders", 15, 11, 3, 1, batch_rows=11, raw_rows=11, warnings=("late",)), items)

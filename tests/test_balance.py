"""The balance sheet finds what does not add up, and what is unusual."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.balance import audit, balance
from tasks.lake import parts
from tasks.lake.history import Appended
from tasks.lake.manifests import Manifest, commit
from tasks.lake.store import Lake, LocalLake
from tasks.tables import TABLES
from tasks.warehouse.duckdb import DuckDBWarehouse
from tasks.window import Window

TABLE = TABLES["categories"]
DAY = date(2025, 2, 14)
WEEK = timedelta(weeks=1)


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


@pytest.mark.parametrize(("rows", "warned"), [(200, False), (110, False), (90, True), (290, False), (310, True)])
def test_a_volume_far_from_the_weekdays_is_a_warning(
    lake: Lake, warehouse: DuckDBWarehouse, rows: int, warned: bool
) -> None:
    for weeks, usual in enumerate((200, 190, 1_000), start=1):
        batch(lake, DAY - weeks * WEEK, usual)
    batch(lake, DAY - timedelta(days=1), 5)  # another weekday
    load(lake, warehouse, batch(lake, DAY, rows))
    line = balance(lake, warehouse, appended(rows))
    assert line.problems == ()
    assert line.warnings == ((f"{rows:,} new rows, but 200 are usual on a Friday",) if warned else ())


def test_a_batch_of_many_days_is_no_measure_of_a_day(lake: Lake, warehouse: DuckDBWarehouse) -> None:
    batch(lake, DAY - WEEK, 5_000, days=700)
    load(lake, warehouse, batch(lake, DAY, 50))
    assert balance(lake, warehouse, appended(50)).warnings == ()


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

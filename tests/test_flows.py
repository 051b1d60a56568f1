"""The flows on a real embedded stack: the same current records whichever way the days were taken."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from tasks.source import embedded
from tasks.status import audit_stack
from tasks.tables import TABLES, Table
from tasks.warehouse import duckdb

START, END = date(2024, 12, 1), date(2025, 2, 18)
SCALE = 0.03

Records = dict[str, list[tuple[Any, ...]]]


def history_through(day: date, **parameters: Any) -> None:
    historical_load(START, day, scale=SCALE, **parameters)


def current_records(folder: Path) -> Records:
    """Every column of the current record of every key, per table."""
    with Stack.in_folder(folder).open_warehouse() as warehouse:
        return {table.name: warehouse.query(current(table)) for table in TABLES.values()}


def current(table: Table) -> str:
    names = ", ".join(column.name for column in table.columns)
    newest = "_cursor desc nulls last, _batch desc, _version desc"
    rank = f"row_number() over (partition by {table.key} order by {newest})"
    return f"select {names} from raw.{table.name} qualify {rank} = 1 order by {table.key}"


def differences(folder: Path) -> list[str]:
    stack = Stack.in_folder(folder)
    with stack.open_warehouse() as warehouse:
        return audit_stack(stack.open_lake(), warehouse)


@pytest.fixture(scope="module")
def undisturbed(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    """The current records of a history loaded through END at once."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOMMERCE_HOME", str(folder))
        patch.setenv("PREFECT_API_URL", prefect_url)
        history_through(END)
        yield current_records(folder)
        embedded.stop(folder / "postgres")
    shutil.rmtree(folder)


def days_before_end(*numbers: int) -> list[date]:
    return [END - timedelta(days=number) for number in numbers]


@pytest.mark.parametrize(
    ("through", "days"),
    [
        pytest.param(6, (5, 4, 3, 2, 1, 0), id="daily"),
        pytest.param(49, (47, 41, 0), id="gaps of 1, 5 and 40 days"),
        pytest.param(3, (2, 2, 1, 1, 0, 0), id="each day twice"),
        pytest.param(6, (3, 5, 4, 0, 2, 1), id="out of order"),
    ],
)
def test_increments_equal_one_history(home: Path, undisturbed: Records, through: int, days: Sequence[int]) -> None:
    history_through(END - timedelta(days=through))
    for day in days_before_end(*days):
        daily_increment(day)
    found = current_records(home)
    for table in TABLES:
        assert found[table] == undisturbed[table], table
    assert min(len(records) for records in undisturbed.values()) >= 5
    assert differences(home) == []


def test_a_run_opens_its_warehouse_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history_through(END - timedelta(days=1))
    path, connect, was_open = home / "warehouse.duckdb", duckdb._connect, list[bool]()

    def connected(asked: Path) -> Any:
        was_open.append(str(asked) in {file.path for file in psutil.Process().open_files()})
        return connect(asked)

    monkeypatch.setattr(duckdb, "_connect", connected)
    daily_increment(END)
    assert len(was_open) > len(TABLES)
    assert not was_open[0]
    assert all(was_open[1:])
    duckdb.DuckDBWarehouse(path).close()
    assert not was_open[-1]  # it was closed in the end

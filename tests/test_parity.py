"""One shop on both stacks, through the flows: history, raw and every dbt model are equal, cents included."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from typing import Any

import pytest

from blocks.stack import LOCAL, Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from flows.transform import transform
from tasks.lake.store import Lake
from tasks.source import embedded
from tasks.tables import TABLES
from tasks.warehouse.protocol import Warehouse
from tests.emulated import NAME, counts, emulated, side_by_side

START, THROUGH = date(2024, 12, 1), date(2024, 12, 31)
BUILT = ("staging", "intermediate", "marts")
INCREMENTS = [THROUGH + timedelta(day) for day in range(1, 6)]


@pytest.fixture(scope="module")
def stacks(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack]]:
    """The embedded and the cloud stack after a historical load, a build, five increments and a build of these."""
    home = tmp_path_factory.mktemp("parity")
    with pytest.MonkeyPatch.context() as patch, emulated(home) as cloud:
        patch.setenv("ECOMMERCE_HOME", str(home / "local"))
        patch.setenv("PREFECT_API_URL", prefect_url)
        for name in (LOCAL, NAME):
            historical_load(START, THROUGH, scale=0.02, stack=name)
            transform(stack=name)
            for day in INCREMENTS:
                daily_increment(day, stack=name)
            transform(stack=name)
        yield Stack.named(LOCAL), cloud
        embedded.stop(home / "local" / "postgres")


@pytest.fixture(scope="module")
def warehouses(stacks: tuple[Stack, Stack]) -> Iterator[list[Warehouse]]:
    with ExitStack() as opened:
        yield [opened.enter_context(stack.open_warehouse()) for stack in stacks]


def test_history_is_equal_byte_for_byte(stacks: tuple[Stack, Stack]) -> None:
    local, cloud = (parts(stack.open_lake()) for stack in stacks)
    assert len(local) > len(TABLES)
    assert local == cloud


def test_raw_is_equal_row_for_row(warehouses: list[Warehouse]) -> None:
    for table in TABLES.values():
        columns = [*table.history_schema.names, "_batch", "_revision", "_part", "_cursor", "_version"]
        local, cloud = (rows(warehouse, f"raw.{table.name}", columns) for warehouse in warehouses)
        assert local
        assert local == cloud
        ledgers = [warehouse.ledger(table.name) for warehouse in warehouses]
        totals = [warehouse.totals(table.name, None) for warehouse in warehouses]
        assert ledgers[0] == ledgers[1]
        assert len(ledgers[0]) == 1 + len(INCREMENTS)
        assert totals[0] == totals[1] == {name: loaded for name, loaded in ledgers[0].items() if loaded.rows}


def test_every_model_is_equal_row_for_row(warehouses: list[Warehouse]) -> None:
    local, cloud = (relations(warehouse) for warehouse in warehouses)
    assert len(local) > 30
    assert local == cloud
    differ = [
        name
        for name, columns in local.items()
        if rows(warehouses[0], name, columns) != rows(warehouses[1], name, columns)
    ]
    assert differ == []


def test_the_sheet_of_the_cloud_demo_shows_both_stacks(stacks: tuple[Stack, Stack]) -> None:
    local, cloud = (counts(stack) for stack in stacks)
    assert local == cloud
    assert len(local) == len(TABLES) + 3
    sheet = side_by_side({LOCAL: {"load": "1.0 s", **local}, NAME: {"load": "2.0 s", **cloud}})
    assert [[*column.cells] for column in sheet.columns] == [
        ["load", *local],
        ["1.0 s", *local.values()],
        ["2.0 s", *local.values()],
    ]


def parts(lake: Lake) -> dict[str, bytes]:
    """The bytes of every part of the history, by path."""
    found = (stored.path for stored in lake.files("history", recursive=True))
    return {path: lake.read(path) for path in found if path.endswith(".parquet")}


def relations(warehouse: Warehouse) -> dict[str, list[str]]:
    """The columns of every relation that dbt builds, in lower case, by `schema.name`."""
    columns = warehouse.query(
        "select lower(table_schema), lower(table_name), lower(column_name) from information_schema.columns "
        "order by table_schema, table_name, ordinal_position"
    )
    found: dict[str, list[str]] = {}
    for schema, name, column in columns:
        if schema in BUILT:
            found.setdefault(f"{schema}.{name}", []).append(column)
    return found


def rows(warehouse: Warehouse, relation: str, columns: list[str]) -> list[tuple[Any, ...]]:
    order = ", ".join(f"{column} nulls first" for column in columns)
    return warehouse.query(f"select {', '.join(columns)} from {relation} order by {order}")

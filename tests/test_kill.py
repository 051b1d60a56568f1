"""Runs that are killed with SIGKILL and run again end where undisturbed ones do."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.stack import Stack
from tasks.lake import paths
from tasks.lake.manifests import Manifest, read_manifest, revisions
from tasks.lake.store import Lake
from tasks.status import audit_stack
from tasks.tables import TABLES
from tasks.warehouse.protocol import Warehouse

START, THROUGH = date(2024, 12, 1), date(2025, 1, 10)
DAYS = [THROUGH + timedelta(days=n) for n in range(1, 6)]
SCALE = 0.03
CHUNK_ROWS = 500  # the historical load has up to five chunks of a table then, each increment one

FEED_WITH_A_BAD_RECORD = b'[{"review_id": 1.5, "review_score": 4}]'

Death = dict[str, Any]
Rows = list[tuple[Any, ...]]
State = dict[str, Any]


def at(event: str, function: str, n: int = 1, calls: str | None = None, **where: str) -> Death:
    """A point at which to die; see tests/runs.py. Two underscores stand for the point before an attribute."""
    found = {name.replace("__", "."): text for name, text in where.items()}
    return {"event": event, "function": function, "n": n, "calls": calls, "where": found}


RESET = [
    # raw is gone, nothing else
    at("call", "tasks.source.postgres:Source.clear"),
    # landing, extracted and history are gone; the lake still says whose history it holds
    at("return", "tasks.lake.store:Lake.delete", path="^history$"),
]
HISTORY = [
    # the lake says whose history it will hold, Postgres has no tables
    at("call", "tasks.source.postgres:Source.create_tables"),
    # generate: a feed is begun
    at("call", "tasks.lake.feeds:_json_lines", n=2),
    # generate: rows are copied into Postgres, not yet upserted
    at("c_return", "tasks.source.postgres:Source.upsert", calls="copy_expert", table__name="^order_items$"),
    # append: the second part of a revision is written, but has no name yet
    at("call", "pathlib:Path.replace", n=2, self="/history/interactions/"),
    # append: a manifest is written, but has no name yet
    at("c_call", "tasks.lake.store:LocalLake.create", calls="link", target="/history/interactions/"),
    # load: in the middle of the parts of a revision
    at("return", "tasks.warehouse.duckdb:_insert", n=2, manifest__table="^interactions$"),
]
INCREMENTS = [
    [
        # generate: some feeds are there, some are not
        at("return", "tasks.lake.feeds:write_feed", n=2),
        # extract: a part is written, but has no name yet
        at("call", "pathlib:Path.replace", self="/extracted/order_items/"),
        # append: parts are there, no manifest
        at("call", "tasks.lake.manifests:commit", manifest__table="^orders$"),
    ],
    [
        # generate: rows are upserted in Postgres, the transaction is open
        at("c_return", "tasks.source.postgres:Source.upsert", n=2, calls="execute", table__name="^order_items$"),
        # append: committed, but extracted is still there
        at("return", "tasks.lake.manifests:commit", manifest__table="^customers$"),
        # load: the ledger has a row, raw has no rows
        at("return", "tasks.warehouse.duckdb:_enter", manifest__table="^customers$"),
    ],
    [
        # extract: the records of one table are extracted, those of others are not
        at("return", "tasks.lake.parts:write", folder="^extracted/interactions/"),
        # load: everything is inserted, the transaction is open
        at("return", "tasks.warehouse.duckdb:_verify", manifest__table="^reviews$"),
        # reconcile: about to begin
        at("call", "tasks.balance:balance"),
    ],
    [
        # extract: the quarantine of a feed is being written
        at("return", "tasks.lake.quarantine:Quarantine.put", file="bad.json$"),
        # load: a table is loaded, others are not
        at("return", "tasks.warehouse.duckdb:DuckDBWarehouse.load", manifest__table="^orders$"),
        # reconcile: its artifact is published
        at("call", "tasks.balance:IngestReport.warnings"),
    ],
    [],
]
TRANSFORMS = {
    # some models and tests are done, others not
    DAYS[1]: at("call", "tasks.dbt:_node_result", n=12),
    # everything is built, nothing is marked
    DAYS[3]: at("call", "tasks.warehouse.duckdb:DuckDBWarehouse.mark_built"),
}
TRANSFORM = ("transform", {})


def historical_load(seed: int = 42, **options: Any) -> tuple[str, dict[str, Any]]:
    days = {"start": START.isoformat(), "through": THROUGH.isoformat()}
    return "historical_load", days | {"scale": SCALE, "seed": seed} | options


def daily_increment(day: date) -> tuple[str, dict[str, Any]]:
    return "daily_increment", {"day": day.isoformat()}


def deliver(home: Path) -> None:
    """Put a feed with a bad record beside the shop's own."""
    folder = home / "lake" / paths.landing("reviews", DAYS[3])
    folder.mkdir(parents=True)
    (folder / "bad.json").write_bytes(FEED_WITH_A_BAD_RECORD)


def state(home: Path) -> State:
    """Everything of a stack that a disturbance must not show in."""
    stack = Stack.in_folder(home)
    lake = stack.open_lake()
    with stack.open_warehouse() as warehouse:
        return {
            "differences": audit_stack(lake, warehouse),
            "history": [manifest for table in TABLES for manifest in history(lake, table)],
            "extracted": lake.files("extracted", recursive=True),
            "landing": contents(lake, "landing"),
            "quarantine": contents(lake, "quarantine"),
            "ledger": warehouse.query('select "table", batch, revision, rows, digest from raw._batches order by all'),
            "built": warehouse.query('select "table", batch, revision from raw._built order by all'),
            **{f"raw.{table}": rows(warehouse, "raw", table) for table in TABLES},
            **{".".join(name): rows(warehouse, *name) for name in built(warehouse)},
        }


def history(lake: Lake, table: str) -> Iterator[Manifest]:
    """The manifests without what a source taken twice shows in: its times of change, and what was known of it."""
    for batch, revision in revisions(lake, table):
        yield replace(read_manifest(lake, table, batch, revision), sources=(), known=0)


def contents(lake: Lake, folder: str) -> dict[str, bytes]:
    return {file.path: lake.read(file.path) for file in lake.files(folder, recursive=True)}


def built(warehouse: Warehouse) -> Rows:
    return warehouse.query(
        "select table_schema, table_name from information_schema.tables "
        "where table_schema in ('staging', 'intermediate', 'marts')"
    )


def rows(warehouse: Warehouse, schema: str, table: str) -> Rows:
    """Every row with every column, the columns by name."""
    names = warehouse.query(
        "select column_name from information_schema.columns where table_schema = ? and table_name = ? order by all",
        [schema, table],
    )
    listed = ", ".join(f'"{name}"' for (name,) in names)
    return warehouse.query(f'select {listed} from {schema}."{table}" order by all')


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of the undisturbed stack and of the one that is killed."""
    return tmp_path_factory.mktemp("undisturbed"), tmp_path_factory.mktemp("killed")


def test_what_is_killed_and_run_again_ends_where_an_undisturbed_run_does(
    homes: tuple[Path, Path], processes: Callable[..., Any]
) -> None:
    undisturbed, killed = (processes(home, chunk_rows=CHUNK_ROWS) for home in homes)
    undisturbed.begin(historical_load())

    def dies(flow: tuple[str, dict[str, Any]], death: Death) -> None:
        assert killed.run(flow, death=death) == (-9, death["function"]), (flow, death, killed.said())

    def survives(flow: tuple[str, dict[str, Any]]) -> None:
        assert killed.run(flow) == (0, None), (flow, killed.said())

    survives(historical_load(seed=7))
    dies(historical_load(reset=True), RESET[0])
    for death in (*RESET[1:], *HISTORY):
        dies(historical_load(), death)
    survives(historical_load())
    assert undisturbed.end() == (0, None), undisturbed.said()
    assert state(homes[1]) == state(homes[0])

    deliver(homes[0])
    deliver(homes[1])
    undisturbed.begin(*map(daily_increment, DAYS), TRANSFORM)
    for day, deaths in zip(DAYS, INCREMENTS, strict=True):
        for death in deaths:
            dies(daily_increment(day), death)
        survives(daily_increment(day))
        if day in TRANSFORMS:
            dies(TRANSFORM, TRANSFORMS[day])
    survives(TRANSFORM)
    assert undisturbed.end() == (0, None), undisturbed.said()

    expected, found = state(homes[0]), state(homes[1])
    for place in expected:
        assert found[place] == expected[place], place
    assert found.keys() == expected.keys()
    assert found["differences"] == found["extracted"] == []

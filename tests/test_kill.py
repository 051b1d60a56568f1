"""Runs that are killed with SIGKILL, or lose the warehouse, and run again end where undisturbed ones do."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from signal import SIGKILL
from threading import Lock
from typing import Any, Protocol, TypeAlias

import pytest
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

import flows.daily_increment
import flows.historical_load
import flows.ingest
from blocks.stack import Stack
from tasks.errors import HistoryError, TransientError
from tasks.lake import paths
from tasks.lake.manifests import Manifest, read_manifest, revisions
from tasks.lake.store import Lake, Stored
from tasks.load import load
from tasks.plan import Occasion, plan_increment
from tasks.reconcile import reconcile
from tasks.retry import RETRY
from tasks.status import audit_stack
from tasks.tables import TABLES
from tasks.warehouse.protocol import Warehouse

START, THROUGH = date(2024, 12, 1), date(2025, 1, 10)
DAYS = [THROUGH + timedelta(days=n) for n in range(1, 6)]
SCALE = 0.03
CHUNK_ROWS = 500  # the historical load has up to five chunks of a table then, each increment one

FEED_WITH_A_BAD_RECORD = b'[{"review_id": 1.5, "review_score": 4}]'

Death: TypeAlias = dict[str, Any]
Flow: TypeAlias = tuple[str, dict[str, Any]]
Rows: TypeAlias = list[tuple[Any, ...]]
State: TypeAlias = dict[str, Any]


class Processes(Protocol):
    """The fixture's; see tests/conftest.py."""

    def begin(self, *flows: Flow, death: Death | None = None) -> None: ...
    def end(self) -> tuple[int, str | None]: ...
    def run(self, *flows: Flow, death: Death | None = None, at_once: int = 1) -> tuple[int, str | None]: ...
    def said(self) -> str: ...


def at(event: str, function: str, n: int = 1, calls: str | None = None, **where: str) -> Death:
    """A point at which to die; see tests/runs.py. Two underscores stand for the point before an attribute."""
    found = {name.replace("__", "."): text for name, text in where.items()}
    return {"event": event, "function": function, "n": n, "calls": calls, "where": found}


RESET = [
    # raw is gone, nothing else
    at("call", "tasks.source.postgres:Source.clear"),
    # landing, extracted and history are gone; the lake still says whose history it holds
    at("return", "tasks.lake.store:LocalLake.delete", path="^history$"),
]
HISTORY = [
    # the lake says whose history it will hold, Postgres has no tables
    at("call", "tasks.source.postgres:Source.create_tables"),
    # generate: a feed is begun
    at("call", "tasks.lake.feeds:_json_lines", n=2),
    # generate: rows are copied into Postgres, not yet committed
    at("c_return", "tasks.source.postgres:_copied", calls="copy_expert", copy="order_items"),
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
        # extract: the quarantine of a feed is written, but has no name yet
        at("call", "pathlib:Path.replace", self="/quarantine/reviews/"),
        # load: a table is loaded, others are not
        at("return", "tasks.warehouse.duckdb:DuckDBWarehouse.load", manifest__table="^orders$"),
        # reconcile: its artifact is published
        at("call", "tasks.balance:IngestReport.warnings"),
    ],
    [],  # two runs at once instead
]
TRANSFORMS = {
    # some models and tests are done, others not
    DAYS[1]: at("call", "tasks.dbt:_node_result", n=12),
    # everything is built, nothing is marked
    DAYS[3]: at("call", "tasks.warehouse.duckdb:DuckDBWarehouse.mark_built"),
}
TRANSFORM: Flow = ("transform", {})


def historical_load(seed: int = 42, **options: Any) -> Flow:
    days = {"start": START.isoformat(), "through": THROUGH.isoformat()}
    return "historical_load", days | {"scale": SCALE, "seed": seed} | options


def daily_increment(day: date) -> Flow:
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
    """The manifests without what a feed written again shows in: it is taken by two batches, to the second it is known.

    So of the sources, the paths that no earlier manifest names are left.
    """
    named = set[str]()
    for batch, revision in revisions(lake, table):
        found = read_manifest(lake, table, batch, revision)
        taken = tuple(Stored(source.path, 0, "") for source in found.sources if source.path not in named)
        named.update(source.path for source in found.sources)
        yield replace(found, sources=taken, known=0)


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


class Chain:
    """Two stacks that take the same days: one undisturbed, one killed again and again."""

    def __init__(self, homes: tuple[Path, Path], undisturbed: Processes, killed: Processes) -> None:
        self.homes, self.undisturbed, self.killed = homes, undisturbed, killed
        self.deaths: list[str] = []

    def dies(self, flow: Flow, death: Death) -> None:
        assert self.killed.run(flow, death=death) == (-SIGKILL, death["function"]), (death, self.killed.said())
        self.deaths.append(json.dumps(death))

    def survives(self, flow: Flow, at_once: int = 1) -> None:
        assert self.killed.run(flow, at_once=at_once) == (0, None), (flow, self.killed.said())

    def states(self) -> tuple[State, State]:
        """What the killed stack holds, and what the undisturbed one does once it is done."""
        assert self.undisturbed.end() == (0, None), self.undisturbed.said()
        undisturbed, killed = map(state, self.homes)
        return killed, undisturbed


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, processes: Callable[..., Processes]) -> Chain:
    homes = tmp_path_factory.mktemp("undisturbed"), tmp_path_factory.mktemp("killed")
    return Chain(homes, *(processes(home, chunk_rows=CHUNK_ROWS) for home in homes))


@pytest.fixture(scope="module")
def histories(chain: Chain) -> tuple[State, State]:
    """The states after a historical load in place of another shop's, killed and undisturbed."""
    chain.undisturbed.begin(historical_load())
    chain.survives(historical_load(seed=7))
    chain.dies(historical_load(reset=True), RESET[0])
    for death in (*RESET[1:], *HISTORY):
        chain.dies(historical_load(), death)
    chain.survives(historical_load())
    return chain.states()


@pytest.fixture(scope="module")
def increments(chain: Chain, histories: tuple[State, State]) -> tuple[State, State]:
    """The states after some more days and a build of the marts."""
    for home in chain.homes:
        deliver(home)
    chain.undisturbed.begin(*map(daily_increment, DAYS), TRANSFORM)
    for day, deaths in zip(DAYS, INCREMENTS, strict=True):
        for death in deaths:
            chain.dies(daily_increment(day), death)
        chain.survives(daily_increment(day), at_once=1 if deaths else 2)
        if day in TRANSFORMS:
            chain.dies(TRANSFORM, TRANSFORMS[day])
    chain.survives(TRANSFORM)
    return chain.states()


def test_a_killed_reset_and_history_end_as_an_undisturbed_history(histories: tuple[State, State]) -> None:
    assert_equal(*histories)


def test_killed_increments_and_builds_end_as_undisturbed_ones(increments: tuple[State, State], chain: Chain) -> None:
    assert_equal(*increments)
    assert len(set(chain.deaths)) == len(chain.deaths) >= 20
    assert {f"raw.{table}" for table in TABLES} | {"marts.fct_order_details"} < increments[0].keys()
    assert all(increments[0][place] for place in ("built", "quarantine", "raw.reviews", "marts.fct_order_details"))


def assert_equal(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for place in expected:
        assert found[place] == expected[place], place
    assert found["differences"] == found["extracted"] == []
    assert {source.path for manifest in found["history"] for source in manifest.sources} == found["landing"].keys()


# The warehouse, without a kill


@pytest.fixture
def loaded(home: Path) -> State:
    """The state of a stack with a history and one more day."""
    flows.historical_load.historical_load(START, THROUGH, scale=SCALE)
    flows.daily_increment.daily_increment(DAYS[0])
    return state(home)


def drop_raw(home: Path) -> None:
    with Stack.in_folder(home).open_warehouse() as warehouse:
        warehouse.query("drop schema raw cascade")


def test_raw_is_rebuilt_by_the_next_run(home: Path, loaded: State) -> None:
    drop_raw(home)
    flows.daily_increment.daily_increment(DAYS[0])
    assert_equal(state(home), loaded)
    (home / "warehouse.duckdb").unlink()
    flows.historical_load.historical_load(START, THROUGH, scale=SCALE)
    assert_equal(state(home), loaded)


def test_what_is_loaded_twice_at_once_is_there_once(home: Path, loaded: State) -> None:
    lake = Stack.in_folder(home).open_lake()
    runs = [
        plan_increment(lake, Occasion(name, datetime(2025, 2, 1, tzinfo=UTC), "local", True, 0.01), DAYS[0])
        for name in ("one", "another")
    ]

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def load_all_twice() -> int:
        return sum(future.result().rows for future in [load.submit(run, table) for table in TABLES for run in runs])

    drop_raw(home)
    assert load_all_twice() == sum(manifest.rows for manifest in loaded["history"])
    assert_equal(state(home), loaded)


def test_rows_of_an_attempt_that_failed_are_counted(home: Path, loaded: State) -> None:
    lake = Stack.in_folder(home).open_lake()
    run = plan_increment(lake, Occasion("run", datetime(2025, 2, 1, tzinfo=UTC), "local", True, 0.01), DAYS[0])
    (part,) = (home / "lake" / paths.history("orders", DAYS[0])).glob("*.parquet")

    @flow
    def load_orders() -> int:
        part.rename(part.with_suffix(".away"))
        with pytest.raises(HistoryError, match="restore it"):
            load(run, "orders")
        part.with_suffix(".away").rename(part)
        return load(run, "orders").rows

    drop_raw(home)
    assert load_orders() == sum(manifest.rows for manifest in loaded["history"] if manifest.table == "orders")


ONE_AT_A_TIME = Lock()
HOLDER = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(home: Path, loaded: State) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the warehouse's file until it is told to end."""
    command = [sys.executable, "-c", HOLDER, str(home / "warehouse.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def let_go(holder: subprocess.Popen[str]) -> None:
    with ONE_AT_A_TIME:
        if holder.poll() is None:
            holder.communicate()


def test_a_run_without_the_warehouse_fails_and_the_next_one_catches_up(
    home: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for used in (load, reconcile):
        monkeypatch.setattr(flows.ingest, used.fn.__name__, used.with_options(retries=0))
    with pytest.raises(TransientError, match=f"warehouse.duckdb is held by process {holder.pid} .*wait until it ends"):
        flows.daily_increment.daily_increment(DAYS[1])
    let_go(holder)
    flows.daily_increment.daily_increment(DAYS[2])
    found = state(home)
    assert found["differences"] == []
    assert {batch for _, batch, *_ in found["ledger"]} == {THROUGH, *DAYS[:3]}


def test_a_run_waits_for_the_warehouse(
    home: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_pass(task: Any, run: Any, state: Any) -> bool:
        let_go(holder)
        return RETRY["retry_condition_fn"](task, run, state)

    eager = load.with_options(retry_delay_seconds=0, retry_condition_fn=may_pass)
    monkeypatch.setattr(flows.ingest, "load", eager)
    report = flows.daily_increment.daily_increment(DAYS[1])
    assert holder.returncode == 0
    assert report.appended == sum(line.raw_rows for line in report.tables) > 0

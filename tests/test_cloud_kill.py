"""Runs on S3, Postgres and Snowflake that are killed, or find the warehouse down, end where undisturbed ones do."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any, Protocol

import pytest

import flows.ingest
from blocks.register import save
from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from tasks.errors import ReconcileError, TransientError
from tasks.lake import paths
from tasks.lake.manifests import read_manifest, revisions
from tasks.lake.store import Lake
from tasks.load import load
from tasks.reconcile import reconcile
from tasks.status import audit_stack
from tasks.tables import TABLES
from tasks.warehouse import snowflake_client
from tasks.warehouse.protocol import Warehouse
from tests.emulated import NAME, emulated
from tests.proxy import Proxy, proxied
from tests.test_kill import Death, Flow, State, at, contents, history
from tests.test_parity import relations
from tests.test_parity import rows as ordered

START, THROUGH = date(2024, 12, 1), date(2024, 12, 31)
DAYS = [THROUGH + timedelta(n) for n in range(1, 6)]
SCALE = 0.05
CHUNK_ROWS = 500
PART_BYTES = 4 << 10  # of an upload: an object of 10 kB is sent in pieces then, as one of 20 MB is
FOREVER = 10**6

HISTORY = [
    # generate: rows are copied into Postgres, not yet committed
    at("c_return", "tasks.source.postgres:_copied", calls="copy_expert", copy="order_items"),
    # extract: a part is whole, but not yet an object
    at("call", "tasks.lake.s3_streams:Upload.finish", self___key="^extracted/interactions/"),
    # append: the second piece of a part is there, the part is not
    at("return", "tasks.lake.s3_streams:Upload._send_part", number="^2$", self___key="^history/interactions/"),
    # append: committed, but extracted is still there
    at("return", "tasks.lake.manifests:commit", manifest__table="^interactions$"),
    # load: the revision is claimed, nothing is copied
    at("return", "tasks.warehouse.snowflake:_claim", manifest__table="^interactions$"),
    # load: all is copied and verified, not committed
    at("return", "tasks.warehouse.snowflake:_verify", manifest__table="^interactions$"),
]
INCREMENT = [
    # append: parts are there, no manifest
    at("call", "tasks.lake.s3:S3Lake._create_conditionally", path="^history/interactions/"),
    # reconcile: about to begin
    at("call", "tasks.balance:balance"),
]
# transform: some models and tests are done, others not
TRANSFORM = at("call", "tasks.dbt:_node_result", n=12)
RESET = [
    # raw is gone, nothing else
    at("call", "tasks.source.postgres:Source.clear"),
    # landing, extracted and history are gone; the lake still says whose history it holds
    at("return", "tasks.lake.s3:S3Lake.delete", path="^history$"),
]


class Processes(Protocol):
    """The fixture's; see tests/conftest.py."""

    def begin(self, *flows: Flow, death: Death | None = None) -> None: ...
    def end(self) -> tuple[int, str | None]: ...
    def run(self, *flows: Flow, death: Death | None = None) -> tuple[int, str | None]: ...
    def said(self) -> str: ...


def load_history(stack: str, **options: Any) -> Flow:
    days = {"start": START.isoformat(), "through": THROUGH.isoformat()}
    return "historical_load", days | {"scale": SCALE, "stack": stack} | options


def increment(day: date, stack: str) -> Flow:
    return "daily_increment", {"day": day.isoformat(), "stack": stack}


def state(stack: Stack) -> State:
    """Everything of a stack that a disturbance must not show in."""
    lake = stack.open_lake()
    with stack.open_warehouse() as warehouse:
        return {
            "differences": audit_stack(lake, warehouse),
            "history": [manifest for table in TABLES for manifest in history(lake, table)],
            "extracted": lake.files("extracted", recursive=True),
            "landing": contents(lake, "landing"),
            "quarantine": contents(lake, "quarantine"),
            **{f"ledger of {table}": warehouse.ledger(table) for table in TABLES},
            **{f"raw.{table}": rows(warehouse, table) for table in TABLES},
        }


def rows(warehouse: Warehouse, table: str) -> list[tuple[Any, ...]]:
    columns = ", ".join([*TABLES[table].history_schema.names, "_batch", "_revision", "_part", "_cursor", "_version"])
    return warehouse.query(f"select {columns} from raw.{table} order by _version, _batch")


def assert_equal(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for place in expected:
        assert found[place] == expected[place], place
    assert found["differences"] == found["extracted"] == []


class Cloud:
    """The emulated stack with what runs flows on it in processes, and an embedded one that nothing disturbs."""

    def __init__(self, home: Path, stack: Stack, processes: Callable[..., Processes]) -> None:
        self.stack = stack
        self.local = Stack.in_folder(home / "local")
        self.process = processes(home / "local", chunk_rows=CHUNK_ROWS, part_bytes=PART_BYTES)

    def dies(self, flow: Flow, death: Death) -> None:
        assert self.process.run(flow, death=death) == (-SIGKILL, death["function"]), (death, self.process.said())

    def survives(self, flow: Flow) -> None:
        assert self.process.run(flow) == (0, None), (flow, self.process.said())

    def undisturbed(self, *flows: Flow) -> State:
        assert self.process.run(*flows) == (0, None), self.process.said()
        return state(self.local)


@pytest.fixture(scope="module")
def cloud(
    prefect_url: str, tmp_path_factory: pytest.TempPathFactory, processes: Callable[..., Processes]
) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("cloud")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOMMERCE_HOME", str(home / "local"))
        patch.setenv("PREFECT_API_URL", prefect_url)
        patch.setenv("S3_UPLOAD_PART_MIN_SIZE", "2048")  # of moto: S3's own is 5 MB
        with emulated(home, staged=False) as stack:
            yield Cloud(home, stack, processes)


@pytest.fixture(scope="module")
def loaded(cloud: Cloud) -> State:
    """The state after a historical load that was killed in every step."""
    for death in HISTORY:
        cloud.dies(load_history(NAME), death)
    cloud.survives(load_history(NAME))
    return state(cloud.stack)


@pytest.fixture(scope="module")
def continued(cloud: Cloud, loaded: State) -> State:
    """The state after a day more, killed as well."""
    for death in INCREMENT:
        cloud.dies(increment(DAYS[0], NAME), death)
    cloud.survives(increment(DAYS[0], NAME))
    return state(cloud.stack)


def test_a_history_killed_in_every_step_ends_as_an_undisturbed_one(cloud: Cloud, loaded: State) -> None:
    assert_equal(loaded, cloud.undisturbed(load_history("local")))


def test_an_increment_killed_in_every_step_ends_as_an_undisturbed_one(cloud: Cloud, continued: State) -> None:
    assert_equal(continued, cloud.undisturbed(load_history("local"), increment(DAYS[0], "local")))


def test_a_transform_killed_in_its_middle_builds_what_an_undisturbed_one_does(cloud: Cloud, continued: State) -> None:
    cloud.dies(transform(NAME), TRANSFORM)
    cloud.survives(transform(NAME))
    cloud.undisturbed(load_history("local"), increment(DAYS[0], "local"), transform("local"))
    assert len(marts(cloud.stack)) > 30
    assert marts(cloud.stack) == marts(cloud.local)


def transform(stack: str) -> Flow:
    return "transform", {"stack": stack}


def marts(stack: Stack) -> State:
    """Every relation that dbt has built."""
    with stack.open_transformer() as warehouse:
        return {name: ordered(warehouse, name, columns) for name, columns in relations(warehouse).items()}


def drop_raw(stack: Stack) -> None:
    with stack.open_warehouse() as warehouse:
        warehouse.query("drop schema raw cascade")


def test_raw_dropped_is_loaded_once_by_two_processes_at_once(cloud: Cloud, continued: State) -> None:
    drop_raw(cloud.stack)
    cloud.process.begin(load_history(NAME))
    historical_load(START, THROUGH, scale=SCALE, stack=NAME)
    assert cloud.process.end() == (0, None), cloud.process.said()
    assert_equal(state(cloud.stack), continued)


def test_nothing_stays_of_a_batch_with_a_bad_part_in_its_middle(cloud: Cloud, continued: State) -> None:
    lake = cloud.stack.open_lake()
    manifest = read_manifest(lake, "interactions", THROUGH, 1)
    middle = f"{paths.history('interactions', THROUGH)}/{manifest.parts[len(manifest.parts) // 2].name}"
    good = lake.read(middle)
    assert len(manifest.parts) > 2
    drop_raw(cloud.stack)
    lake.write(middle, damaged(good))
    try:
        with pytest.raises(ReconcileError, match=r"interactions: could not load interactions 2024-12-31 revision 1"):
            historical_load(START, THROUGH, scale=SCALE, stack=NAME)
    finally:
        lake.write(middle, good)
    found = state(cloud.stack)
    assert found["raw.interactions"] == []
    assert found["ledger of interactions"] == {}
    assert found["raw.orders"] == continued["raw.orders"]
    cloud.survives(load_history(NAME))
    assert_equal(state(cloud.stack), continued)


def damaged(part: bytes) -> bytes:
    """A part of the same size and footer whose first pages are noise."""
    return part[:4] + b"\xff" * 2_000 + part[2_004:]


@pytest.fixture
def wire(cloud: Cloud) -> Iterator[Proxy]:
    """A proxy before Snowflake, by which the saved stack reaches it for as long as the test runs."""
    address = cloud.stack.warehouse
    straight = address.port
    with proxied(address.host, straight) as proxy:
        address.port = proxy.port
        list(save(cloud.stack, NAME))
        yield proxy
        address.port = straight
        list(save(cloud.stack, NAME))


def test_three_days_without_the_warehouse_are_loaded_once_it_is_back(
    cloud: Cloud, continued: State, wire: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for used in (load, reconcile):
        monkeypatch.setattr(flows.ingest, used.fn.__name__, used.with_options(retries=0))
    monkeypatch.setattr(snowflake_client, "_LIMITS", snowflake_client._LIMITS | {"login_timeout": 1})
    wire.refuse(FOREVER)
    for day in DAYS[1:4]:
        with pytest.raises(TransientError, match="no server answers"):
            daily_increment(day, NAME)
    lake = cloud.stack.open_lake()
    assert all(committed(lake, day) == set(TABLES) for day in DAYS[1:4])
    wire.heal()
    daily_increment(DAYS[4], NAME)
    found = state(cloud.stack)
    assert {batch for batch, _ in found["ledger of orders"]} == {THROUGH, *DAYS}
    cloud.undisturbed(load_history("local"), increment(DAYS[0], "local"))
    for day in DAYS[1:]:
        daily_increment(day)
    assert_equal(found, state(cloud.local))


def committed(lake: Lake, day: date) -> set[str]:
    """The tables that have committed a batch."""
    return {table for table in TABLES if any(batch == day for batch, _ in revisions(lake, table))}


def test_a_reset_killed_in_every_step_ends_as_a_first_load(cloud: Cloud, loaded: State) -> None:
    for death in RESET:
        cloud.dies(load_history(NAME, reset=True), death)
    cloud.survives(load_history(NAME))
    assert_equal(state(cloud.stack), loaded)
    assert marts(cloud.stack) == {}

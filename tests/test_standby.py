"""A reader on a replica: one instant for a whole run, what reaches it late, and what its replay takes away."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from prefect.filesystems import LocalFileSystem

from blocks.checks import check
from blocks.embedded import DuckDBFile
from blocks.stack import Stack
from tasks.errors import TransientError, is_transient
from tasks.extract import one_snapshot
from tasks.plan import Run
from tasks.shop import shop as simulation
from tasks.source.postgres import Source
from tasks.tables import TABLES
from tasks.window import Chunk, Window
from tests import emulated
from tests.postgres_server import Postgres, replicated

EVENTS = TABLES["interactions"]
DAY, AS_OF = date(2025, 1, 30), date(2025, 1, 31)
NAME = "block sqlalchemy-connector/prod-reader"
_schemas = count()


class Servers(NamedTuple):
    """A primary with the roles of the emulated stack, and its standby."""

    primary: Postgres
    standby: Postgres

    def level(self) -> None:
        """Wait until the standby has all that the primary has."""
        Source(self.standby.superuser).catch_up(Source(self.primary.superuser).position())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The standby replays nothing while the block runs."""
        self.standby.execute("select pg_wal_replay_pause()")
        while self.standby.execute("select pg_get_wal_replay_pause_state()") != [("paused",)]:
            pass
        try:
            yield
        finally:
            self.standby.execute("select pg_wal_replay_resume()")


ROLES = (
    f"create role writer login password '{emulated.PASSWORD}'",
    f"create role reader login password '{emulated.PASSWORD}'",
    "grant create on database postgres to writer",
)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="server-") as folder, replicated(Path(folder)) as (primary, standby):
        primary.execute(*ROLES)
        servers = Servers(primary, standby)
        servers.level()
        yield servers


class Shop:
    """A schema of its own, which the writer owns and the reader reads at the standby."""

    def __init__(self, servers: Servers) -> None:
        self.servers, self.schema = servers, f"shop_{next(_schemas)}"
        servers.primary.execute(
            f"create schema {self.schema} authorization writer",
            f"grant usage on schema {self.schema} to reader",
            f"alter default privileges for role writer in schema {self.schema} grant select on tables to reader",
        )
        self.writer, self.reader = self.source(servers.primary, "writer"), self.source(servers.standby, "reader")
        self.writer.create_tables()
        servers.level()

    def source(self, server: Postgres, role: str, *, statement_timeout: int = 30) -> Source:
        dsn = server.dsn(user=role, password=emulated.PASSWORD)
        return Source(dsn, schema=self.schema, name=NAME, lock_timeout=1, statement_timeout=statement_timeout)

    def write(self, *keys: int) -> None:
        """Write events of the last day before AS_OF."""
        noon = datetime.combine(DAY, datetime.min.time()) + timedelta(hours=12)
        usual: dict[str, object] = {"customer_id": 1, "event_type": "view", "device_type": "mobile", "session_id": "s"}
        usual |= {"event_date": noon, "created_at": noon}
        rows = [usual | {"event_id": key} for key in keys]
        self.writer.upsert(EVENTS, pa.Table.from_pylist(rows, EVENTS.shop_schema))


@pytest.fixture
def shop(servers: Servers) -> Shop:
    return Shop(servers)


def keys(source: Source, snapshot: str, as_of: date = AS_OF) -> list[int]:
    """The events that a run of the day before `as_of` takes."""
    chunk = Chunk("interactions", Window(as_of - timedelta(30), as_of))
    return sorted(source.copy_out(EVENTS, chunk, as_of, snapshot)["event_id"].to_pylist())


def test_all_chunks_of_a_run_see_one_instant(shop: Shop) -> None:
    shop.write(1)
    shop.servers.level()
    with shop.reader.snapshot() as snapshot:
        shop.write(2)
        shop.servers.level()
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: keys(shop.reader, snapshot), range(8))) == [[1]] * 8
        counted = shop.reader.counts(EVENTS, Window(DAY, AS_OF), AS_OF, snapshot)
        assert counted == {DAY: 1}
    with shop.reader.snapshot() as snapshot:
        assert keys(shop.reader, snapshot) == [1, 2]


def test_rows_that_reach_a_standby_late_are_taken_by_a_later_run(shop: Shop) -> None:
    with shop.servers.paused():
        shop.write(1)
        with shop.reader.snapshot() as snapshot:
            assert keys(shop.reader, snapshot) == []
    shop.servers.level()
    with shop.reader.snapshot() as snapshot:
        for later in (1, 29):
            assert keys(shop.reader, snapshot, AS_OF + timedelta(later)) == [1]


def test_a_standby_that_does_not_catch_up_is_given_up(shop: Shop) -> None:
    hurried = shop.source(shop.servers.standby, "reader", statement_timeout=1)
    with shop.servers.paused():
        shop.write(1)
        position = shop.writer.position()
        with pytest.raises(TransientError, match=r"standby is behind .*reader be the primary \(block .*prod-reader\)"):
            hurried.catch_up(position)
    shop.writer.catch_up(position)  # a primary is never behind


def test_a_statement_that_the_replay_cancels_is_tried_again(shop: Shop) -> None:
    shop.servers.standby.execute("alter system set max_standby_streaming_delay = '100ms'", "select pg_reload_conf()")
    schema = shop.schema
    shop.servers.primary.execute(
        f"create table {schema}.log (event_id bigint); insert into {schema}.log values (1)",
        f"drop table {schema}.interactions",
        f"create view {schema}.interactions as select event_id, timestamptz '2025-01-30' as created_at, "
        f"pg_sleep(60)::text as session_id from {schema}.log",
        f"grant select on {schema}.interactions to reader",
    )
    shop.servers.level()
    at_work = f"select 1 from pg_stat_activity where query like 'copy%{schema}%' and wait_event = 'PgSleep'"
    with shop.reader.snapshot() as snapshot, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(keys, shop.reader, snapshot)
        while not shop.servers.standby.execute(at_work):
            assert not reading.done()
        shop.servers.primary.execute(f"alter table {schema}.log add column note text")
        with pytest.raises(TransientError, match=r"due to conflict with recovery.*hot_standby_feedback") as raised:
            reading.result()
    assert is_transient(raised.value)


# In a stack


@pytest.fixture
def stack(shop: Shop, prefect_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stack:
    """The stack `replicated`, read at the standby."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    servers = shop.servers
    places = {"lake": LocalFileSystem(basepath=str(tmp_path / "lake")), "workspace": str(tmp_path)}
    places |= {"source_schema": shop.schema}
    made = Stack(
        source=emulated.database(servers.primary, "writer"),
        reader=emulated.database(servers.standby, "reader"),
        warehouse=DuckDBFile(path=str(tmp_path / "warehouse.duckdb")),
        **places,
    )
    made.save("replicated", overwrite=True, _sync=True)
    return made


def test_what_a_simulated_shop_wrote_is_read_however_late_it_arrives(stack: Stack, shop: Shop) -> None:
    """No later run would reach back to what a historical load has missed."""
    simulated, now = simulation.Shop(DAY, seed=1, scale=0.01), datetime.now(UTC)
    run = Run("id", now, "replicated", DAY, {}, simulated, simulated.identity, 0.01, backfill=True)

    def taken() -> list[int]:
        with one_snapshot(run) as snapshot:
            return keys(shop.reader, snapshot)

    waiting = "select 1 from pg_stat_activity where usename = 'reader' and query like '%pg_last_wal_replay_lsn%'"
    with ThreadPoolExecutor(1) as pool:
        with shop.servers.paused():
            shop.write(1)
            reading = pool.submit(copy_context().run, taken)
            while not shop.servers.standby.execute(waiting):
                assert not reading.done()
        assert reading.result() == [1]


def test_a_replica_is_told_as_one_and_refused_as_the_source(stack: Stack, servers: Servers) -> None:
    found = {one.slot: one for one in check(stack)}
    assert found["reader"].passed
    assert "may only read, on a replica: what reaches it late is taken by later runs" in found["reader"].said
    stack.source, stack.reader = emulated.database(servers.standby, "writer"), None
    (refused,) = (one for one in check(stack) if one.slot == "source")
    assert not refused.passed
    assert "is a standby, which nobody can write to: name the primary" in refused.said

"""Postgres as a server: TLS, roles, snapshots, and what is said when something is wrong."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, datetime
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.errors import PipelineError, SnapshotLostError, SourceError, TransientError, is_transient
from tasks.source.postgres import Source
from tasks.tables import TABLES
from tasks.window import Chunk, Window
from tests.postgres_server import Postgres, certify, served
from tests.proxy import proxied

EVENTS = TABLES["interactions"]
AS_OF = date(2025, 1, 31)
MONTH = Window(date(2025, 1, 1), AS_OF)
NOON = datetime.fromisoformat("2025-01-15 12:00")
NAME = "block sqlalchemy-connector/prod-source"
WRITER, READER = ("shop_writer", "wr1te-sekret"), ("shop_reader", "re4d-sekret")
_schemas = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that takes connections over TLS only, with a role that writes and one that reads."""
    with tempfile.TemporaryDirectory(prefix="server-") as folder, served(Path(folder)) as postgres:
        postgres.execute(*(f"create role {role} login password '{password}'" for role, password in (WRITER, READER)))
        yield postgres


class Shop:
    """A schema of its own, which the writer owns and the reader reads."""

    def __init__(self, server: Postgres) -> None:
        self.server, self.schema = server, f"shop_{next(_schemas)}"
        server.execute(
            f"create schema {self.schema} authorization shop_writer",
            f"grant usage on schema {self.schema} to shop_reader",
            f"alter default privileges for role shop_writer in schema {self.schema} "
            "grant select on tables to shop_reader",
        )
        self.writer, self.reader = self.source(*WRITER), self.source(*READER)

    def source(self, user: str, password: str | None, *, statement_timeout: int = 30, **options: object) -> Source:
        dsn = self.server.dsn(user=user, password=password, **options)
        patience = {"connect_timeout": 2, "lock_timeout": 1, "statement_timeout": statement_timeout}
        return Source(dsn, schema=self.schema, name=NAME, **patience)

    def slow(self, seconds: float) -> None:
        """Make reading the events take its time."""
        self.server.execute(
            f"create view {self.schema}.interactions as select 1::bigint as event_id, timestamptz '2025-01-02' as "
            f"created_at, pg_sleep({seconds})::text as session_id",
            f"grant select on {self.schema}.interactions to shop_reader",
        )


@pytest.fixture
def shop(server: Postgres) -> Shop:
    return Shop(server)


def events(*keys: int) -> pa.Table:
    usual: dict[str, object] = {"customer_id": 1, "event_type": "view", "device_type": "mobile", "session_id": "s"}
    usual |= {"event_date": NOON, "created_at": NOON}
    return pa.Table.from_pylist([usual | {"event_id": key} for key in keys], EVENTS.shop_schema)


def read(source: Source) -> list[int]:
    with source.snapshot() as snapshot:
        found = source.copy_out(EVENTS, Chunk("interactions", MONTH), AS_OF, snapshot)
    return sorted(found["event_id"].to_pylist())


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


# Roles


def test_one_role_writes_and_another_reads(shop: Shop) -> None:
    shop.writer.create_tables()
    assert shop.writer.upsert(EVENTS, events(*range(1000))) == 1000
    assert read(shop.reader) == list(range(1000))


def test_who_only_reads_cannot_write(shop: Shop) -> None:
    shop.writer.create_tables()
    with pytest.raises(SourceError, match=r"permission denied .*; grant it to the role .*prod-source"):
        shop.reader.upsert(EVENTS, events(1))
    assert read(shop.writer) == []


def test_rights_are_told(shop: Shop) -> None:
    nothing = shop.reader.rights()
    assert (nothing.role, nothing.creates, nothing.readable) == ("shop_reader", False, [])
    shop.writer.create_tables()
    writer, reader = shop.writer.rights(), shop.reader.rights()
    assert writer.creates
    assert writer.writable == writer.readable == sorted(["categories", "interactions", "order_items", "subcategories"])
    assert (reader.creates, reader.writable, reader.readable) == (False, [], writer.readable)


# What is wrong is said at once, and is not tried again


Wrong = Callable[[Shop], Source]

WRONG: dict[str, tuple[Wrong, str]] = {
    "password": (lambda shop: shop.source("shop_writer", "another"), "password authentication.*username and password"),
    "no password": (lambda shop: shop.source("shop_writer", None), "no password supplied.*username and password"),
    "role": (lambda shop: shop.source("stranger", "x"), "authentication failed.*username and password"),
    "database": (lambda shop: shop.source(*WRITER, dbname="shops"), '"shops" does not exist; correct .*database'),
    "host": (lambda shop: shop.source(*WRITER, host="postgres.invalid"), "not known; correct host"),
    "no TLS": (lambda shop: shop.source(*WRITER, sslmode="disable"), "no encryption; .*sslmode"),
    "no certificate": (lambda shop: shop.source(*WRITER, sslrootcert="/no.pem"), "not exist.*; correct .*sslrootcert"),
    "unknown issuer": (lambda shop: shop.source(*WRITER, sslrootcert="system"), "verify failed; correct .*sslrootcert"),
    "option": (lambda shop: shop.source(*WRITER, sslmode="some"), "invalid sslmode"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_setting_is_named(shop: Shop, wrong: str) -> None:
    make, said = WRONG[wrong]
    with within(5), pytest.raises(SourceError, match=said) as raised:
        make(shop).check()
    assert not is_transient(raised.value)
    assert NAME in str(raised.value)
    assert not any(password in str(raised.value) for _, password in (WRITER, READER))


def test_a_certificate_for_another_server_is_refused(shop: Shop, tmp_path: Path) -> None:
    certify(tmp_path)
    with pytest.raises(SourceError, match="certificate verify failed"):
        shop.source(*WRITER, sslrootcert=str(tmp_path / "server.pem")).check()


def test_tls_is_never_given_up() -> None:
    with tempfile.TemporaryDirectory(prefix="plain-") as folder, served(Path(folder), plain=True) as plain:
        certify(Path(folder))
        with pytest.raises(SourceError, match="does not support SSL, but SSL was required; correct sslmode"):
            Source(plain.dsn(user="postgres")).check()


def test_a_missing_table_and_a_missing_schema_are_named(shop: Shop) -> None:
    with pytest.raises(SourceError, match=r"there is no table .*interactions.*stack's source_schema") as missing:
        read(shop.reader)
    assert f"({NAME})" in str(missing.value)
    assert not is_transient(missing.value)
    gone = Source(shop.server.dsn(user=WRITER[0], password=WRITER[1]), schema="gone", name=NAME)
    with pytest.raises(SourceError, match=r'schema "gone" does not exist .*; create the schema'):
        gone.create_tables()


# What may pass is tried again


def test_a_server_that_is_down_may_come_back(shop: Shop) -> None:
    with within(5), pytest.raises(TransientError, match=r"refused.*reachable \(block .*prod-source\)"):
        shop.source(*WRITER, port=1).check()


def test_a_slow_statement_ends(shop: Shop) -> None:
    shop.slow(60)
    with within(10), pytest.raises(TransientError, match="statement timeout"):
        read(shop.source(*READER, statement_timeout=1))


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """The server's side of every connection neither answers nor ends."""
    os.kill(server.front, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.front, signal.SIGCONT)


def test_a_server_that_does_not_answer_is_given_up(shop: Shop) -> None:
    with frozen(shop.server), within(10), pytest.raises(TransientError, match="timeout expired"):
        shop.reader.check()


def test_a_connection_that_falls_silent_is_cut(shop: Shop) -> None:
    shop.slow(60)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, shop.source(*READER, statement_timeout=2))
        at_work(shop)
        with frozen(shop.server), within(10), pytest.raises(TransientError, match=r"closed|SYSCALL|EOF"):
            reading.result()


def at_work(shop: Shop) -> int:
    """Wait until a COPY of this shop runs; the process id of its backend."""
    query = f"select pid from pg_stat_activity where query like 'copy%{shop.schema}%' and state = 'active'"
    while not (found := shop.server.execute(query)):
        pass
    return int(found[0][0])


def test_a_connection_lost_amid_a_copy_may_be_made_again(shop: Shop) -> None:
    shop.slow(60)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, shop.reader)
        shop.server.execute(f"select pg_terminate_backend({at_work(shop)})")
        with within(10), pytest.raises(TransientError, match=r"terminating connection|closed unexpectedly"):
            reading.result()


@pytest.mark.parametrize("fault", ["cut", "silence"])
def test_a_transfer_that_ends_in_the_middle_leaves_nothing_and_succeeds_the_next_time(shop: Shop, fault: str) -> None:
    """Both ways: reset, or not another byte on a connection that stays open."""
    many = range(20_000)
    shop.writer.create_tables()
    with proxied(shop.server.host, shop.server.port) as wire:
        writer, reader = (shop.source(*role, port=wire.port, statement_timeout=1) for role in (WRITER, READER))
        getattr(wire, f"{fault}_requests")(after=200_000)
        with within(10), pytest.raises(TransientError):
            writer.upsert(EVENTS, events(*many))
        patient = shop.source(*WRITER, port=wire.port)
        assert read(patient) == []
        assert patient.upsert(EVENTS, events(*many)) == len(many)
        getattr(wire, f"{fault}_answers")(after=200_000)
        with within(10), pytest.raises(TransientError):
            read(reader)
        assert read(patient) == list(many)
        assert wire.made == 2


def test_a_slow_wire_is_only_slow(shop: Shop) -> None:
    shop.writer.create_tables()
    with proxied(shop.server.host, shop.server.port) as wire:
        wire.delay(0.02)
        slow = shop.source(*WRITER, port=wire.port)
        assert slow.upsert(EVENTS, events(1)) == 1
        assert read(slow) == [1]


def test_connections_that_are_refused_or_stalled_are_made_again(shop: Shop) -> None:
    with proxied(shop.server.host, shop.server.port) as wire:
        writer = shop.source(*WRITER, port=wire.port)
        for fault in (wire.refuse, wire.stall):
            fault()
            with within(10), pytest.raises(TransientError):
                writer.check()
            writer.check()


def test_a_snapshot_that_is_lost_is_told_from_other_errors(shop: Shop) -> None:
    shop.writer.create_tables()
    with shop.reader.snapshot() as snapshot:
        holder = "select pid from pg_stat_activity where state = 'idle in transaction' and usename = 'shop_reader'"
        ((pid,),) = shop.server.execute(holder)
        shop.server.execute(f"select pg_terminate_backend({pid})")
        while shop.server.execute(f"select pid from pg_stat_activity where pid = {pid}"):
            pass
        with pytest.raises(SnapshotLostError, match="read all tables again") as raised:
            shop.reader.counts(EVENTS, MONTH, AS_OF, snapshot)
    assert is_transient(raised.value)


def test_errors_are_the_pipelines_own(shop: Shop) -> None:
    with pytest.raises(PipelineError):
        Source("this is no dsn", name=NAME).check()

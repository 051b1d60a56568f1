"""Snowflake as the warehouse, on the emulator: what every warehouse must do, and what is Snowflake's own."""

# ruff: noqa: F811 - fixtures come from the tests of all warehouses

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from threading import Barrier, Thread
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from dbt.adapters.contracts.connection import Connection
from dbt.adapters.snowflake.connections import SnowflakeConnectionManager
from dbt.adapters.snowflake.connections import SnowflakeCredentials as SnowflakeAdapterCredentials
from prefect_snowflake import SnowflakeCredentials
from snowflake import connector

from blocks.snowflake import SnowflakeServer, dbt_environment
from tasks.errors import TransientError, WarehouseError, is_transient
from tasks.lake import paths
from tasks.lake.manifests import Manifest
from tasks.lake.store import LocalLake
from tasks.tables import TABLES
from tasks.warehouse import snowflake as module
from tasks.warehouse import snowflake_client
from tasks.warehouse.protocol import Warehouse
from tasks.warehouse.snowflake import SnowflakeWarehouse
from tests import snowflake_server
from tests.proxy import Proxy, http_answer, proxied
from tests.s3_server import KEY, SECRET, S3Server
from tests.test_load import (  # noqa: F401 - what any warehouse does is tested here with Snowflake
    AT,
    DAY,
    ITEMS,
    KEYS,
    NEXT,
    commit,
    keys,
    lake,
    raw,
    test_a_build_takes_what_was_loaded_before_it,
    test_a_large_part_and_an_empty_revision_are_loaded,
    test_a_revision_is_loaded_row_for_row,
    test_a_revision_that_is_not_its_manifest_leaves_nothing,
    test_a_revision_with_a_missing_part_leaves_nothing,
    test_columns_that_differ_in_case_stay_apart,
    test_every_declared_type_is_loaded,
    test_loading_twice_is_loading_once,
    test_new_columns_are_added_as_text,
    test_raw_gets_the_columns_it_lacks,
    test_the_last_build_is_remembered_without_news_and_forgotten,
    test_the_newest_cut_is_what_all_tables_have,
    test_threads_load_different_tables_and_revisions,
    test_totals_are_counted_in_raw_itself,
)

NUMBERS = itertools.count()
VERBS = (("put", 3), ("remove", 1))  # and in which of the pieces between its quotes a statement has the place


@pytest.fixture
def connection(snowflake: dict[str, Any]) -> dict[str, Any]:
    """How to connect to a database that has nothing in it."""
    return snowflake | {"database": f"test_{next(NUMBERS)}"}


@pytest.fixture
def warehouse(connection: dict[str, Any]) -> Iterator[SnowflakeWarehouse]:
    """A warehouse with an empty raw layer."""
    with SnowflakeWarehouse(connection) as opened:
        opened.prepare(TABLES.values())
        yield opened


# Once, and all or nothing


def test_two_sessions_load_once(lake: LocalLake, warehouse: Warehouse, connection: dict[str, Any]) -> None:
    manifests = [commit(lake, keys(0, 20_000), keys(20_000, 20_000), revision=revision) for revision in range(1, 4)]
    together = Barrier(2)

    def load(manifest: Any) -> bool:
        with SnowflakeWarehouse(connection) as mine:
            together.wait()
            return mine.load(lake, ITEMS, manifest, "run", AT)

    with ThreadPoolExecutor(2) as pool:
        for manifest in manifests:
            assert sorted(pool.map(load, [manifest, manifest])) == [False, True]
    expected = {(DAY, manifest.revision): (manifest.rows, manifest.digest) for manifest in manifests}
    assert warehouse.totals("order_items", None) == warehouse.ledger("order_items") == expected


def test_sessions_at_once_upload_to_places_of_their_own(
    lake: LocalLake, warehouse: Warehouse, connection: dict[str, Any]
) -> None:
    manifest = commit(lake, KEYS)
    snowflake_server.received(connection)
    assert warehouse.load(lake, ITEMS, manifest, "run", AT)
    assert not warehouse.load(lake, ITEMS, manifest, "run", AT)
    sent = snowflake_server.received(connection)
    put, removed = ([*dict.fromkeys(one.split("'")[at] for one in sent if one.startswith(verb))] for verb, at in VERBS)
    assert len(put) == 2
    assert put == removed
    assert [place for place in put for one in sent if one.startswith("copy") and place in one] == put[:1]


def test_raw_is_prepared_by_many_at_once(connection: dict[str, Any]) -> None:
    def prepare(_: int) -> None:
        with SnowflakeWarehouse(connection) as mine:
            mine.prepare(TABLES.values())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prepare, range(4)))
    with SnowflakeWarehouse(connection) as warehouse:
        statement = "select count(distinct table_name) from information_schema.columns where table_schema = 'RAW'"
        assert warehouse.query(statement) == [(8 + 8 + 2,)]


def test_a_claim_whose_loader_died_is_given_up(
    lake: LocalLake, warehouse: Warehouse, connection: dict[str, Any]
) -> None:
    manifest = commit(lake, KEYS)
    dead = SnowflakeWarehouse(connection)
    cursor = dead._connection.cursor()
    cursor.execute("begin")
    assert module._claim(cursor, manifest, "dead", AT)
    assert warehouse.ledger("order_items") == {}
    assert warehouse.load(lake, ITEMS, manifest, "run", AT)
    assert warehouse.query("select run from raw._batches") == [("run",)]


def test_a_part_that_is_bad_within_leaves_nothing(lake: LocalLake, warehouse: Warehouse) -> None:
    manifest = commit(lake, KEYS, keys(7, 5_000), keys(9_000))
    bad = lake.root / paths.history("order_items", DAY) / manifest.parts[1].name
    data = bytearray(bad.read_bytes())
    data[4:2_000] = b"\xff" * 1_996
    bad.write_bytes(data)
    with pytest.raises(WarehouseError, match="could not load order_items 2025-01-01 revision 1"):
        warehouse.load(lake, ITEMS, manifest, "run", AT)
    assert raw(warehouse, "*") == []
    assert warehouse.ledger("order_items") == {}


def test_a_copy_of_fewer_rows_than_committed_leaves_nothing(lake: LocalLake, warehouse: Warehouse) -> None:
    manifest = commit(lake, KEYS)
    part = replace(manifest.parts[0], rows=4)
    with pytest.raises(WarehouseError, match=r"COPY loaded 3 rows .* says 4; nothing was loaded"):
        warehouse.load(lake, ITEMS, replace(manifest, rows=4, parts=(part,)), "run", AT)
    assert raw(warehouse, "*") == []


def test_raw_cleared_loads_again_although_copy_remembers_files(lake: LocalLake, warehouse: Warehouse) -> None:
    manifests = [commit(lake, KEYS), commit(lake, KEYS.append_column("note", pa.array(["a", None, ""])), revision=2)]

    def load() -> list[tuple[Any, ...]]:
        for manifest in manifests:
            assert warehouse.load(lake, ITEMS, manifest, "run", AT)
        return raw(warehouse, "*") + warehouse.query("select * from raw._batches order by all")

    before = load()
    warehouse.query("create schema marts")
    warehouse.query("create view marts.v as select * from raw.order_items")
    warehouse.clear()
    statement = "select table_name from information_schema.tables where table_schema in ('RAW', 'MARTS')"
    assert warehouse.query(statement) == []
    warehouse.prepare(TABLES.values())
    assert load() == before


def test_a_file_that_was_loaded_before_is_loaded_if_the_ledger_lacks_it(
    lake: LocalLake, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.secrets, "token_hex", lambda _: "always")  # as an external stage has a file
    manifest = commit(lake, KEYS)
    assert warehouse.load(lake, ITEMS, manifest, "run", AT)
    before = raw(warehouse, "*")
    warehouse.query("delete from raw._batches_order_items")
    with pytest.raises(WarehouseError, match=r"has 6 rows .*, but its manifest says 3 "):
        warehouse.load(lake, ITEMS, manifest, "run", AT)
    assert raw(warehouse, "*") == before
    warehouse.query("delete from raw.order_items")
    assert warehouse.load(lake, ITEMS, manifest, "run", AT)
    assert raw(warehouse, "*") == before


class Answer:
    """A cursor that answers COPY as Snowflake's documentation says."""

    def __init__(self, columns: Sequence[str], *rows: tuple[object, ...]) -> None:
        self.description, self._rows = [SimpleNamespace(name=column) for column in columns], rows

    def execute(self, *_: object) -> None:
        """Take whatever comes."""

    def fetchall(self) -> Sequence[tuple[object, ...]]:
        return self._rows


COPIED = ("file", "status", "rows_parsed", "rows_loaded", "error_limit", "errors_seen")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Answer(["status"], ("Copy executed with 0 files processed.",)),
            r"over part-1-0.*\(Copy executed with 0 files",
        ),
        (Answer(COPIED, ("s3://b/h/part-1-0.parquet", "LOADED", 3, 3, 1, 0)), r"passed over part-1-1"),
        (
            Answer(COPIED, *((f"s3://b/h/part-1-{n}.parquet", "LOAD_SKIPPED", 0, 0, None, 1) for n in range(2))),
            r"passed over part-1-0.parquet of .* \(LOAD_SKIPPED\)",
        ),
        (
            Answer(COPIED, *((f"h/part-1-{n}.parquet", "LOADED", 3, 3 - n, 1, 0) for n in range(2))),
            r"COPY loaded 2 rows of part-1-1.parquet .* says 3; .*a part that was changed",
        ),
    ],
)
def test_every_answer_of_copy_but_all_rows_of_all_parts_is_an_error(lake: LocalLake, answer: Any, said: str) -> None:
    manifest = commit(lake, KEYS, keys(7, 3))
    with pytest.raises(WarehouseError, match=said):
        module._copy(answer, "'@s/h/'", manifest, manifest.parts, {})


def test_more_parts_than_one_copy_takes_are_loaded(
    lake: LocalLake, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILES_PER_COPY", 2)
    manifest = commit(lake, *(keys(10 * number) for number in range(5)))
    assert warehouse.load(lake, ITEMS, manifest, "run", AT)
    assert raw(warehouse, "distinct _part") == [(f"part-1-{number}.parquet",) for number in range(5)]


def in_bucket(s3: S3Server, bucket: str, lake: LocalLake, manifest: Manifest) -> str:
    """The address of a history in a new bucket that has the parts of a revision."""
    s3.make_bucket(bucket)
    for part in manifest.parts:
        path = f"{paths.history(manifest.table, manifest.batch)}/{part.name}"
        s3.client().upload_file(str(lake.root / path), bucket, f"shop/{path}")
    return f"s3://{bucket}/shop/history"


def test_an_external_stage_is_read_where_it_is(s3: S3Server, lake: LocalLake) -> None:
    manifest = commit(lake, KEYS, keys(7))
    url = in_bucket(s3, "stage", lake, manifest)
    secrets = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with snowflake_server.served(s3.endpoint, secrets) as served:
        with SnowflakeWarehouse(served, stage="raw.lake") as warehouse:
            warehouse.prepare(TABLES.values())
            warehouse.query(f"create stage raw.lake url = '{url}'")
            assert warehouse.load(lake, ITEMS, manifest, "run", AT)
            assert warehouse.totals("order_items", None) == {(DAY, 1): (5, manifest.digest)}
            assert raw(warehouse, "distinct _part") == [("part-1-0.parquet",), ("part-1-1.parquet",)]
        statements = snowflake_server.received(served)
    assert not [statement for statement in statements if statement.lower().startswith(("put", "remove"))]


def test_a_stage_is_a_name() -> None:
    with pytest.raises(WarehouseError, match="is no name of a stage"):
        SnowflakeWarehouse({}, stage="raw.lake/'; drop")


def test_a_column_of_another_type_is_refused(lake: LocalLake, warehouse: Warehouse) -> None:
    text = pa.table({"order_item_id": [1], "quantity": ["4"]})
    with pytest.raises(WarehouseError, match=r"another type .*quantity \(NUMBER\(38,0\), not VARCHAR\); drop raw"):
        warehouse.load(lake, ITEMS, commit(lake, text), "run", AT)


# Errors


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("390100", "correct user and password"),
        ("390144", "rsa_public_key"),
        ("390189", "correct role"),
        ("390201", "correct warehouse"),
        ("390303", "renew token"),
        ("390318", "renew token"),
        ("390999", r"refused-390999 of account emulated: .*correct account, user, role and the private_key, token or"),
    ],
)
def test_a_refused_login_says_what_to_do(snowflake: dict[str, Any], code: str, remedy: str) -> None:
    started = monotonic()
    with pytest.raises(WarehouseError, match=remedy) as caught:
        SnowflakeWarehouse(snowflake | {"user": f"refused-{code}", "password": "hunter2"}, name="block x/y")
    assert monotonic() - started < 30
    assert str(caught.value).endswith(" (block x/y)")
    assert not is_transient(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_private_key_that_is_none_says_what_to_do(snowflake: dict[str, Any]) -> None:
    given = {name: value for name, value in snowflake.items() if name != "password"}
    with pytest.raises(WarehouseError, match="correct private_key and private_key_passphrase"):
        SnowflakeWarehouse(given | {"authenticator": "SNOWFLAKE_JWT", "private_key": b"no key"})


def test_a_server_that_does_not_answer_is_tried_again(snowflake: dict[str, Any]) -> None:
    started = monotonic()
    with pytest.raises(TransientError, match="no server answers"):
        SnowflakeWarehouse(snowflake | {"port": 9, "login_timeout": 3})
    assert monotonic() - started < 30


def test_an_account_that_is_none_is_named(snowflake: dict[str, Any]) -> None:
    with proxied(snowflake["host"], snowflake["port"]) as wire:
        wire.answer(http_answer("404 Not Found", "{}"))
        with pytest.raises(WarehouseError, match=r"loader of account emulated: .*404 Not Found.*; correct account of"):
            SnowflakeWarehouse(snowflake | {"port": wire.port})


@pytest.mark.parametrize(
    ("wrong", "stage", "said"),
    [
        ({"warehouse": "missing"}, None, r"Object does not exist, or .*docs/snowflake.sql"),
        ({"warehouse": "exhausted"}, None, r"exceeded its quota; raise credit_quota of the resource monitor,"),
        ({}, "raw.nowhere", r"Stage 'TEST_\d+.RAW.NOWHERE' does not exist or not authorized; .*docs/snowflake.sql"),
    ],
)
def test_what_a_login_does_not_use_is_checked(
    connection: dict[str, Any], wrong: dict[str, str], stage: str | None, said: str
) -> None:
    with SnowflakeWarehouse(connection) as right:
        right.prepare(())
        right.check()
    with SnowflakeWarehouse(connection | wrong, stage=stage, name="block x/y") as warehouse:
        with pytest.raises(WarehouseError, match=rf"{said} .* \(block x/y\)$") as caught:
            warehouse.check()
        assert not is_transient(caught.value)


def test_a_statement_that_is_refused_says_why(warehouse: Warehouse) -> None:
    with pytest.raises(
        WarehouseError,
        match=r"could not answer a query: .*NOWHERE.*; correct the name, or run docs/snowflake.sql .*block",
    ):
        warehouse.query("select * from nowhere.at_all")
    assert warehouse.query("select 1") == [(1,)]


def test_a_session_has_a_time_for_locks_and_statements() -> None:
    assert set(module._SESSION) >= {"LOCK_TIMEOUT", "STATEMENT_TIMEOUT_IN_SECONDS", "TIMEZONE"}


def test_every_statement_of_a_load_says_what_it_is_for(lake: LocalLake, connection: dict[str, Any]) -> None:
    with SnowflakeWarehouse(connection, tag={"flow": "daily-increment", "run": "r1"}) as warehouse:
        warehouse.prepare([ITEMS])
        snowflake_server.received(connection)
        odd = KEYS.append_column("odd", pa.array(["a", "b", "c"]))
        assert warehouse.load(lake, ITEMS, commit(lake, odd), "r2", AT)
        sent = snowflake_server.sent(connection)
        warehouse.query("select 1")
        (asked,) = snowflake_server.sent(connection)
    assert {one.statement.split()[0] for one in sent} >= {"alter", "put", "begin", "merge", "copy", "commit"}
    session = {"flow": "daily-increment", "run": "r1"}
    tag = {"flow": "daily-increment", "run": "r2", "table": "order_items", "batch": "2025-01-01"}
    put = [json.loads(one.tag) for one in sent if one.statement.startswith("put")]
    others = [json.loads(one.tag) for one in sent if not one.statement.startswith("put")]
    assert others == [tag] * len(others)
    assert put == [tag, session]  # the connector itself asks for the place once more
    assert json.loads(asked.tag) == session


# The wire


@pytest.fixture
def wire(connection: dict[str, Any]) -> Iterator[Proxy]:
    """A proxy before the emulator."""
    with proxied(connection["host"], connection["port"]) as proxy:
        yield proxy


@pytest.fixture
def brief(connection: dict[str, Any], wire: Proxy) -> dict[str, Any]:
    """How to connect through the proxy, with a second for an answer and two for the attempts at a request."""
    return connection | {"port": wire.port, "network_timeout": 2, "socket_timeout": 1}


def test_a_statement_may_take_longer_than_a_request_is_tried(wire: Proxy, brief: dict[str, Any]) -> None:
    with SnowflakeWarehouse(brief | {"socket_timeout": 20}) as warehouse:
        snowflake_server.received(brief)
        wire.delay(2.5)
        assert warehouse.query("select 42") == [(42,)]
        wire.delay(0)
        assert snowflake_server.received(brief) == ["select 42"]


FAULTS: dict[str, Callable[[Proxy, int], None]] = {
    "503": lambda wire, times: wire.answer(http_answer("503 Service Unavailable", "{}"), times),
    "429": lambda wire, times: wire.answer(http_answer("429 Too Many Requests", "{}"), times),
    "520": lambda wire, times: wire.answer(http_answer("520 Whatever", "{}"), times),
    "stall": lambda wire, times: (wire.reset(), wire.stall(times))[0],
    "refusal": lambda wire, times: (wire.reset(), wire.refuse(times))[0],
}


def raised_within(seconds: float, call: Callable[[], object]) -> BaseException | None:
    """What a call raises, if it ends in time; it is left to itself otherwise."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except (TransientError, connector.errors.Error) as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.exception(seconds)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_query_survives_a_short_fault_and_ends_with_a_long_one(
    wire: Proxy, brief: dict[str, Any], fault: str
) -> None:
    with SnowflakeWarehouse(brief) as warehouse:
        FAULTS[fault](wire, 1)
        assert warehouse.query("select 42") == [(42,)]
        assert wire.made == 1
        FAULTS[fault](wire, 10**6)
        error = raised_within(20, lambda: warehouse.query("select 42"))
    assert isinstance(error, TransientError)
    assert str(error).startswith("could not answer a query: ")


def test_a_session_that_was_lost_in_a_transaction_is_not_used_again(
    lake: LocalLake, warehouse: Warehouse, wire: Proxy, brief: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, copy = commit(lake, KEYS), module._copy

    def cut(*arguments: Any) -> None:
        wire.reset()
        wire.refuse(10**6)
        copy(*arguments)

    monkeypatch.setattr(module, "_copy", cut)
    with SnowflakeWarehouse(brief) as mine:
        with pytest.raises(TransientError, match="could not load order_items"):
            mine.load(lake, ITEMS, manifest, "run", AT)
        wire.heal()
        monkeypatch.setattr(module, "_copy", copy)
        with pytest.raises(TransientError, match="the connection was closed"):
            mine.load(lake, ITEMS, manifest, "run", AT)
    assert warehouse.load(lake, ITEMS, manifest, "run", AT)
    assert warehouse.totals("order_items", None) == {(DAY, 1): (3, manifest.digest)}


def test_dbt_waits_no_longer(wire: Proxy, brief: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "connect", connector.Connect)
    monkeypatch.setattr(snowflake_client, "_LIMITS", snowflake_client._LIMITS | {"network_timeout": 1})
    login = {name: brief[name] for name in ("account", "user", "password", "role")}
    place = {name: brief[name] for name in ("host", "port", "protocol", "database", "warehouse")}
    block = SnowflakeServer(credentials=SnowflakeCredentials(**login), schema="raw", **place)
    dbt_environment(block, "block x/y")
    credentials = SnowflakeAdapterCredentials(schema="main", authenticator="snowflake", **login, **place)
    opened = SnowflakeConnectionManager.open(Connection("snowflake", "any", credentials))
    wire.reset()
    wire.refuse(10**6)
    cursor = opened.handle.cursor()
    assert isinstance(raised_within(20, lambda: cursor.execute("select 1")), connector.errors.OperationalError)


# The emulator's mends


@pytest.fixture
def ask(connection: dict[str, Any]) -> Iterator[Callable[..., list[Any]]]:
    """What runs a statement on a database of its own."""
    with connector.connect(**connection, paramstyle="qmark", network_timeout=10) as opened:
        yield lambda statement, *values: opened.cursor().execute(statement, values or None).fetchall()


def test_the_emulator_keeps_null_timestamps_and_exact_sums(ask: Callable[..., list[Any]]) -> None:
    assert ask("select cast(null as timestamp_ntz)") == [(None,)]
    assert ask("select sum(x) from (select cast(0.1 as number(12, 2)) as x)") == [(Decimal("0.10"),)]
    assert ask("select cast(? as number(38, 0))", 2**100) == [(2**100,)]


def test_the_emulator_answers_what_it_cannot_do_at_once(ask: Callable[..., list[Any]]) -> None:
    started = monotonic()
    with pytest.raises(connector.errors.ProgrammingError):
        ask("select no_such_function(1)")
    assert monotonic() - started < 5


def test_the_emulator_merges_swaps_and_makes_temporary_tables(ask: Callable[..., list[Any]]) -> None:
    ask("create schema s")
    ask("create table s.a (k integer, v integer)")
    ask("create temporary table s.b as select 1 as k, 2 as v")
    ask("begin")
    ask("merge into s.a as t using s.b as n on t.k = n.k when not matched then insert (k, v) values (n.k, v * 10)")
    ask("merge into s.a as t using s.b as n on t.k = n.k when matched then update set v = n.v + n.k")
    ask("commit")
    assert ask("select * from s.a") == [(1, 3)]
    ask("alter table s.a swap with s.b")
    assert ask("select v from s.a") == [(2,)]


def test_the_emulator_lets_one_transaction_write_a_table(
    ask: Callable[..., list[Any]], connection: dict[str, Any]
) -> None:
    ask("create schema s")
    ask("create table s.a (k integer)")
    ask("begin")
    ask("insert into s.a select 1")

    def other() -> list[Any]:
        with connector.connect(**connection, network_timeout=10) as opened:
            return opened.cursor().execute("insert into s.a select count(*) + 1 from s.a").fetchall()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other)
        ask("insert into s.a select 2")
        ask("commit")
        waiting.result()
    assert ask("select k from s.a order by k") == [(1,), (2,), (3,)]


def test_batches_of_many_days_are_marked_as_built(lake: LocalLake, warehouse: Warehouse) -> None:
    for number in range(3):
        warehouse.load(lake, ITEMS, commit(lake, keys(1), batch=DAY + timedelta(number)), "run", AT)
    warehouse.mark_built(warehouse.unbuilt(NEXT + timedelta(9)), NEXT + timedelta(9), "build", AT)
    assert warehouse.unbuilt(NEXT + timedelta(9)) == []
    assert warehouse.query("select count(*) from raw._built") == [(3,)]

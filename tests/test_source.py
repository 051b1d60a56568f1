"""The shop's database: rows in, rows out, and the embedded server."""

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from tasks.errors import SnapshotLostError, SourceError, TransientError
from tasks.source import ddl, embedded
from tasks.source.postgres import Source
from tasks.source.rows import selection
from tasks.tables import TABLES, Table
from tasks.window import Chunk, Window, plan_chunks
from tests.waiting import until

ROOT = Path(__file__).parents[1]
CATEGORIES, SUBCATEGORIES = TABLES["categories"], TABLES["subcategories"]
ITEMS, EVENTS = TABLES["order_items"], TABLES["interactions"]
FIRST, LAST, AS_OF = date(2025, 1, 1), date(2025, 1, 30), date(2025, 1, 31)
MONTH = Window(FIRST, AS_OF)
NOON = datetime.fromisoformat("2025-01-15 12:00")
_schemas = count()


class Shop:
    """A schema of its own in the test server, with SQL at hand."""

    def __init__(self, dsn: str) -> None:
        self.dsn, self.schema = dsn, f"shop_{next(_schemas)}"
        self.execute(sql.SQL("create schema {}").format(sql.Identifier(self.schema)))
        self.source = Source(dsn, schema=self.schema)

    def execute(self, statement: str | sql.Composable, parameters: Any = None) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.dsn, options=f"-c search_path={self.schema} -c timezone=UTC")
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def read(self, table: Table, window: Window = MONTH, as_of: date = AS_OF) -> pa.Table:
        with self.source.snapshot() as snapshot:
            return self.source.copy_out(table, Chunk(table.name, window), as_of, snapshot)

    def keys(self, table: Table, window: Window = MONTH, as_of: date = AS_OF) -> list[int]:
        return sorted(self.read(table, window, as_of)[table.key].to_pylist())


@pytest.fixture
def bare(postgres_folder: Path) -> Shop:
    """A schema without tables."""
    return Shop(embedded.start(postgres_folder))


@pytest.fixture
def shop(bare: Shop) -> Shop:
    """A schema with the shop's own tables."""
    bare.source.create_tables()
    return bare


def at(instant: str) -> datetime:
    """An instant in UTC, without a zone, as the shop has them."""
    return datetime.fromisoformat(instant)


def items(*rows: dict[str, Any]) -> pa.Table:
    usual = {
        "order_id": 1,
        "product_id": 2,
        "quantity": 1,
        "unit_price": Decimal("9.99"),
        "total_price": Decimal("9.99"),
    }
    return pa.Table.from_pylist(
        [usual | {"created_at": NOON, "updated_at": NOON} | row for row in rows], ITEMS.shop_schema
    )


def events(*rows: dict[str, Any]) -> pa.Table:
    usual = {"customer_id": 1, "product_id": 2, "event_type": "view", "device_type": "mobile", "session_id": "s"}
    return pa.Table.from_pylist(
        [usual | {"event_date": NOON, "created_at": NOON} | row for row in rows], EVENTS.shop_schema
    )


# Tables


def test_tables_have_keys_constraints_and_an_index_on_the_cursor(shop: Shop) -> None:
    constraints = shop.execute(
        "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint "
        "where connamespace = %s::regnamespace and contype in ('p', 'f') order by 1, 2",
        [shop.schema],
    )
    assert constraints == [
        ("categories", "PRIMARY KEY (category_id)"),
        ("interactions", "PRIMARY KEY (event_id)"),
        ("order_items", "PRIMARY KEY (order_item_id)"),
        ("subcategories", "FOREIGN KEY (category_id) REFERENCES categories(category_id)"),
        ("subcategories", "PRIMARY KEY (subcategory_id)"),
    ]
    indexes = dict(shop.execute("select indexname, indexdef from pg_indexes where schemaname = %s", [shop.schema]))
    assert indexes["order_items_cursor"].endswith("(COALESCE(updated_at, created_at))")
    assert indexes["interactions_cursor"].endswith("(COALESCE(created_at))")


@pytest.mark.parametrize("table", [CATEGORIES, SUBCATEGORIES, ITEMS, EVENTS], ids=lambda table: table.name)
def test_tables_have_the_declared_columns(shop: Shop, table: Table) -> None:
    found = shop.execute(
        "select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute "
        "where attrelid = %s::regclass and attnum > 0 order by attnum",
        [table.name],
    )
    kinds = {"INTEGER": "bigint", "TEXT": "text", "INSTANT": "timestamp with time zone", "MONEY": "numeric(12,2)"}
    assert found == [(column.name, kinds[column.type.name], not column.nullable) for column in table.columns]


def test_tables_can_be_created_by_many_at_once_and_cleared(bare: Shop) -> None:
    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(bare.source.create_tables) for _ in range(8)]:
            made.result()
    bare.source.upsert(ITEMS, items({"order_item_id": 1}))
    bare.source.create_tables()
    assert bare.keys(ITEMS) == [1]
    bare.source.clear()
    bare.source.clear()
    assert bare.execute("select count(*) from pg_tables where schemaname = %s", [bare.schema]) == [(0,)]


# Rows in


def test_upsert_takes_only_what_is_newer(shop: Shop) -> None:
    def write(hour: int, quantity: int) -> int:
        row = {"order_item_id": 1, "updated_at": NOON + timedelta(hours=hour), "quantity": quantity}
        return shop.source.upsert(ITEMS, items(row))

    assert [write(1, 10), write(1, 11), write(0, 12)] == [1, 0, 0]
    assert shop.read(ITEMS)["quantity"].to_pylist() == [10]
    assert write(2, 13) == 1
    (row,) = shop.read(ITEMS).to_pylist()
    assert (row["quantity"], row["updated_at"], row["created_at"]) == (13, NOON + timedelta(hours=2), NOON)


def test_upsert_compares_row_by_row(shop: Shop) -> None:
    later = NOON + timedelta(hours=1)
    shop.source.upsert(ITEMS, items({"order_item_id": 1, "updated_at": later}, {"order_item_id": 2}))
    day = items(
        *({"order_item_id": key, "updated_at": NOON + timedelta(minutes=1), "quantity": 7} for key in (1, 2, 3))
    )
    assert shop.source.upsert(ITEMS, day) == 2
    assert sorted(
        zip(*(shop.read(ITEMS)[name].to_pylist() for name in ("order_item_id", "quantity")), strict=True)
    ) == [
        (1, 1),
        (2, 7),
        (3, 7),
    ]


def test_upsert_leaves_a_row_that_cannot_change(shop: Shop) -> None:
    assert shop.source.upsert(EVENTS, events({"event_id": 1})) == 1
    again = events({"event_id": 1, "event_type": "purchase"}, {"event_id": 2})
    assert shop.source.upsert(EVENTS, again) == 1
    assert Counter(shop.read(EVENTS)["event_type"].to_pylist()) == {"view": 2}


def test_upsert_writes_all_or_nothing(shop: Shop) -> None:
    bad = items({"order_item_id": 1}, {"order_item_id": 2, "quantity": None})
    with pytest.raises(SourceError, match=r"could not write order_items: .*quantity"):
        shop.source.upsert(ITEMS, bad)
    assert shop.keys(ITEMS) == []
    assert shop.source.upsert(ITEMS, items()) == 0


def test_rows_are_staged_only_where_some_of_their_keys_may_be_there(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = list[Table]()

    def create_incoming(table: Table, schema: str) -> sql.Composed:
        staged.append(table)
        return original(table, schema)

    original = ddl.create_incoming
    monkeypatch.setattr(ddl, "create_incoming", create_incoming)
    assert shop.source.upsert(ITEMS, items({"order_item_id": 4}, {"order_item_id": 6})) == 2
    assert shop.source.upsert(ITEMS, items({"order_item_id": 7}, {"order_item_id": 8})) == 2
    assert staged == []
    assert shop.source.upsert(ITEMS, items({"order_item_id": 9}, {"order_item_id": 8})) == 1
    assert staged == [ITEMS]
    assert shop.keys(ITEMS) == [4, 6, 7, 8, 9]


def test_a_row_that_another_writer_commits_meanwhile_is_compared_with(shop: Shop) -> None:
    ours = items({"order_item_id": 1}, {"order_item_id": 2, "quantity": 5, "updated_at": NOON + timedelta(hours=1)})
    other = psycopg2.connect(shop.dsn, options=f"-c search_path={shop.schema} -c timezone=UTC")
    with closing(other), ThreadPoolExecutor(1) as pool:
        insert = "insert into order_items select key, 1, 2, 3, 9.99, 9.99, %s, %s from generate_series(1, 2) key"
        other.cursor().execute(insert, [NOON, NOON])
        written = pool.submit(shop.source.upsert, ITEMS, ours)
        until(
            lambda: shop.execute(
                "select 1 from pg_stat_activity where query like 'copy %' and wait_event_type = 'Lock'"
            )
        )
        other.commit()
        assert written.result() == 1
    assert sorted(shop.read(ITEMS)["quantity"].to_pylist()) == [3, 5]


def test_concurrent_upserts_keep_the_newest(shop: Shop) -> None:
    days = [
        items(
            *({"order_item_id": key, "updated_at": NOON + timedelta(hours=n), "quantity": n + 1} for key in range(200))
        )
        for n in range(8)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda records: shop.source.upsert(ITEMS, records), days))
    assert set(shop.read(ITEMS)["quantity"].to_pylist()) == {8}


TEXTS = [
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    '"',
    '""',
    "a,b",
    "a\nb",
    "a\r\nb",
    "'; drop table x --",
    "日本 ñ 🛒",
    "\t\\t",
    "#",
]


def test_rows_come_back_as_they_were_written(shop: Shop) -> None:
    written = events(
        *(
            {"event_id": key, "session_id": text, "product_id": None if key % 2 else key}
            for key, text in enumerate(TEXTS)
        ),
        {"event_id": 2**63 - 1, "created_at": at("2025-01-02 03:04:05.678901")},
        {"event_id": -1, "created_at": at("2025-01-02")},
    )
    shop.source.upsert(EVENTS, written)
    found = shop.read(EVENTS)
    assert found.schema == EVENTS.history_schema
    assert found.sort_by("event_id") == written.sort_by("event_id")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_any_text_comes_back(shop: Shop, texts: list[str]) -> None:
    shop.execute("truncate interactions")
    written = events(*({"event_id": key, "session_id": text} for key, text in enumerate(texts)))
    shop.source.upsert(EVENTS, written)
    assert shop.read(EVENTS).sort_by("event_id")["session_id"].to_pylist() == texts


def test_money_comes_back_to_the_cent(shop: Shop) -> None:
    prices = [Decimal("0.00"), Decimal("0.01"), Decimal("9999999999.99"), Decimal("-1.10")]
    written = items(*({"order_item_id": key, "unit_price": price} for key, price in enumerate(prices)))
    shop.source.upsert(ITEMS, written)
    assert shop.read(ITEMS).sort_by("order_item_id") == written


# Rows out


def test_a_window_is_half_open_to_the_microsecond(shop: Shop) -> None:
    moment = timedelta(microseconds=1)
    start, end = at("2025-01-10"), at("2025-01-12")
    instants = [start - moment, start, end - moment, end]
    shop.source.upsert(EVENTS, events(*({"event_id": key, "created_at": at} for key, at in enumerate(instants))))
    window = Window(start.date(), end.date())
    assert shop.keys(EVENTS, window) == [1, 2]
    assert shop.keys(EVENTS, window, as_of=date(2025, 1, 11)) == [1]
    with shop.source.snapshot() as snapshot:
        assert shop.source.counts(EVENTS, window, AS_OF, snapshot) == {date(2025, 1, 10): 1, date(2025, 1, 11): 1}
        assert shop.source.counts(EVENTS, window, date(2025, 1, 11), snapshot) == {date(2025, 1, 10): 1}


def test_the_cursor_is_updated_at_else_created_at(bare: Shop) -> None:
    bare.execute(
        "create table order_items as select * from (values (1, '2025-01-05'::timestamptz, null::timestamptz), "
        "(2, '2024-01-05', '2025-01-06'), (3, '2025-01-05', '2025-03-01'), (4, '2024-12-31 23:00-05', null)) "
        "as t (order_item_id, created_at, updated_at)"
    )
    assert bare.keys(ITEMS) == [1, 2, 4]
    with bare.source.snapshot() as snapshot:
        found = bare.source.counts(ITEMS, MONTH, AS_OF, snapshot)
    assert found == {date(2025, 1, 1): 1, date(2025, 1, 5): 1, date(2025, 1, 6): 1}


def test_a_snapshot_holds_the_database_still(shop: Shop) -> None:
    shop.source.upsert(ITEMS, items({"order_item_id": 1}))
    with shop.source.snapshot() as snapshot:
        shop.source.upsert(ITEMS, items({"order_item_id": 1, "updated_at": NOON + timedelta(1)}, {"order_item_id": 2}))
        with ThreadPoolExecutor(2) as pool:
            read = pool.submit(shop.source.copy_out, ITEMS, Chunk("order_items", MONTH), AS_OF, snapshot)
            counted = pool.submit(Source(shop.dsn, schema=shop.schema).counts, ITEMS, MONTH, AS_OF, snapshot)
            assert read.result()["updated_at"].to_pylist() == [NOON]
            assert counted.result() == {NOON.date(): 1}
    assert shop.keys(ITEMS) == [1, 2]
    with pytest.raises(SnapshotLostError, match="snapshot"):
        shop.source.counts(ITEMS, MONTH, AS_OF, snapshot)


CURSORS = "array[null, 'infinity', '-infinity', '2025-01-03 10:00', '2025-01-30 23:59:59', '2025-01-31', '2024-12-31']"


@pytest.mark.parametrize("key", ["n", "'id-' || n", "n / 2.0", "case when n % 5 > 0 then n end"])
@pytest.mark.parametrize("limit", [3, 40, 1_000])
def test_every_row_is_in_exactly_one_chunk(bare: Shop, key: str, limit: int) -> None:
    bare.execute(
        f"create table interactions as select {key} as event_id, n::text as session_id, "
        f"({CURSORS})[1 + n % 7]::timestamptz as created_at from generate_series(-70, 69) as n"
    )
    with bare.source.snapshot() as snapshot:
        counts = bare.source.counts(EVENTS, MONTH, AS_OF, snapshot)
        plan = plan_chunks("interactions", counts, MONTH, limit)
        parts = [bare.source.copy_out(EVENTS, chunk, AS_OF, snapshot) for chunk in plan]
    taken = Counter(name for part in parts for name in part["session_id"].to_pylist())
    expected = bare.execute(
        "select session_id from interactions where created_at is null or not isfinite(created_at) "
        "or created_at >= '2025-01-01' and created_at < '2025-01-31'"
    )
    assert taken == Counter(name for (name,) in expected)
    assert sum(counts.values()) == len(expected) == sum(taken.values())


def test_a_reference_table_is_taken_whole_and_once(shop: Shop) -> None:
    days = [at("2020-01-01"), at("2025-01-05"), at("2025-01-30"), at("2025-02-02")]
    rows = [
        {"category_id": key, "category_name": "c", "created_at": day, "updated_at": day} for key, day in enumerate(days)
    ]
    shop.source.upsert(CATEGORIES, pa.Table.from_pylist(rows, CATEGORIES.shop_schema))
    with shop.source.snapshot() as snapshot:
        counts = shop.source.counts(CATEGORIES, MONTH, AS_OF, snapshot)
        assert counts == {LAST: 3}
        for limit in (100, 2):
            plan = plan_chunks("categories", counts, MONTH, limit)
            parts = [shop.source.copy_out(CATEGORIES, chunk, AS_OF, snapshot) for chunk in plan]
            assert sorted(key for part in parts for key in part["category_id"].to_pylist()) == [0, 1, 2]


@pytest.mark.parametrize("analyzed", [True, False])
def test_the_daily_read_uses_the_index(shop: Shop, analyzed: bool) -> None:
    shop.execute(
        "insert into order_items select n, 1, 1, 1, 1, 1, t, t from generate_series(1, 50000) as n, "
        "lateral (select timestamptz '2023-01-01' + n * interval '22 minutes' as t) as times"
    )
    if analyzed:
        shop.execute("analyze order_items")
    columns = {
        name: "timestamp with time zone" if name.endswith("_at") else "bigint" for name in ITEMS.shop_schema.names
    }
    query = selection(ITEMS, shop.schema, columns, Chunk("order_items", MONTH), AS_OF)
    plan = "\n".join(line for (line,) in shop.execute(sql.SQL("explain {}").format(query)))
    assert "order_items_cursor" in plan
    assert "Seq Scan" not in plan


# A real shop's tables


def test_columns_are_those_of_the_table(bare: Shop) -> None:
    bare.execute(
        "create table order_items (order_item_id integer, quantity text, unit_price numeric, total_price float8, "
        'updated_at timestamp, extra jsonb, flag boolean, "Odd Name" text[], gone int); '
        "alter table order_items drop column gone; "
        "insert into order_items values "
        "(7, ' 3', 1.5, 2.5, '2025-01-02 03:04:05.6', '{\"a\": [1]}', true, '{x,\"y z\"}')"
    )
    found = bare.read(ITEMS)
    text = pa.string()
    types = [pa.int64(), text, pa.decimal128(12, 2), text, pa.timestamp("us"), text, text, text]
    assert found.schema.types == types
    assert found.to_pylist() == [
        {
            "order_item_id": 7,
            "quantity": " 3",
            "unit_price": Decimal("1.50"),
            "total_price": "2.5",
            "updated_at": at("2025-01-02 03:04:05.600000"),
            "extra": '{"a": [1]}',
            "flag": "true",
            "Odd Name": '{x,"y z"}',
        }
    ]


@pytest.mark.parametrize(
    ("column", "kind", "value"),
    [
        ("unit_price", "numeric", "NaN"),
        ("unit_price", "numeric", "1.234"),
        ("unit_price", "numeric", "12345678901.00"),
        ("quantity", "numeric", "1.5"),
        ("created_at", "timestamptz", "infinity"),
        ("created_at", "timestamptz", "10000-01-01 00:00:00"),
        ("created_at", "timestamptz", "0044-03-15 00:00:00 BC"),
    ],
)
def test_a_value_that_does_not_fit_makes_all_columns_text(bare: Shop, column: str, kind: str, value: str) -> None:
    bare.execute(
        f"create table order_items (order_item_id bigint, {column} {kind}, updated_at timestamptz, note text); "
        f"insert into order_items values (1, null, '2025-01-02 03:04:05+01', ''), (2, '{value}', '2025-01-02', null)"
    )
    found = bare.read(ITEMS)
    assert set(found.schema.types) == {pa.string()}
    assert sorted(found.to_pylist(), key=lambda row: row["order_item_id"]) == [
        {"order_item_id": "1", column: None, "updated_at": "2025-01-02 02:04:05", "note": ""},
        {"order_item_id": "2", column: value, "updated_at": "2025-01-02 00:00:00", "note": None},
    ]


def test_a_huge_text_is_read(bare: Shop) -> None:
    size = 40_000_000
    bare.execute(
        "create table interactions as select 1::bigint as event_id, repeat('x', %s) as session_id, "
        "timestamptz '2025-01-02' as created_at",
        [size],
    )
    (text,) = bare.read(EVENTS)["session_id"].to_pylist()
    assert len(text) == size


def test_many_long_texts_with_line_breaks_are_read(bare: Shop) -> None:
    text = "x\n" * 10_000
    bare.execute(
        "create table interactions as select n::bigint as event_id, %s as session_id, "
        "timestamptz '2025-01-02' as created_at from generate_series(1, 2000) as n",
        [text],
    )
    found = bare.read(EVENTS)
    assert found.schema.field("event_id").type == pa.int64()
    assert sorted(found["event_id"].to_pylist()) == list(range(1, 2001))
    assert set(found["session_id"].to_pylist()) == {text}


def test_a_table_without_a_cursor_is_taken_on_the_last_day(bare: Shop) -> None:
    bare.execute("create table interactions (event_id bigint); insert into interactions values (1), (null), (3)")
    assert bare.read(EVENTS)["event_id"].to_pylist() == [1, None, 3]
    assert bare.read(EVENTS, Window(FIRST, LAST)).num_rows == 0
    with bare.source.snapshot() as snapshot:
        assert bare.source.counts(EVENTS, MONTH, AS_OF, snapshot) == {LAST: 3}


def test_a_view_serves_as_a_table(bare: Shop) -> None:
    bare.execute(
        "create domain instant as timestamptz; create table log (id bigint, at instant); "
        "insert into log values (5, '2025-01-02'); "
        "create view interactions as select id as event_id, at as created_at from log"
    )
    assert bare.read(EVENTS).to_pylist() == [{"event_id": 5, "created_at": at("2025-01-02")}]


def test_what_cannot_be_read_is_said(bare: Shop) -> None:
    with pytest.raises(SourceError, match=r"there is no table .*interactions.*; generate"):
        bare.read(EVENTS)
    bare.execute("create table interactions (event_id bigint, created_at text)")
    with pytest.raises(SourceError, match=r"created_at \(text\) is no timestamp"):
        bare.read(EVENTS)


# Connections


def test_no_connection_is_transient(bare: Shop, tmp_path: Path) -> None:
    bare.source.check()
    with pytest.raises(TransientError, match="could not reach the shop's database"):
        Source(f"host={tmp_path} dbname=postgres").check()


def test_a_lock_is_waited_for_no_longer_than_said(shop: Shop) -> None:
    hurried = Source(shop.dsn, schema=shop.schema, lock_timeout=1)
    connection = psycopg2.connect(shop.dsn)
    try:
        connection.cursor().execute(f"lock table {shop.schema}.order_items")
        with pytest.raises(TransientError, match=r"could not write order_items: .*lock timeout"):
            hurried.upsert(ITEMS, items({"order_item_id": 1}))
    finally:
        connection.close()


# The embedded server


USER = """
import sys
from pathlib import Path
from tasks.source import embedded
print(embedded.start(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@contextmanager
def user(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the server of `folder` until its input ends."""
    command = [sys.executable, "-c", USER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("host=")
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> None:
    """Let a user process end by itself."""
    process.communicate()
    assert process.returncode == 0


def servers(folder: Path) -> list[psutil.Process]:
    """The servers of `folder`, without their children, which look alike for a moment after they are forked."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if "-D" in process.cmdline() and str(folder) in process.cmdline():
                found.append((process, process.ppid()))
    pids = {process.pid for process, _ in found}
    return [process for process, parent in found if parent not in pids]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that a server run by root can reach; pytest's own are closed again whenever another pytest starts."""
    with tempfile.TemporaryDirectory(prefix="shop-") as name:
        yield Path(name)


@pytest.fixture
def folder(place: Path) -> Iterator[Path]:
    """The folder of a server of its own."""
    path = place / "pg"
    yield path
    embedded.stop(path)
    for server in servers(path):
        server.send_signal(signal.SIGQUIT)
        server.wait(20)


def test_the_last_user_stops_the_server(folder: Path) -> None:
    with user(folder) as one, user(folder) as two:
        assert len(servers(folder)) == 1
        end(one)
        assert len(servers(folder)) == 1
        end(two)
        assert servers(folder) == []


def test_a_killed_user_does_not_hold_the_server(folder: Path) -> None:
    with user(folder) as killed:
        killed.kill()
        killed.wait()
        (left,) = servers(folder)
        with user(folder) as following:
            assert servers(folder) == [left]
            end(following)
    assert servers(folder) == []


def test_a_killed_server_is_started_again(folder: Path) -> None:
    shop = Shop(embedded.start(folder))
    shop.source.create_tables()
    shop.source.upsert(ITEMS, items({"order_item_id": 1}))
    shop.execute("checkpoint")
    (server,) = servers(folder)
    server.kill()
    embedded.start(folder)
    assert shop.keys(ITEMS) == [1]


def test_a_killed_server_is_waited_out(folder: Path) -> None:
    embedded.start(folder)
    (server,) = servers(folder)
    child = server.children()[0]
    child.suspend()  # it does not notice, and holds the server's memory
    server.kill()
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(embedded.start, folder)
        while "still in use" not in (folder / "log").read_text():
            assert not started.done()
        child.resume()
        Source(started.result()).check()


def test_a_stale_pid_file_is_passed_over(folder: Path) -> None:
    embedded.start(folder)
    embedded.stop(folder)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=folder.stat().st_uid) as other:
        (folder / "postmaster.pid").write_text(
            f"{other.pid}\n{folder}\n1700000000\n5432\n{folder}\n\n  1 2\nready   \n"
        )
        Source(embedded.start(folder)).check()
        other.kill()


def test_threads_start_one_server(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(embedded.start, [folder] * 4))
    assert len(found) == len(servers(folder)) == 1


def test_a_killed_initialisation_is_done_again(folder: Path) -> None:
    partial = folder.with_name(".pg.partial")
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18\n")
    Source(embedded.start(folder)).check()
    assert not partial.exists()


def test_a_folder_with_something_else_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "letters.txt").write_text("dear")
    with pytest.raises(SourceError, match="holds something else"):
        embedded.start(folder)


def test_a_server_that_cannot_run_says_why(folder: Path) -> None:
    embedded.start(folder)
    embedded.stop(folder)
    (folder / "PG_VERSION").write_text("9\n")
    with pytest.raises(SourceError, match=r"cannot run in .*version 9"):
        embedded.start(folder)


@pytest.mark.parametrize("name", ["a b'c\"d,e $HOME `x`", "n" * 100])
def test_any_path_will_do(place: Path, name: str) -> None:
    path = place / name / "pg"
    path.parent.mkdir()
    dsn = embedded.start(path)
    Source(dsn).check()
    embedded.stop(path)
    assert servers(path) == []
    sockets = Path(parse_dsn(dsn)["host"])
    assert sockets == path or not sockets.exists()


def test_the_server_is_private(folder: Path) -> None:
    shop = Shop(embedded.start(folder))
    assert shop.execute("show listen_addresses") == [("",)]
    assert folder.stat().st_mode & 0o077 == 0
    assert servers(folder)[0].uids().real != 0 or os.geteuid() != 0

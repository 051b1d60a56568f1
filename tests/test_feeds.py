"""JSON feeds: what is good is taken whole, what is bad is kept aside with the reason, what is damaged is refused."""
# ruff: noqa: DTZ001 - instants in Arrow are UTC without a zone

import gzip
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.errors import FeedError
from tasks.lake import feed_blocks, json_document, paths
from tasks.lake.checks import Checked, check_columns, check_records, check_rows
from tasks.lake.feed_blocks import Block
from tasks.lake.feeds import _at_once, _one_by_one, landed, read_feed, write_feed
from tasks.lake.store import LocalLake
from tasks.lake.versions import digest_of, version_of
from tasks.tables import TABLES, Home, Table, Type
from tasks.window import Window
from tests.feeds import (
    AS_OF,
    COMPRESSIONS,
    DAY,
    FORMS,
    ORDERS,
    PACKINGS,
    Pack,
    Record,
    array,
    enveloped,
    land,
    lines,
    order,
    take,
    zstd,
)  # fmt: skip

CUSTOMERS, PRODUCTS, EVENTS = (TABLES[name] for name in ("customers", "products", "interactions"))


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> LocalLake:
    """A lake for many examples of one property."""
    return LocalLake(tmp_path_factory.mktemp("lake"))


# --- written and read back ---


def shop_orders(count: int) -> pa.Table:
    values = np.arange(count)
    cents = pa.array([Decimal(int(v) * 37 + 5).scaleb(-2) for v in values], pa.decimal128(12, 2))
    texts = ['plain, "quoted" \\ back', "tab\t line\n return\r bell\x07", "Zürich 東京 😀", None, ""]
    text = pa.array([texts[v % 5] for v in values], pa.string())
    instants = pa.array([datetime(2025, 1, 1) + timedelta(microseconds=int(v) * 777_777_777) for v in values])
    columns = {
        "order_id": values + 1, "customer_id": values % 9, "order_date": instants, "status": text,
        "total_amount": cents, "shipping_cost": cents, "payment_method": text, "shipping_address": text,
        "billing_address": text, "created_at": instants, "updated_at": instants,
    }  # fmt: skip
    return pa.table(columns, schema=ORDERS.shop_schema)


def test_what_was_written_is_read_back_to_the_last_digit(lake: LocalLake) -> None:
    written = shop_orders(3_000)
    source = write_feed(lake, ORDERS, DAY, "2025-01-01--2025-01-30", written)
    assert source == lake.files(paths.landing("orders", DAY))[0]
    (checked,) = read_feed(lake, ORDERS, source, AS_OF)
    for name in ("order_id", "status", "total_amount", "shipping_address"):
        assert checked.records[name].equals(written[name]), name
    assert checked.records["_cursor"].equals(written["updated_at"])
    assert checked.records["_position"].to_pylist() == list(range(1, 3_001))
    assert checked.records["updated_at"][0].as_py() == "2025-01-01T00:00:00.000000Z"


def test_a_feed_is_json_by_any_parser_and_its_bytes_are_fixed(lake: LocalLake) -> None:
    first = write_feed(lake, ORDERS, DAY, "a", shop_orders(40_000))
    text = lake.filesystem.open_input_stream(first.path, compression="zstd")
    parsed = [json.loads(line, parse_float=Decimal) for line in text.read().splitlines()]
    assert [row["status"] for row in parsed] == shop_orders(40_000)["status"].to_pylist()
    assert [row["total_amount"] for row in parsed] == shop_orders(40_000)["total_amount"].to_pylist()
    before = lake.read(first.path)
    write_feed(
        lake, ORDERS, DAY, "a", pa.concat_tables([shop_orders(40_000).slice(0, 9), shop_orders(40_000).slice(9)])
    )
    assert lake.read(first.path) == before


def test_money_and_booleans_and_dates_are_written_as_json_has_them(lake: LocalLake) -> None:
    row = dict.fromkeys(CUSTOMERS.shop_schema.names) | {
        "customer_id": 1, "annual_income": Decimal("50000.00"), "signup_date": date(2023, 5, 6), "is_active": False,
        "last_login": datetime(2024, 1, 2, 3, 4, 5),
    }  # fmt: skip
    source = write_feed(lake, CUSTOMERS, DAY, "a", pa.Table.from_pylist([row], CUSTOMERS.shop_schema))
    text = lake.filesystem.open_input_stream(source.path, compression="zstd").read().decode()
    for expected in ('"annual_income":50000.00,', '"signup_date":"2023-05-06"', '"is_active":false', '"email":null'):
        assert expected in text
    assert '"last_login":"2024-01-02T03:04:05.000000Z"' in text


def test_an_empty_table_writes_a_feed_that_cannot_be_mistaken_for_a_damaged_one(lake: LocalLake) -> None:
    source = write_feed(lake, ORDERS, DAY, "none", shop_orders(0))
    assert list(read_feed(lake, ORDERS, source, AS_OF)) == []


def test_landed_finds_what_no_batch_has_taken(lake: LocalLake) -> None:
    taken, changed, new = (land(lake, lines(order(n)), f"{n}.json") for n in (1, 2, 3))
    lake.write(f"{paths.landing('orders', DAY - timedelta(5))}/old.json", b"[]")
    lake.write(changed.path, lines(order(2), order(3)))
    found = landed(lake, ORDERS, Window(DAY, AS_OF), {taken, changed})
    assert [stored.path for stored in found] == [changed.path, new.path]


# --- forms ---


def pretty(*records: Any) -> bytes:
    return json.dumps({"metadata": {"rows": len(records)}, "data": records, "more": None}, indent=2).encode()


UNUSUAL: dict[str, Pack] = {
    "lines without a last line break": lambda *records: lines(*records)[:-1],
    "lines of another system": lambda *records: lines(*records).replace(b"\n", b"\r\n"),
    "lines of an old system": lambda *records: lines(*records).replace(b"\n", b"\r"),
    "lines of both": lambda *records: lines(*records).replace(b"\n", b"\r", 2),
    "lines with empty ones": lambda *records: b"\n \n" + lines(*records).replace(b"\n", b"\n\n"),
    "lines with spaces": lambda *records: lines(*records).replace(b"\n", b" \t\n ") + b"\n \t",
    "lines of files that were joined": lambda *records: lines(*records).replace(b"\n", b"\n\xef\xbb\xbf", 3),
    "array over many lines": lambda *records: json.dumps(records, indent=3).encode(),
    "object over many lines": pretty,
    "object of data alone": lambda *records: b'{"data": ' + array(*records) + b"}",
    "object with names of columns": lambda *records: b'{"status": "ok", "customer_id": 7, ' + enveloped(*records)[1:],
    "object that ends with much": lambda *records: enveloped(*records)[:-1] + b', "m": "' + b"x" * 9_000 + b'"}',
    "object that begins with much": lambda *records: b'{"m": "' + b"x" * 9_000 + b'", ' + enveloped(*records)[1:],
    "object with much in pieces": lambda *records: (
        b"{" + b"".join(b'"m%d": [%s1], ' % (n, b"0.5, " * 300) for n in range(9)) + enveloped(*records)[1:]
    ),
    "object with a bare tab": lambda *records: b'{"a\tb": "c\td", ' + enveloped(*records)[1:],
    "object with data of two kinds": lambda *records: b'{"data": null, ' + enveloped(*records)[1:],
}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("form", [*FORMS.values(), *UNUSUAL.values()], ids=[*FORMS, *UNUSUAL])
def test_every_form_and_compression_gives_the_same_records(
    lake: LocalLake, form: Pack, compress: Any, bom: bytes
) -> None:
    wanted = [order(n, status=f"ä{n}") for n in range(50)]
    records, bad = take(lake, compress(bom + form(*wanted)))
    assert not bad
    assert records["order_id"].to_pylist() == list(range(50))
    assert records["_version"].equals(take(lake, lines(*wanted))[0]["_version"])


@pytest.fixture
def in_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Reads and blocks of so many bytes, and records of at most 10,000."""

    def set_sizes(size: int) -> None:
        for module in (json_document, feed_blocks):
            monkeypatch.setattr(module, "READ_BYTES", size)
            monkeypatch.setattr(module, "RECORD_BYTES", 10_000)
        monkeypatch.setattr(feed_blocks, "BLOCK_BYTES", size)

    return set_sizes


@pytest.mark.parametrize("form", [*FORMS.values(), *UNUSUAL.values()], ids=[*FORMS, *UNUSUAL])
@pytest.mark.parametrize("size", [1, 5, 64, 1000])
def test_blocks_of_any_size_give_the_same_records(
    lake: LocalLake, form: Pack, size: int, in_steps: Callable[[int], None]
) -> None:
    wanted = [order(n, status="ä" * n) for n in range(12)]
    whole, _ = take(lake, form(*wanted))
    in_steps(size)
    blocks, bad = take(lake, form(*wanted))
    assert not bad
    assert blocks.equals(whole)


def test_short_lines_come_in_blocks_of_a_chunk(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_blocks, "CHUNK_ROWS", 4)
    blocks = list(read_feed(lake, ORDERS, land(lake, lines(*(order(n) for n in range(10)))), AS_OF))
    assert [block.read for block in blocks] == [4, 4, 2]
    assert [p for block in blocks for p in block.records["_position"].to_pylist()] == list(range(1, 11))


@pytest.mark.parametrize("data", [b"[]", b" [ ] ", b'{"data": []}', b'{"metadata": {"rows": 0}, "data": []}'])
def test_a_feed_without_records_is_valid(lake: LocalLake, data: bytes) -> None:
    assert list(read_feed(lake, ORDERS, land(lake, data), AS_OF)) == []


def test_a_record_with_a_column_named_data_is_a_record(lake: LocalLake) -> None:
    records, bad = take(lake, lines(order(1, data=[1, 2.50])))
    assert not bad
    assert records["data"].to_pylist() == ["[1, 2.5]"]


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_parts_compressed_one_by_one_and_put_together_are_all_read(lake: LocalLake, compress: Any) -> None:
    data = lines(order(1), order(2))
    for cut in (len(data) // 2, len(data) // 3, len(data)):
        records, _ = take(lake, compress(data[:cut]) + compress(data[cut:]))
        assert records["order_id"].to_pylist() == [1, 2]


# --- a bad record, or no feed of the table ---

BAD_LINES = [
    '{"customer_id": 1}', '{"data": [1, 2]}', '{"data": null}', '{"records": []}', "{}", "null", "17", "\0", "{",
    '{"customer_id": 1,', '{"status": "Ship', '{"status": ["Ship', '{"status": [', '{"a\tb": 1}', "order_id,status",
    "\xa0", '{"order_id": 1} {"order_id": 2}', '{"status": "' + "x" * 9_000 + '"}', b'{"status": "caf\xe9"}',
]  # fmt: skip


@pytest.mark.parametrize("size", [64, 4 << 20])
@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_a_bad_record_wherever_it_is(
    lake: LocalLake, line: str | bytes, size: int, in_steps: Callable[[int], None]
) -> None:
    in_steps(size)
    for place in range(3):
        feed = [order(0), order(1)]
        feed.insert(place, line)
        records, bad = take(lake, lines(*feed))
        assert records["order_id"].to_pylist() == [0, 1]
        assert [one.position for one in bad] == [place + 1]


RECORDS = array(*(order(n) for n in range(30))).replace(b"\n", b"")
FOREIGN = {
    "another name": (
        b'{"records": %s}' % RECORDS,
        "no feed of orders: record 1 has 'records', and none .* has order_id",
    ),
    "another name in lines": (lines(*[b'{"records": %s}' % RECORDS] * 3), "record 1 has 'records', and none"),
    "another name, a record to a line": (
        b'{"records": [\n{"order_id": 1},\n{"order_id": 2}\n]}\n',
        "an object over several lines, of 'records'",
    ),
    "a name in capitals": (b'{"n": 30, "Data": %s}' % RECORDS, "record 1 has 'n', 'Data', and none"),
    "an error": (b'{"error": "rate limit", "code": 429}\n', "record 1 has 'error', 'code', and none"),
    "an object of nothing": (b"{}", "record 1 has nothing, and none"),
    "data that is null": (b'{"data": null}', "record 1 has 'data', and none"),
    "data that is an object": (b'{"data": {"orders": %s}}\n' % RECORDS, "record 1 has 'data', and"),
    "objects by key": (b'{"1": {"order_id": 1}, "2": {"order_id": 2}}', "record 1 has '1', '2', and none"),
    "many names": (json.dumps(dict.fromkeys(map(str, range(99)))).encode(), "has '0', .*, '9', and none"),
    "another table": (
        lines(*[{"customer_id": 1, "email": "a@b"}] * 9),
        "record 1 has 'customer_id', 'email', and none",
    ),
    "another table in an array": (array({"customer_id": 1}), "record 1 has 'customer_id', and none"),
    "numbers": (b"[1, 2]", "record 1 is bad .1 is no record, expected a JSON object., and none"),
    "no line breaks": (lines(order(1), order(2)).replace(b"\n", b"") + b"\n", "record 1 is bad .not JSON: Extra data"),
    "a record over several lines": (json.dumps(order(1), indent=1).encode() + b"\n", "record 1 is bad .not JSON"),
    "data in data": (b'{"data": [{"data": %s}]}' % RECORDS, "more records within record 1"),
    "an array of arrays": (b"[%s, %s]" % (RECORDS, RECORDS), "more records within record 1"),
    "an array after a record": (lines(order(99), RECORDS), "more records within record 2"),
    "an object after a record": (lines(order(99), b'{"data": [{"order_id": 1}]}'), "more records within record 2"),
    "two objects": (lines(*[b'{"data": [{"order_id": 1}]}'] * 2), "more records within record 1"),
    "data in a record": (lines(order(99), order(98, data=[order(1)])), "more records within record 2"),
    "data in a bad record": (lines(order(99), order(9.5, data=[order(1)])), "more records within record 2"),
    "data before a key": (b'{"data": [{"order_id": 1}], "ORDER_ID": 98}', "more records within record 1"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_feed_of_another_form_or_table_is_refused_and_not_taken_for_a_bad_record(lake: LocalLake, case: str) -> None:
    data, reason = FOREIGN[case]
    with pytest.raises(FeedError, match=rf"landing/orders/2025-01-31/feed\.json .*{reason}.* deliver JSON Lines"):
        take(lake, data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b"{%s}" % b", ".join(b'"m%d": "%s"' % (n, b"x" * 2000) for n in range(9)),
            "of 'm0', .*, 'm8', without an array",
        ),
        (b'{"metadata": "%s", "data": []}' % (b"x" * 30_000), "line 1 is longer than"),
        (b'{"data": [{"order_id": 1}, {"status": "%s"}]}' % (b"x" * 30_000), "a value of more than .* after record 1"),
        (
            b'{"data": [{"order_id": 1}, {"status": "%s"}], "order_id": 2}' % (b"x" * 5000),
            "has 'order_id' after its data",
        ),
    ],
    ids=["members", "one member", "a record", "a key after data"],
)
def test_an_object_that_is_larger_than_what_is_read_at_once_is_refused_alike(
    lake: LocalLake, data: bytes, reason: str, in_steps: Callable[[int], None]
) -> None:
    in_steps(1000)
    with pytest.raises(FeedError, match=rf"feed\.json .*{reason}.*deliver"):
        take(lake, data)


# --- what a record becomes ---


@pytest.mark.parametrize(
    ("changed", "cursor"),
    [
        ({"updated_at": "2025-01-30T10:00:00.123456Z"}, datetime(2025, 1, 30, 10, 0, 0, 123456)),
        ({"updated_at": "2025-01-30T10:00:00"}, datetime(2025, 1, 30, 10)),
        ({"updated_at": "2025-01-30T10:00:00+02:00"}, datetime(2025, 1, 30, 8)),
        ({"updated_at": "2025-01-30 10:00:00.123456789-0130"}, datetime(2025, 1, 30, 11, 30, 0, 123456)),
        ({"updated_at": "2025-02-02T00:00:00Z"}, datetime(2025, 2, 2)),
        ({"updated_at": None, "created_at": "2025-01-02"}, datetime(2025, 1, 2)),
        ({"updated_at": "2025-01-30", "created_at": "2025-01-02"}, datetime(2025, 1, 30)),
        ({"updated_at": None}, None),
    ],
)
def test_the_cursor_is_the_last_change_in_utc(
    lake: LocalLake, changed: dict[str, str], cursor: datetime | None
) -> None:
    records, bad = take(lake, lines(order(1, **changed)))
    assert bad == []
    assert records["_cursor"].to_pylist() == [cursor]


def test_columns_that_are_missing_are_null_and_unknown_ones_are_named(lake: LocalLake) -> None:
    feed = lines({"order_id": 1}, {"order_id": 2, "zeta": 1, "alpha": None}, {"order_id": 3, "beta": "b"})
    (checked,) = read_feed(lake, ORDERS, land(lake, feed), AS_OF)
    assert checked.unknown == ("beta", "zeta")
    assert checked.records.column_names[-5:] == ["beta", "zeta", "_cursor", "_version", "_position"]
    assert checked.records["zeta"].to_pylist() == [None, "1", None]
    assert checked.records["status"].null_count == 3


def test_weights_have_three_decimals_and_booleans_are_true_or_false(lake: LocalLake) -> None:
    product = {"product_id": 1, "weight_kg": 0.125, "is_active": True}
    records, bad = take(lake, lines(product, product | {"weight_kg": 0.1251}, product | {"is_active": 1}), PRODUCTS)
    assert records["weight_kg"].to_pylist() == [Decimal("0.125")]
    assert [one.reason.split()[0] for one in bad] == ["weight_kg", "is_active"]


# --- fast and slow, columns and rows ---


def assert_same(fast: Checked, slow: Checked) -> None:
    assert fast.bad == slow.bad == []
    assert fast.unknown == slow.unknown
    assert fast.records.to_pylist() == slow.records.to_pylist()
    assert fast.records.schema.equals(slow.records.schema)


INSTANTS = st.datetimes(datetime(1, 1, 1), datetime(2025, 2, 1))
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=5),
    st.decimals(places=2, min_value=-(10**10), max_value=10**10).map(str),
    st.sampled_from(["NaN", "1e2", "+1", "1.", ".5"]),
    INSTANTS.map(datetime.isoformat), INSTANTS.map(lambda i: i.isoformat(" ") + "Z"),
    st.sampled_from(["0000-01-01", "2025-02-30", "2025-01-01T10", "2025-01-01T10:00:60", "2025-01-30T10:00+25:00"]),
    st.lists(st.integers(), max_size=1), st.dictionaries(st.sampled_from("ab"), st.none(), max_size=1),
)  # fmt: skip
MESSY = st.dictionaries(st.sampled_from([*ORDERS.history_schema.names, "note", "Status"]), VALUES, max_size=5)
TIDY = st.fixed_dictionaries(
    {"order_id": st.integers(-(2**63), 2**63 - 1)},
    optional={
        "customer_id": st.none() | st.integers(-(2**63), 2**63 - 1),
        "status": st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        "total_amount": st.none() | st.integers(0, 10**10 - 1),
        "updated_at": st.none() | INSTANTS.map(lambda instant: instant.isoformat() + "Z"),
        "created_at": st.none() | INSTANTS.map(datetime.isoformat),
    },
)


def both_ways(text: bytes, table: Table = ORDERS) -> tuple[Checked | None, Checked]:
    block = Block(text, 1)
    return _at_once(table, block, (), AS_OF), check_records(table, _one_by_one(block), AS_OF)


@settings(max_examples=150, deadline=None)
@given(st.lists(TIDY, min_size=1, max_size=6), st.booleans())
def test_tidy_records_take_the_fast_way_and_are_the_same_by_the_slow_one(records: list[Any], ascii_only: bool) -> None:
    fast, slow = both_ways(b"".join(json.dumps(r, ensure_ascii=ascii_only).encode() + b"\n" for r in records))
    assert fast is not None
    assert_same(fast, slow)


@settings(max_examples=400, deadline=None)
@given(st.lists(MESSY, min_size=1, max_size=3), st.booleans())
def test_the_fast_way_takes_nothing_that_the_slow_one_refuses(records: list[Any], key: bool) -> None:
    keyed = [{"order_id": n} | r if key else r for n, r in enumerate(records)]
    fast, slow = both_ways(b"".join(json.dumps(r).encode() + b"\n" for r in keyed))
    assert slow.read == len(records)
    if fast is not None:
        assert_same(fast, slow)


SPOILED = st.sampled_from([*(bytes([code]) for code in b'{}[]",:0e.- \r\n\0'), b"null", b"}{", b"\xff"])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), SPOILED), max_size=4))
def test_spoiled_bytes_are_never_taken_for_something_else(edits: list[tuple[int, bytes]]) -> None:
    text = bytearray(lines(order(1), order(2, status=None), order(3)))
    for at, piece in edits:
        text[at : at + 1] = piece
    fast, slow = both_ways(bytes(text))
    if fast is not None:
        assert_same(fast, slow)


DAYS = ["0001-01-01", "2024-02-29", "2025-02-02", "2025-02-29", "9999-12-31", "10000-01-01"]
TIMES = ["", "T10:00", " 10:00:00.1", "T23:59:59.123456", "T10:00:00.1234567", "T10:00:00.", "T23:59:60", "T24:00:00"]
ZONES = ["", "Z", "z", "-00:00", "+14:00", "-14", "+2359", "-24:00"]
NUMBERS = [
    "0",
    "-0",
    "1.0",
    "0.10",
    "0.125",
    "0.1250",
    "1e2",
    "1E-2",
    "-0.00",
    "0e400",
    "1e400",
    "01",
    ".1",
    "1.",
    "NaN",
]
NUMBERS += [
    "9223372036854775807",
    "9223372036854775808",
    "9999999999.99",
    "9999999999.990",
    "10000000000",
    "0." + "1" * 40,
]
WORDS = ["a", "", "\\u0000", "\\ud83d", "\\ud83d\\ude00", "\\x", "\\/", "é", "\ufeff", "\u2028", "\t", "true", "null"]
INSTANT_TOKENS = st.tuples(*map(st.sampled_from, (DAYS, TIMES, ZONES))).map(lambda instant: f'"{"".join(instant)}"')
TOKENS = {
    Type.TEXT: st.sampled_from([f'"{word}"' for word in WORDS]),
    Type.BOOLEAN: st.sampled_from(["true", "false", '"true"', "True", "1", "tru"]),
    Type.DATE: INSTANT_TOKENS,
    Type.INSTANT: INSTANT_TOKENS,
}
FEED_TABLES = [table for table in TABLES.values() if table.home is Home.JSON]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FEED_TABLES), st.data())
def test_the_fast_way_agrees_on_every_token_in_every_column(table: Table, data: st.DataObject) -> None:
    feed = [{table.key: str(n)} for n in range(data.draw(st.integers(1, 2)))]
    for column in data.draw(st.lists(st.sampled_from(table.columns[1:]), min_size=1, max_size=2)):
        token = TOKENS.get(column.type, st.sampled_from(NUMBERS)) | st.sampled_from(["null", "[]", "17", '"17"'])
        feed[-1][column.name] = data.draw(token)
    texts = ("{" + ", ".join(f'"{name}": {token}' for name, token in record.items()) + "}" for record in feed)
    fast, slow = both_ways(lines(*texts), table)
    if fast is not None:
        assert_same(fast, slow)


def outcome(lake: LocalLake, data: bytes) -> Any:
    """What becomes of a feed: its good records and its bad ones, or that it was refused."""
    try:
        records, bad = take(lake, data)
    except FeedError:
        return None
    return records.to_pylist(), [(one.position, one.reason) for one in bad]


@settings(max_examples=60, deadline=None)
@given(st.lists(MESSY, min_size=1, max_size=4), st.booleans())
def test_every_packing_gives_the_same_good_and_bad_records(lasting: LocalLake, records: list[Any], keyed: bool) -> None:
    feed = [{"order_id": n} | record if keyed else record for n, record in enumerate(records)]
    taken = {packing: outcome(lasting, pack(*feed)) for packing, pack in PACKINGS.items()}
    assert all(one == taken["lines plain"] for one in taken.values()), taken


JUNK = st.one_of(
    st.sampled_from([*BAD_LINES, *(data for data, _ in FOREIGN.values() if b"\n" not in data)]),
    st.text(st.sampled_from('{}[]":,a1 \\\t\r'), min_size=1, max_size=9).filter(str.strip),
)


def is_array(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), list)
    except ValueError:
        return False


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | JUNK, min_size=1, max_size=6), st.sampled_from([b"\n", b"\r\n"]))
def test_no_good_line_is_lost_unless_the_feed_is_refused(
    lasting: LocalLake, junk: list[Record | None], line_break: bytes
) -> None:
    feed = [order(n) if one is None else one for n, one in enumerate(junk)]
    data = lines(*feed).replace(b"\n", line_break)
    assume(not is_array(data))  # `[]` alone is a feed without records
    taken = outcome(lasting, data)
    if taken is not None:
        good, bad = taken
        assert [row["order_id"] for row in good] == [n for n, one in enumerate(junk) if one is None]
        assert len(bad) == len(feed) - len(good)


def test_columns_of_a_database_are_checked_like_records() -> None:
    schema = EVENTS.history_schema
    row = dict.fromkeys(schema.names) | {"event_id": 1, "event_type": "view", "created_at": datetime(2025, 1, 30, 1)}
    typed = pa.Table.from_pylist([row, row | {"event_id": 2}], schema)
    fast = check_columns(EVENTS, typed, AS_OF)
    assert fast is not None
    assert_same(fast, check_records(EVENTS, enumerate(typed.to_pylist(), 1), AS_OF))
    assert_same(fast, check_records(EVENTS, enumerate(pa.Table.from_pylist(texts(typed)).to_pylist(), 1), AS_OF))


def texts(typed: pa.Table) -> list[dict[str, str | None]]:
    return [{n: None if v is None else str(v) for n, v in row.items()} for row in typed.to_pylist()]


def test_rows_that_came_as_text_are_checked_one_by_one() -> None:
    rows = pa.table({"event_id": ["1", "2", "3"], "created_at": ["2025-01-30 10:00:00", "infinity", "0044-03-15 BC"]})
    (checked,) = check_rows(EVENTS, rows, AS_OF)
    assert checked.records["event_id"].to_pylist() == [1]
    assert checked.records["_cursor"].to_pylist() == [datetime(2025, 1, 30, 10)]
    assert [one.position for one in checked.bad] == [2, 3]


@pytest.mark.parametrize(
    "spoil",
    [{"event_id": None}, {"created_at": datetime(2025, 2, 2, 0, 0, 1)}, {"event_type": "a\0b"}, {"device_type": "\0"}],
)
def test_a_bad_row_among_typed_columns_is_found(spoil: dict[str, Any]) -> None:
    row = dict.fromkeys(EVENTS.history_schema.names) | {"event_id": 1, "created_at": datetime(2025, 1, 30)}
    typed = pa.Table.from_pylist([row, row | spoil], EVENTS.history_schema)
    assert check_columns(EVENTS, typed, AS_OF) is None
    (checked,) = check_rows(EVENTS, typed, AS_OF)
    assert (checked.records.num_rows, [one.position for one in checked.bad]) == (1, [2])


# --- versions ---


def test_a_version_does_not_depend_on_the_order_of_columns_or_on_empty_ones() -> None:
    records = pa.table({"a": [1, 2], "b": ["x", None], "c": [Decimal("1.50"), Decimal("2.00")]})
    expected = version_of(records)
    assert version_of(records.select(["c", "a", "b"])).equals(expected)
    assert version_of(records.append_column("d", pa.nulls(2, pa.string()))).equals(expected)
    rows = [b"a", b"1", b"b", b"x", b"c", b"1.50", b""], [b"a", b"2", b"c", b"2.00", b""]
    texts = [b"\0".join(row) for row in rows]
    hashes = [int.from_bytes(blake2b(text, digest_size=8).digest(), "little", signed=True) for text in texts]
    assert expected.to_pylist() == hashes


def test_a_version_tells_every_value_and_its_column() -> None:
    tables = [
        pa.table({"a": ["x"], "b": ["y"]}), pa.table({"a": ["y"], "b": ["x"]}), pa.table({"a": ["xy"], "b": [""]}),
        pa.table({"a": ["x"], "b": [None]}), pa.table({"a": ["x"], "b": [""]}), pa.table({"ax": ["y"]}),
    ]  # fmt: skip
    assert len({version_of(table)[0].as_py() for table in tables}) == len(tables)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_a_digest_is_the_exact_sum(versions: list[int]) -> None:
    assert digest_of(pa.chunked_array([versions], pa.int64())) == sum(versions)

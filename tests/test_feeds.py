"""JSON feeds: what is good is taken whole, what is bad is kept aside with the reason, what is damaged is refused."""
# ruff: noqa: DTZ001 - instants in Arrow are UTC without a zone

import gzip
import json
import math
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import FeedError
from tasks.lake import feed_blocks, paths
from tasks.lake.checks import Bad, Checked, check_columns, check_records, check_rows
from tasks.lake.feed_blocks import Block
from tasks.lake.feeds import _at_once, _one_by_one, landed, read_feed, write_feed
from tasks.lake.store import LocalLake, Stored
from tasks.lake.versions import digest_of, version_of
from tasks.tables import TABLES, Table
from tasks.window import Window

DAY = date(2025, 1, 31)
AS_OF = DAY + timedelta(1)
ORDERS, PRODUCTS, CUSTOMERS, EVENTS = (TABLES[name] for name in ("orders", "products", "customers", "interactions"))
NO_COMPRESSION = bytes


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


def order(order_id: int, **values: Any) -> dict[str, Any]:
    changed = {"status": "Shipped", "total_amount": 12.5, "updated_at": "2025-01-30T12:34:56.123456Z"}
    return {"order_id": order_id, "customer_id": 7, **changed, **values}


def lines(*records: dict[str, Any] | str | bytes) -> bytes:
    texts = (r if isinstance(r, bytes) else (r if isinstance(r, str) else json.dumps(r)).encode() for r in records)
    return b"".join(text + b"\n" for text in texts)


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)  # type: ignore[no-any-return]


def land(lake: LocalLake, data: bytes, name: str = "feed.json", table: Table = ORDERS) -> Stored:
    path = f"{paths.landing(table.name, DAY)}/{name}"
    lake.write(path, data)
    return next(stored for stored in lake.files(paths.landing(table.name, DAY)) if stored.path == path)


def take(lake: LocalLake, data: bytes, table: Table = ORDERS) -> tuple[pa.Table, list[Bad]]:
    blocks = list(read_feed(lake, table, land(lake, data, table=table), AS_OF))
    for block in blocks:
        assert block.read == block.records.num_rows + len(block.bad)
    empty = [check_records(table, [], AS_OF).records]
    records = pa.concat_tables(empty + [block.records for block in blocks], promote_options="default")
    return records, [bad for block in blocks for bad in block.bad]


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


def wrapped(*records: dict[str, Any]) -> bytes:
    return json.dumps(
        {"metadata": {"rows": len(records), "data": [1]}, "data": records, "more": None}, indent=2
    ).encode()


FORMS = {
    "lines": lines,
    "lines without a last line break": lambda *records: lines(*records)[:-1],
    "lines of another system": lambda *records: lines(*records).replace(b"\n", b"\r\n"),
    "lines with empty ones": lambda *records: b"\n \n" + lines(*records).replace(b"\n", b"\n\n"),
    "array": lambda *records: json.dumps(records).encode(),
    "array over many lines": lambda *records: json.dumps(records, indent=3).encode(),
    "object": lambda *records: json.dumps({"data": records}).encode(),
    "object with metadata": wrapped,
}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
@pytest.mark.parametrize("compress", [NO_COMPRESSION, gzip.compress, zstd])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_and_compression_gives_the_same_records(
    lake: LocalLake, form: Any, compress: Any, bom: bytes
) -> None:
    wanted = [order(n, status=f"ä{n}") for n in range(50)]
    records, bad = take(lake, compress(bom + form(*wanted)))
    assert not bad
    assert records["order_id"].to_pylist() == list(range(50))
    assert records["_version"].equals(take(lake, lines(*wanted))[0]["_version"])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", [1, 5, 64, 1000])
def test_blocks_of_any_size_give_the_same_records(
    lake: LocalLake, form: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [order(n, status="ä" * n) for n in range(12)]
    whole, _ = take(lake, form(*wanted))
    monkeypatch.setattr(feed_blocks, "_READ_BYTES", max(size, 700))  # what is there before the data must fit in
    monkeypatch.setattr(feed_blocks, "BLOCK_BYTES", size)
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


def test_compression_is_told_by_content_not_by_name(lake: LocalLake) -> None:
    for name, data in {
        "a.zst": gzip.compress(lines(order(1))),
        "b.gz": lines(order(1)),
        "c.json": zstd(lines(order(1))),
    }.items():
        (checked,) = read_feed(lake, ORDERS, land(lake, data, name), AS_OF)
        assert checked.records.num_rows == 1


def test_parts_compressed_one_by_one_and_put_together_are_all_read(lake: LocalLake) -> None:
    records, _ = take(lake, gzip.compress(lines(order(1))) + gzip.compress(lines(order(2))))
    assert records["order_id"].to_pylist() == [1, 2]


# --- damaged files ---

LONG = lines(*(order(n, status=f"{math.sin(n)}") for n in range(2000)))
DAMAGED = {
    "empty": b"",
    "only space": b" \n\n ",
    "only a byte order mark": b"\xef\xbb\xbf",
    "compressed nothing": gzip.compress(b""),
    "gzip cut off": gzip.compress(LONG)[:-9],
    "gzip cut in half": gzip.compress(LONG)[:9000],
    "zstd cut off": zstd(LONG)[:-1],
    "zstd cut in half": zstd(LONG)[:9000],
    "gzip and something": gzip.compress(LONG) + b"something",
    "zstd header alone": b"\x28\xb5\x2f\xfd",
    "last line cut off": lines(order(1), order(2))[:-9],
    "array cut off": json.dumps([order(1), order(2)]).encode()[:-9],
    "array never closed": json.dumps([order(1), order(2)]).encode()[:-1],
    "array with a gap": b'[{"order_id": 1},, {"order_id": 2}]',
    "array with a missing comma": b'[{"order_id": 1} {"order_id": 2}]',
    "array and something": b'[{"order_id": 1}] something',
    "object cut off": json.dumps({"data": [order(1), order(2)]}).encode()[:-9],
    "object never closed": b'{"data": [{"order_id": 1}]',
    "object with data twice": b'{"data": [{"order_id": 1}], "data": []}',
    "not JSON": b"order_id,status\n1,Shipped\n",
    "a web page": b"<html><body>503 Service Unavailable</body></html>",
    "UTF-16": json.dumps(order(1)).encode("utf-16"),
    "bzip2": b"BZh91AY&SY",
    "zip": b"PK\x03\x04\x14\x00\x00",
    "Parquet": b"PAR1\x15\x04\x15",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_by_name(lake: LocalLake, data: bytes) -> None:
    with pytest.raises(FeedError, match=r"landing/orders/2025-01-31/feed\.json .*deliver"):
        take(lake, data)


@pytest.mark.parametrize("cut", range(1, 90))
def test_an_array_cut_anywhere_is_refused(lake: LocalLake, cut: int) -> None:
    data = json.dumps([{"order_id": 1, "status": "ä\\"}, {"order_id": 20}], ensure_ascii=False).encode()
    with pytest.raises(FeedError):
        take(lake, data[: cut % len(data)])


def test_what_came_before_the_damage_was_handed_out(lake: LocalLake) -> None:
    blocks: Iterator[Checked] = read_feed(lake, ORDERS, land(lake, lines(order(1)) + b'{"order_id": 2, "sta'), AS_OF)
    assert next(blocks).records["order_id"].to_pylist() == [1]
    with pytest.raises(FeedError, match="cut off in line 2"):
        next(blocks)


# --- bad records ---

BAD = {
    "fraction in a key": ('{"order_id": 1.7}', "order_id is 1.7, expected a whole number"),
    "fraction in an integer": ('{"order_id": 1, "customer_id": 2.5}', "customer_id is 2.5"),
    "three decimals": ('{"order_id": 1, "total_amount": 12.345}', "total_amount is 12.345, expected .* 2 decimals"),
    "hidden decimals": ('{"order_id": 1, "total_amount": 0.1000000000000000000001}', "total_amount is 0.10"),
    "1e400": ('{"order_id": 1, "total_amount": 1e400}', r"total_amount is 1E\+400"),
    "1e-400": ('{"order_id": 1, "total_amount": 1e-400}', "total_amount is 1E-400"),
    "1e400 in a key": ('{"order_id": 1e400}', r"order_id is 1E\+400"),
    "an exponent beyond measure": ('{"order_id": 1e99999999999999999999}', "not JSON"),
    "NaN": ('{"order_id": 1, "total_amount": NaN}', "total_amount is NaN"),
    "NaN in a key": ('{"order_id": NaN}', "order_id is NaN"),
    "infinity": ('{"order_id": 1, "shipping_cost": -Infinity}', "shipping_cost is -Infinity"),
    "NaN as text": ('{"order_id": 1, "total_amount": "NaN"}', "total_amount is 'NaN'"),
    "key beyond 64 bits": ('{"order_id": 9223372036854775808}', "order_id is 9223372036854775808"),
    "integer of 5000 digits": ('{"order_id": 1, "customer_id": ' + "9" * 5000 + "}", "not JSON|customer_id is 999"),
    "money too large": ('{"order_id": 1, "total_amount": 10000000000.00}', "total_amount is 10000000000.00"),
    "text in a key": ('{"order_id": "one"}', "order_id is 'one'"),
    "true in a key": ('{"order_id": true}', "order_id is True"),
    "number in a text": ('{"order_id": 1, "status": 5}', "status is 5, expected text"),
    "list in a text": ('{"order_id": 1, "status": ["a"]}', "status is .*expected text"),
    "object in money": ('{"order_id": 1, "total_amount": {"a": 1}}', "total_amount is .*expected a number"),
    "no instant": ('{"order_id": 1, "updated_at": "yesterday"}', "updated_at is 'yesterday', expected an instant"),
    "a day that never was": ('{"order_id": 1, "updated_at": "2025-02-30T00:00:00Z"}', "updated_at is '2025-02-30"),
    "a year 0": ('{"order_id": 1, "updated_at": "0000-01-01T00:00:00Z"}', "updated_at is '0000-01-01"),
    "a number as instant": ('{"order_id": 1, "updated_at": 1738240496}', "updated_at is 1738240496"),
    "another instant": ('{"order_id": 1, "order_date": "30.01.2025"}', r"order_date is '30\.01\.2025'"),
    "two days ahead": ('{"order_id": 1, "updated_at": "2025-02-02T00:00:00.000001Z"}', "changed at 2025-02-02"),
    "no key": ('{"customer_id": 1}', "order_id is missing"),
    "key is null": ('{"order_id": null, "customer_id": 1}', "order_id is missing"),
    "no columns": ("{}", "order_id is missing"),
    "column twice": ('{"order_id": 1, "status": "a", "status": "a"}', "'status' is there more than once"),
    "key twice": ('{"order_id": 1, "order_id": 2}', "'order_id' is there more than once"),
    "column twice but for case": ('{"order_id": 1, "Status": "a", "status": "b"}', "status is there more than once"),
    "NUL": ('{"order_id": 1, "status": "a\\u0000b"}', "status is .*without NUL"),
    "NUL byte": (b'{"order_id": 1, "status": "a\0b"}', "not JSON"),
    "NUL in an unknown column": ('{"order_id": 1, "note": "a\\u0000"}', "note is "),
    "NUL in a name": ('{"order_id": 1, "no\\u0000te": 1}', "no name for a column"),
    "nameless column": ('{"order_id": 1, "": 1}', "no name for a column"),
    "half a character": ('{"order_id": 1, "status": "\\ud83d"}', "status is .*broken"),
    "not UTF-8": (b'{"order_id": 1, "status": "caf\xe9"}', "not UTF-8: byte 31 is 0xe9|status is .*broken"),
    "bare tab": (b'{"order_id": 1, "status": "a\tb"}', "not JSON: Invalid control character"),
    "not JSON": ("{order_id: 1}", "not JSON"),
    "trailing comma": ('{"order_id": 1,}', "not JSON"),
    "two on a line": ('{"order_id": 1} {"order_id": 2}', "not JSON: Extra data"),
    "cut short": ('{"order_id": 1, "status": "Ship', "not JSON"),
    "null": ("null", "no record, expected a JSON object"),
    "a number": ("17", "no record, expected a JSON object"),
    "an array": ('[{"order_id": 1}]', "no record, expected a JSON object"),
    "too deep": ("{" + '"a":{' * 100_000 + "}" * 100_001, "not JSON"),
}
NO_ELEMENT = {"not JSON", "trailing comma", "two on a line", "cut short", "too deep"}


def reason_of(bad: list[Bad]) -> str:
    (one,) = bad
    return one.reason


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_kept_aside_and_its_neighbours_are_taken(lake: LocalLake, case: str) -> None:
    record, reason = BAD[case]
    records, bad = take(lake, lines(order(11), record, order(12)))
    assert records["order_id"].to_pylist() == [11, 12]
    assert records["_position"].to_pylist() == [1, 3]
    assert [one.position for one in bad] == [2]
    assert re.search(reason, bad[0].reason), bad[0].reason
    text = record if isinstance(record, str) else record.decode(errors="replace")
    assert bad[0].record == text[: 64 << 10]


@pytest.mark.parametrize("case", BAD.keys() - NO_ELEMENT)
def test_a_bad_element_is_kept_aside_and_its_neighbours_are_taken(lake: LocalLake, case: str) -> None:
    record, _ = BAD[case]
    raw = record if isinstance(record, bytes) else record.encode()
    records, bad = take(lake, b"[" + b",\n".join((json.dumps(order(11)).encode(), raw, b'{"order_id":12}')) + b"]")
    assert records["order_id"].to_pylist() == [11, 12]
    assert [one.position for one in bad] == [2]


def test_a_line_break_inside_a_text_spoils_one_element_only(lake: LocalLake) -> None:
    records, bad = take(lake, b'[{"order_id": 1, "status": "a\nb"}, {"order_id": 2}]')
    assert records["order_id"].to_pylist() == [2]
    assert "not JSON" in reason_of(bad)


def test_two_records_on_a_line_are_not_made_up_for_by_an_empty_one(lake: LocalLake) -> None:
    records, bad = take(lake, b'{"order_id": 1} {"order_id": 2}\n\n{"order_id": 3}\n')
    assert records["order_id"].to_pylist() == [3]
    assert "Extra data" in reason_of(bad)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_number_that_ends_with_a_block_is_read_whole(
    lake: LocalLake, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_blocks, "_READ_BYTES", size)
    _, bad = take(lake, b"[1234, 5678, 91011]")
    assert [one.record for one in bad] == ["1234", "5678", "91011"]


def test_nothing_is_lost_among_many_bad_ones(lake: LocalLake) -> None:
    texts = [text if isinstance(text, bytes) else text.encode() for text, _ in BAD.values()]
    feed = b"".join(lines(order(n)) + text + b"\n" for n, text in enumerate(texts))
    records, bad = take(lake, feed)
    assert records["order_id"].to_pylist() == list(range(len(texts)))
    assert [one.position for one in bad] == list(range(2, 2 * len(texts) + 1, 2))


# --- good records that look unusual ---

GOOD = {
    "whole number with a point": ({"customer_id": "5.0"}, "customer_id", 5),
    "whole number with an exponent": ({"customer_id": "5e2"}, "customer_id", 500),
    "number as text": ({"customer_id": '"5"'}, "customer_id", 5),
    "largest integer": ({"customer_id": "9223372036854775807"}, "customer_id", 2**63 - 1),
    "smallest integer": ({"customer_id": "-9223372036854775808"}, "customer_id", -(2**63)),
    "money without decimals": ({"total_amount": "5"}, "total_amount", Decimal(5)),
    "money with an exponent": ({"total_amount": "1.5e1"}, "total_amount", Decimal(15)),
    "money with noughts": ({"total_amount": "1.23000"}, "total_amount", Decimal("1.23")),
    "money as text": ({"total_amount": '"1.23"'}, "total_amount", Decimal("1.23")),
    "most money": ({"total_amount": "9999999999.99"}, "total_amount", Decimal("9999999999.99")),
    "money that no binary float has": ({"total_amount": "4503599627.37"}, "total_amount", Decimal("4503599627.37")),
    "null": ({"total_amount": "null"}, "total_amount", None),
    "empty text": ({"status": '""'}, "status", ""),
    "an escaped character": ({"status": '"\\ud83d\\ude00"'}, "status", "😀"),
    "instant without zone": ({"order_date": '"2025-01-30T10:00:00"'}, "order_date", "2025-01-30T10:00:00"),
    "instant with an offset": ({"order_date": '"2025-01-30 10:00+01"'}, "order_date", "2025-01-30 10:00+01"),
    "a day as instant": ({"order_date": '"2025-01-30"'}, "order_date", "2025-01-30"),
    "name in capitals": ({"STATUS": '"Shipped"'}, "status", "Shipped"),
    "unknown text": ({"note": '"a"'}, "note", "a"),
    "unknown number": ({"note": "1.50"}, "note", "1.50"),
    "unknown object": ({"note": '{"b": [1, 2.50, null, "ä"]}'}, "note", '{"b": [1, 2.50, null, "ä"]}'),
    "unknown column in capitals": ({"Note": '"a"'}, "note", "a"),
    "a name that is the pipeline's": ({"_version": '"3"'}, "source_version", "3"),
}


@pytest.mark.parametrize("case", GOOD)
def test_an_unusual_good_record_is_taken_exactly(lake: LocalLake, case: str) -> None:
    values, column, expected = GOOD[case]
    text = ", ".join(f'"{name}": {value}' for name, value in values.items())
    records, bad = take(lake, f'{{"order_id": 3, {text}}}\n'.encode())
    assert bad == []
    assert records[column].to_pylist() == [expected]


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


def test_a_text_of_five_megabytes_is_taken(lake: LocalLake) -> None:
    text = "ä" * 2_500_000
    for form in (FORMS["lines"], FORMS["array"]):
        records, bad = take(lake, form(order(1), order(2, status=text), order(3)))
        assert bad == []
        assert records["status"].to_pylist()[1] == text


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


def both_ways(text: bytes) -> tuple[Checked | None, Checked]:
    block = Block(text, 1)
    return _at_once(ORDERS, block, (), AS_OF), check_records(ORDERS, _one_by_one(block), AS_OF)


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

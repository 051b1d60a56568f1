"""The corpus of bad feeds: no good record is lost, no bad one gets into the history, and it is said which and why.

Each of it comes in every packing: as JSON Lines, as an array and as an object with `data`, plain, by gzip and by zstd.

| corpus | test, over all packings |
| --- | --- |
| fractions in integral keys, three decimals in money, 1e400, invalid UTF-8, NUL bytes, NaN and huge numbers, wrong \
  types, missing and null keys, a key twice in an object | test_no_good_record_is_lost_among_bad_ones (`BAD`) |
| a record that is not JSON | the same in lines, test_an_array_with_what_is_no_json_is_refused in the others |
| unknown and missing columns, unusual but good values | test_unusual_good_records_are_taken_exactly (`GOOD`) |
| a 5 MB string | test_a_text_of_five_megabytes_is_kept_whole |
| two records with one key | test_of_two_records_with_one_key_the_last_is_taken |
| truncated JSON | test_a_feed_that_was_cut_off_is_refused |
| not JSON at all, an empty file, UTF-16 | test_what_is_no_feed_is_refused |
| a byte order mark | test_feeds: test_every_form_and_compression_gives_the_same_records |
| a wrong compression suffix | test_the_name_of_a_feed_tells_nothing |
"""

import gzip
import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tasks.errors import FeedError
from tasks.lake import feed_blocks, json_document, paths
from tasks.lake.checks import Bad, Checked
from tasks.lake.feeds import read_feed
from tasks.lake.history import append_batch, extract_feed
from tasks.lake.store import LocalLake
from tasks.window import Window
from tests.feeds import (
    AS_OF,
    COMPRESSIONS,
    DAY,
    ORDERS,
    PACKINGS,
    Pack,
    array,
    enveloped,
    land,
    lines,
    order,
    take,
    text_of,
    zstd,
)  # fmt: skip

every_packing = pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
every_compression = pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


# --- bad records ---

BAD = {
    "fraction in a key": ('{"order_id": 1.7}', "order_id is 1.7, expected a whole number"),
    "fraction in an integer": ('{"order_id": 1, "customer_id": 2.5}', "customer_id is 2.5"),
    "three decimals": ('{"order_id": 1, "total_amount": 12.345}', "total_amount is 12.345, expected .* 2 decimals"),
    "hidden decimals": ('{"order_id": 1, "total_amount": 0.1000000000000000000001}', "total_amount is 0.10"),
    "1e400": ('{"order_id": 1, "total_amount": 1e400}', r"total_amount is 1E\+400"),
    "1e-400": ('{"order_id": 1, "total_amount": 1e-400}', "total_amount is 1E-400"),
    "1e400 in a key": ('{"order_id": 1e400}', r"order_id is 1E\+400"),
    "an exponent beyond measure": (
        '{"order_id": 1e99999999999999999999}',
        "1e99999999999999999999' is out of reach, expected an exponent",
    ),
    "an exponent beyond arithmetic": ('{"order_id": 1, "total_amount": -1e1000000}', r"total_amount is -1E\+1000000"),
    "NaN": ('{"order_id": 1, "total_amount": NaN}', "total_amount is NaN"),
    "NaN in a key": ('{"order_id": NaN}', "order_id is NaN"),
    "infinity": ('{"order_id": 1, "shipping_cost": -Infinity}', "shipping_cost is -Infinity"),
    "NaN as text": ('{"order_id": 1, "total_amount": "NaN"}', "total_amount is 'NaN'"),
    "key beyond 64 bits": ('{"order_id": 9223372036854775808}', "order_id is 9223372036854775808"),
    "integer of 5000 digits": (
        '{"order_id": 1, "customer_id": ' + "9" * 5000 + "}",
        r"customer_id is 999.* \(5000 characters\)",
    ),
    "money too large": ('{"order_id": 1, "total_amount": 10000000000.00}', "total_amount is 10000000000.00"),
    "text in a key": ('{"order_id": "one"}', "order_id is 'one'"),
    "true in a key": ('{"order_id": true}', "order_id is True"),
    "number in a text": ('{"order_id": 1, "status": 5}', "status is 5, expected text"),
    "list in a text": ('{"order_id": 1, "status": ["a"]}', "status is .*expected text"),
    "object in money": ('{"order_id": 1, "total_amount": {"a": 1}}', "total_amount is .*expected a number"),
    "no instant": ('{"order_id": 1, "updated_at": "yesterday"}', "updated_at is 'yesterday', expected an instant"),
    "a day that never was": ('{"order_id": 1, "updated_at": "2025-02-30T00:00:00Z"}', "updated_at is '2025-02-30"),
    "a leap second": ('{"order_id": 1, "updated_at": "2024-12-31T23:59:60Z"}', "updated_at is '2024-12-31T23:59:60Z'"),
    "a year 10000": ('{"order_id": 1, "order_date": "10000-01-01"}', "order_date is '10000-01-01'"),
    "after year 9999": ('{"order_id": 1, "order_date": "9999-12-31T23:59:59-14:00"}', "order_date is '9999-12-31T23"),
    "before year 1": ('{"order_id": 1, "order_date": "0001-01-01T00:00:00+14:00"}', "order_date is '0001-01-01T00"),
    "a year 0": ('{"order_id": 1, "updated_at": "0000-01-01T00:00:00Z"}', "updated_at is '0000-01-01"),
    "a number as instant": ('{"order_id": 1, "updated_at": 1738240496}', "updated_at is 1738240496"),
    "another instant": ('{"order_id": 1, "order_date": "30.01.2025"}', r"order_date is '30\.01\.2025'"),
    "two days ahead": ('{"order_id": 1, "updated_at": "2025-02-02T00:00:00.000001Z"}', "changed at 2025-02-02"),
    "no key": ('{"customer_id": 1}', "order_id is missing"),
    "no key but a list of data": ('{"customer_id": 1, "data": [1, 2]}', "order_id is missing"),
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
    "an array": ("[17]", "no record, expected a JSON object"),
    "too deep": ('{"order_id": 1, "a": ' + "[" * 100_000 + "]" * 100_000 + "}", "too deeply nested"),
    "too deep for its text": ('{"order_id": 1, "a": ' + "[" * 900 + "]" * 900 + "}", "too deeply nested"),
}
NO_JSON = {"not JSON", "trailing comma", "two on a line", "cut short", "too deep"}
"""What spoils an array as a whole: nothing tells where the next element begins."""
LINES = [pack for packing, pack in PACKINGS.items() if packing.startswith("lines")]


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
    assert bad[0].record == text_of(record).decode(errors="backslashreplace")


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
    monkeypatch.setattr(json_document, "READ_BYTES", size)
    monkeypatch.setattr(feed_blocks, "READ_BYTES", size)
    _, bad = take(lake, b'[1234, 5678, 91011, {"order_id": 1}]')
    assert [one.record for one in bad] == ["1234", "5678", "91011"]


@every_packing
def test_no_good_record_is_lost_among_bad_ones(lake: LocalLake, pack: Pack) -> None:
    cases = [case for case in BAD if pack in LINES or case not in NO_JSON]
    mixed = [record for n, case in enumerate(cases) for record in (order(n), BAD[case][0])]
    records, bad = take(lake, pack(*mixed))
    assert records["order_id"].to_pylist() == list(range(len(cases)))
    assert [one.position for one in bad] == list(range(2, len(mixed) + 1, 2))
    for case, one in zip(cases, bad, strict=True):
        assert re.search(BAD[case][1], one.reason), case


@pytest.mark.parametrize("case", sorted(NO_JSON))
@every_compression
@pytest.mark.parametrize("form", [array, enveloped])
def test_an_array_with_what_is_no_json_is_refused(
    lake: LocalLake, form: Pack, compress: Callable[[bytes], bytes], case: str
) -> None:
    with pytest.raises(
        FeedError, match=r"feed\.json is damaged JSON after record [12], before .*deliver the file again"
    ):
        take(lake, compress(form(order(1), BAD[case][0], order(2))))


@every_packing
def test_a_text_of_five_megabytes_is_kept_whole(lake: LocalLake, pack: Pack) -> None:
    text = "ä" * 2_500_000
    records, bad = take(lake, pack(order(1), order(2, status=text), order(3.5, status=text), order(4)))
    assert records["order_id"].to_pylist() == [1, 2, 4]
    assert records["status"].to_pylist()[1] == text
    assert [(one.position, json.loads(one.record)["status"] == text) for one in bad] == [(3, True)]


@every_packing
def test_of_two_records_with_one_key_the_last_is_taken(lake: LocalLake, pack: Pack) -> None:
    feed = land(lake, pack(order(1), order(2, status="a"), order(1), order(2, status="b")))
    extracted = extract_feed(lake, ORDERS, feed, DAY, AS_OF, "run")
    done = append_batch(lake, ORDERS, DAY, Window(DAY - timedelta(29), AS_OF), [extracted], 0.01, None, "run")
    assert (done.read, done.appended, done.known, done.quarantined) == (4, 2, 1, 1)
    (kept,) = lake.files(paths.quarantine("orders", DAY))
    entry = json.loads(lake.read(kept.path))
    assert (entry["file"], entry["position"], json.loads(entry["record"])["status"]) == (feed.path, 2, "a")
    assert "another record has the same order_id and date of change" in entry["reason"]


# --- good records that look unusual ---

GOOD = {
    "whole number with a point": ({"customer_id": "5.0"}, "customer_id", 5),
    "whole number with an exponent": ({"customer_id": "5e2"}, "customer_id", 500),
    "number as text": ({"customer_id": '"5"'}, "customer_id", 5),
    "number as text with noughts": ({"customer_id": '"007"'}, "customer_id", 7),
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
    "instant far from Greenwich": (
        {"updated_at": '"2025-01-31T23:59:59+14:00"'},
        "updated_at",
        "2025-01-31T23:59:59+14:00",
    ),
    "the first day": ({"order_date": '"0001-01-01"'}, "order_date", "0001-01-01"),
    "the last day": ({"order_date": '"9999-12-31"'}, "order_date", "9999-12-31"),
    "name in capitals": ({"STATUS": '"Shipped"'}, "status", "Shipped"),
    "unknown text": ({"note": '"a"'}, "note", "a"),
    "unknown number": ({"note": "1.50"}, "note", "1.50"),
    "unknown integer of 5000 digits": ({"note": "9" * 5000}, "note", "9" * 5000),
    "unknown list as data": ({"data": "[1, 2.50]"}, "data", "[1, 2.50]"),
    "unknown lists in lists": ({"note": "[" * 50 + "]" * 50}, "note", "[" * 50 + "]" * 50),
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


@every_packing
def test_unusual_good_records_are_taken_exactly(lake: LocalLake, pack: Pack) -> None:
    members = [", ".join(f'"{name}": {value}' for name, value in values.items()) for values, _, _ in GOOD.values()]
    texts = [f'{{{member}, "order_id": {n}}}' for n, member in enumerate(members)]
    records, bad = take(lake, pack(*texts, {"order_id": -1}))
    assert bad == []
    for case, row in zip(GOOD, records.to_pylist(), strict=False):
        assert row[GOOD[case][1]] == GOOD[case][2], case
    assert {name for name, value in records.to_pylist()[-1].items() if value is not None} == {
        "order_id", "_version", "_position",
    }  # fmt: skip


# --- damaged files ---

LONG = lines(*(order(n, status=f"{math.sin(n)}") for n in range(2000)))
DAMAGED = {
    "empty": b"",
    "only space": b" \n\n ",
    "only a byte order mark": b"\xef\xbb\xbf",
    "compressed nothing": gzip.compress(b""),
    "zstd of nothing": zstd(b""),
    "gzip cut off": gzip.compress(LONG)[:-9],
    "gzip cut in its check sum": gzip.compress(LONG)[:-5],
    "gzip with a wrong check sum": gzip.compress(LONG)[:-8] + b"\0" * 8,
    "gzip and noughts": gzip.compress(LONG) + b"\0" * 512,
    "gzip twice": gzip.compress(gzip.compress(LONG)),
    "gzip and zstd": gzip.compress(LONG) + zstd(LONG),
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
    "array with a comma at its end": b'[{"order_id": 1},]',
    "two arrays": b'[{"order_id": 1}]\n[{"order_id": 2}]',
    "an empty array and lines": b'[]\n{"order_id": 1}',
    "a line that is an array and lines": b'[17]\n{"order_id": 1}',
    "object cut off": json.dumps({"data": [order(1), order(2)]}).encode()[:-9],
    "object never closed": b'{"data": [{"order_id": 1}]',
    "object with a comma at its end": b'{"data": [{"order_id": 1}],}',
    "object and something": b'{"data": [{"order_id": 1}]} something',
    "object with a number for a name": b'{"data": [{"order_id": 1}], 1: 1}',
    "object cut off before its data": b'{"metadata": {"rows": 1',
    "object with broken metadata": b'{"metadata": {rows: 1}, "data": [{"order_id": 1}]}\n',
    "object with metadata too deep": b'{"metadata": '
    + b"[" * 100_000
    + b"]" * 100_000
    + b', "data": [{"order_id": 1}]}\n',
    "object with data twice": b'{"data": [{"order_id": 1}], "data": []}',
    "not JSON": b"order_id,status\n1,Shipped\n",
    "a web page": b"<html><body>503 Service Unavailable</body></html>",
    "UTF-16": json.dumps(order(1)).encode("utf-16"),
    "UTF-16 without a mark": lines(order(1)).decode().encode("utf-16-le"),
    "UTF-16 array without a mark": array(order(1)).decode().encode("utf-16-le"),
    "noughts after the last line": lines(order(1)) + b"\0" * 50,
    "bzip2": b"BZh91AY&SY",
    "zip": b"PK\x03\x04\x14\x00\x00",
    "Parquet": b"PAR1\x15\x04\x15",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_by_name(lake: LocalLake, data: bytes) -> None:
    with pytest.raises(FeedError, match=r"landing/orders/2025-01-31/feed\.json .*deliver"):
        take(lake, data)


def test_what_came_before_the_damage_was_handed_out(lake: LocalLake) -> None:
    blocks: Iterator[Checked] = read_feed(lake, ORDERS, land(lake, lines(order(1)) + b'{"order_id": 2, "sta'), AS_OF)
    assert next(blocks).records["order_id"].to_pylist() == [1]
    with pytest.raises(FeedError, match="cut off in line 2"):
        next(blocks)


@every_compression
@pytest.mark.parametrize("name", ["empty", "only space", "not JSON", "a web page", "UTF-16", "binary"])
def test_what_is_no_feed_is_refused(lake: LocalLake, name: str, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FeedError, match=r"landing/orders/2025-01-31/feed\.json is (empty|not JSON).*deliver"):
        take(lake, compress(DAMAGED[name]))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_feed_that_was_cut_off_is_refused(lake: LocalLake, packing: str) -> None:
    records = ({"order_id": 1, "status": "ä\\"}, {"order_id": 20})
    data = PACKINGS[packing](*records)
    # Lines that are whole are a whole feed, with or without their last line break.
    whole = {len(lines(*records[:n])) - k for n in (1, 2) for k in (0, 1)} if packing == "lines plain" else set[int]()
    for end in set(range(len(data))) - whole:
        with pytest.raises(FeedError, match="deliver"):
            take(lake, data[:end])


@every_packing
@pytest.mark.parametrize("name", ["feed", "feed.json", "feed.json.gz", "feed.jsonl.zst", "feed.csv"])
def test_the_name_of_a_feed_tells_nothing(lake: LocalLake, pack: Pack, name: str) -> None:
    records, bad = take(lake, pack(order(1), order(2)), name=name)
    assert (records["order_id"].to_pylist(), bad) == ([1, 2], [])

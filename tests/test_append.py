"""The history: whatever is taken, in whatever order, it gains each version once, and every record is accounted for."""
# ruff: noqa: DTZ001 - instants in Arrow are UTC without a zone

import json
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import FeedError, HistoryError, TransientError
from tasks.lake import commits, history, manifests, parts, paths, quarantine
from tasks.lake.checks import Checked
from tasks.lake.feeds import landed
from tasks.lake.history import Appended, Extracted, append_batch, extract_feed, extract_rows
from tasks.lake.manifests import Manifest, committed, newest_batch_before, read_manifest, revisions
from tasks.lake.parts import Span
from tasks.lake.s3 import S3Lake
from tasks.lake.s3_calls import S3Access
from tasks.lake.store import Lake, LocalLake, Stored
from tasks.tables import TABLES, Table
from tasks.window import Chunk, Window
from tests.s3_server import S3Server
from tests.waiting import until

DAY = date(2025, 1, 31)
ONE_DAY = timedelta(1)
ORDERS, EVENTS, CATEGORIES = TABLES["orders"], TABLES["interactions"], TABLES["categories"]


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


def order(order_id: int, changed: str | None = "2025-01-30T10:00:00Z", status: str = "Shipped", **more: Any) -> Any:
    return {"order_id": order_id, "status": status, "updated_at": changed, **more}


def land(lake: Lake, records: Sequence[Any], day: date = DAY, name: str = "feed", table: Table = ORDERS) -> Stored:
    path = f"{paths.landing(table.name, day)}/{name}.json"
    lake.write(path, json.dumps(records).encode())
    found = lake.files(paths.landing(table.name, day), recursive=True)
    return next(stored for stored in found if stored.path == path)


def extract(
    lake: Lake, records: Sequence[Any], day: date = DAY, name: str = "feed", table: Table = ORDERS, run: str = "run"
) -> Extracted:
    return extract_feed(lake, table, land(lake, records, day, name, table), day, day + ONE_DAY, run)


def append(
    lake: Lake,
    *extracted: Extracted,
    day: date = DAY,
    max_bad: float = 0.01,
    table: Table = ORDERS,
    run: str = "run",
) -> Appended:
    window = Window(day - timedelta(29), day + ONE_DAY)
    done = append_batch(lake, table, day, window, extracted, max_bad, "shop", run)
    assert done.read == done.appended + done.known + done.quarantined == sum(source.read for source in extracted)
    assert extracted_by(lake, run, table) == []
    return done


def extracted_by(lake: Lake, run: str, table: Table = ORDERS) -> list[str]:
    found = (file.path for file in lake.files(f"extracted/{table.name}", recursive=True))
    return [path for path in found if f"/{paths.extracted_by(run)}-" in path]


def run(lake: LocalLake, records: Sequence[Any], day: date = DAY, table: Table = ORDERS) -> Appended:
    return append(lake, extract(lake, records, day, table=table), day=day, table=table)


def stored(lake: Lake, table: Table = ORDERS) -> list[dict[str, Any]]:
    """All versions of the history, in the order in which they become current, with their batch."""
    rows = []
    for manifest in committed(lake, table.name):
        for part in manifest.parts:
            data = lake.read(f"{paths.history(table.name, manifest.batch)}/{part.name}")
            rows += [row | {"batch": manifest.batch} for row in pq.read_table(pa.BufferReader(data)).to_pylist()]
    return sorted(rows, key=lambda row: (row["_cursor"] or datetime.min, row["batch"], row["_version"]))  # noqa: DTZ901


def current(lake: LocalLake) -> dict[int, str]:
    return {row["order_id"]: row["status"] for row in stored(lake)}


def quarantined(lake: Lake, table: Table = ORDERS, day: date = DAY) -> list[dict[str, Any]]:
    files = lake.files(paths.quarantine(table.name, day))
    return [json.loads(line) for file in files for line in lake.read(file.path).splitlines()]


# --- revisions ---


def test_a_first_run_commits_what_it_took(lake: LocalLake) -> None:
    done = run(lake, [order(2), order(1), order(3, "2025-01-29T00:00:00Z")])
    assert done == Appended("orders", DAY, 1, read=3, appended=3, known=0, quarantined=0)
    manifest = read_manifest(lake, "orders", DAY, 1)
    (part,) = manifest.parts
    table = pq.read_table(lake.root / paths.history("orders", DAY) / part.name)
    assert table["order_id"].to_pylist() == [3, 1, 2]
    assert table.column_names == [*ORDERS.history_schema.names, "_cursor", "_version"]
    assert (part.first, part.last) == (datetime(2025, 1, 29), datetime(2025, 1, 30, 10))
    assert manifest.digest == part.digest == sum(table["_version"].to_pylist())
    assert parts.totals(lake, manifest) == (manifest.rows, manifest.digest) == (3, manifest.digest)
    assert [source.path for source in manifest.sources] == ["landing/orders/2025-01-31/feed.json"]
    assert manifest.columns["total_amount"] == "decimal128(12, 2)"


def test_the_same_day_again_changes_nothing(lake: LocalLake) -> None:
    run(lake, [order(1), order(2)])
    before = {file.path: lake.read(file.path) for file in lake.files("history", recursive=True)}
    assert run(lake, [order(1), order(2)]) == Appended("orders", DAY, None, read=2, appended=0, known=2, quarantined=0)
    assert {file.path: lake.read(file.path) for file in lake.files("history", recursive=True)} == before


def test_what_is_new_on_the_same_day_is_the_next_revision(lake: LocalLake) -> None:
    run(lake, [order(1)])
    done = run(lake, [order(1), order(2), order(1, "2025-01-31T09:00:00Z", "Delivered")])
    assert (done.revision, done.appended, done.known) == (2, 2, 1)
    assert revisions(lake, "orders") == [(DAY, 1), (DAY, 2)]
    assert current(lake) == {1: "Delivered", 2: "Shipped"}


def test_a_day_without_records_is_committed_once(lake: LocalLake) -> None:
    assert append(lake).revision == 1
    assert append(lake).revision is None
    assert read_manifest(lake, "orders", DAY, 1).parts == ()


def test_another_version_with_the_same_cursor_is_kept_beside_the_first(lake: LocalLake) -> None:
    run(lake, [order(1, status="Pending")])
    assert run(lake, [order(1, status="Shipped")], DAY + ONE_DAY).appended == 1
    assert [row["status"] for row in stored(lake)] == ["Pending", "Shipped"]


@pytest.mark.parametrize("days", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 0, 2, 1, 2)])
def test_days_in_any_order_end_in_the_same_current_records(lake: LocalLake, days: tuple[int, ...]) -> None:
    changes = [(1, 28, "Pending"), (2, 29, "Pending"), (1, 30, "Shipped"), (3, 30, "Pending"), (1, 31, "Delivered")]
    for ahead in days:
        records = [order(n, f"2025-01-{d}T10:00:00Z", s) for n, d, s in changes if d <= 29 + ahead]
        run(lake, records, date(2025, 1, 29) + ahead * ONE_DAY)
    assert current(lake) == {1: "Delivered", 2: "Pending", 3: "Pending"}
    assert len(stored(lake)) == len(changes)


def test_a_record_from_a_day_ahead_is_known_to_the_next_batches(lake: LocalLake) -> None:
    latest = order(1, "2025-02-02T00:00:00Z")  # a day after the end of the batch's day, the latest that is taken
    assert run(lake, [latest]).appended == 1
    assert run(lake, [latest, order(2, "2025-02-02T00:00:00Z")], DAY + 2 * ONE_DAY).known == 1


@pytest.mark.parametrize("changed", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2023-05-01"])
def test_a_record_of_long_ago_is_known_again(lake: LocalLake, changed: str) -> None:
    assert run(lake, [order(1, changed)]).appended == 1
    assert run(lake, [order(1, changed)], DAY + ONE_DAY).known == 1


def test_a_run_reads_only_the_batches_and_parts_that_its_cursors_can_be_in(lake: LocalLake) -> None:
    old = date(2024, 6, 1)
    run(lake, [order(1, "2024-06-01T10:00:00Z")], old)
    run(lake, [order(2, "2025-01-01T10:00:00Z"), order(3)], DAY)
    for file in lake.files(paths.history("orders", old)):
        lake.write(file.path, b"not to be read")
    assert run(lake, [order(3)], DAY + ONE_DAY).known == 1


# --- one feed, several feeds ---


def test_copies_in_one_feed_are_known(lake: LocalLake) -> None:
    done = run(lake, [order(1), order(2), order(1), order(1)])
    assert (done.appended, done.known, done.quarantined) == (2, 2, 0)


def test_of_contradicting_records_the_last_by_file_and_position_is_taken(lake: LocalLake) -> None:
    late = extract(lake, [order(1, status="c"), order(2, status="x"), order(1, status="d")], name="b")
    early = extract(lake, [order(2, status="y"), order(1, status="d"), order(3), order(1, status="a")], name="a")
    done = append(lake, late, early)
    assert (done.read, done.appended, done.known, done.quarantined) == (7, 3, 1, 3)
    assert current(lake) == {1: "d", 2: "x", 3: "Shipped"}
    kept = {
        (entry["file"].split("/")[-1], entry["position"]): json.loads(entry["record"]) for entry in quarantined(lake)
    }
    assert {place: record["status"] for place, record in kept.items()} == {
        ("a.json", 1): "y",
        ("a.json", 4): "a",
        ("b.json", 1): "c",
    }
    assert all("same order_id" in entry["reason"] for entry in quarantined(lake))


def test_contradictions_are_quarantined_once_however_often_the_feed_is_taken(lake: LocalLake) -> None:
    for _ in range(3):
        done = run(lake, [order(1, status="a"), order(1, status="b")])
        assert done.quarantined == 1
        assert len(quarantined(lake)) == 1
    assert done.known == 1


def test_the_contradictions_of_one_feed_stay_when_another_is_taken(lake: LocalLake) -> None:
    append(lake, extract(lake, [order(1, status="a"), order(1, status="b")], name="first"))
    append(lake, extract(lake, [order(2)], name="second"))
    assert [entry["file"] for entry in quarantined(lake)] == ["landing/orders/2025-01-31/first.json"]


def test_the_order_of_tasks_and_the_blocks_do_not_show_in_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CHUNK_ROWS", 40)
    feeds = [
        [order(n, f"2025-01-{1 + n % 30:02}T10:00:00Z", more=n) for n in range(start, 200, 3)] for start in range(3)
    ]
    written = []
    for turn in range(3):
        lake = LocalLake(tmp_path / str(turn))
        numbers = random.Random(turn).sample(range(3), 3)
        extracted = [extract(lake, feeds[n], name=f"feed{n}") for n in numbers]
        assert append(lake, *random.Random(turn).sample(extracted, 3)).appended == 200
        written.append(
            {f.path: lake.read(f.path) for f in lake.files("history", recursive=True) if "_man" not in f.path}
        )
        assert len(written[-1]) > 4
    assert written[0] == written[1] == written[2]


def test_a_day_larger_than_a_chunk_is_split_by_key(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "CHUNK_ROWS", 10)
    records = [order(n - 50) for n in range(100)]
    assert run(lake, records).appended == 100
    manifest = read_manifest(lake, "orders", DAY, 1)
    assert len(manifest.parts) == 10
    assert sorted(row["order_id"] for row in stored(lake)) == list(range(-50, 50))
    assert run(lake, records, DAY + ONE_DAY).known == 100


def test_large_records_make_small_chunks(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_CHUNK_BYTES", 1 << 20)
    assert run(lake, [order(n, status="x" * 100_000) for n in range(50)]).appended == 50
    assert len(read_manifest(lake, "orders", DAY, 1).parts) > 4


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, 1, 2, 3]), st.sampled_from("ab"), st.booleans()))
    ),
    st.lists(st.integers(0, 3), min_size=8, max_size=8),
)
def test_every_record_is_accounted_for_and_every_version_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, feeds: list[list[tuple[int, int | None, str, bool]]], days: list[int]
) -> None:
    lake = LocalLake(tmp_path_factory.mktemp("lake"))
    versions: set[tuple[int, int | None, str]] = set()
    for feed, ahead in zip(feeds[:8], days, strict=False):
        changed = [None if d is None else f"2025-01-0{d}T00:00:00Z" for _, d, _, _ in feed]
        records = [order(n if good else "bad", at, s) for (n, _, s, good), at in zip(feed, changed, strict=True)]
        append(
            lake,
            extract(lake, records, date(2025, 1, 3) + ahead * ONE_DAY),
            day=date(2025, 1, 3) + ahead * ONE_DAY,
            max_bad=1,
        )
        # Of those with one key and cursor the last is taken.
        last = {(n, d): s for n, d, s, good in feed if good}
        versions |= {(n, d, s) for (n, d), s in last.items() if d is not None}
    found = [(r["order_id"], r["_cursor"].day, r["status"]) for r in stored(lake) if r["_cursor"]]
    assert len(found) == len(set(found))
    assert set(found) == versions


# --- without a date of change ---


def test_records_without_a_cursor_are_compared_with_the_last_of_their_keys(lake: LocalLake) -> None:
    run(lake, [order(1, None, "a"), order(2, None, "a")])
    done = run(lake, [order(1, None, "a"), order(2, None, "b"), order(3, None, "a")], DAY + ONE_DAY)
    assert (done.appended, done.known) == (2, 1)
    assert "2025-01-31" not in done.warnings[0]
    assert "3 records have neither updated_at nor created_at" in done.warnings[0]
    back = run(lake, [order(2, None, "a")], DAY + 2 * ONE_DAY)
    assert back.appended == 1
    assert current(lake) == {1: "a", 2: "a", 3: "a"}


def test_records_without_a_cursor_are_taken_once_however_often(lake: LocalLake) -> None:
    for statuses in ("ab", "ba", "ab", "bb"):
        run(lake, [order(1, None, statuses[0])], DAY)
        run(lake, [order(1, None, statuses[1])], DAY + ONE_DAY)
    for day in (DAY, DAY + ONE_DAY):
        versions = [row["_version"] for row in stored(lake) if row["batch"] == day]
        assert len(versions) == len(set(versions)) <= 2


def test_a_day_in_between_is_compared_with_the_day_before_it(lake: LocalLake) -> None:
    run(lake, [order(1, None, "a")], DAY - 2 * ONE_DAY)
    run(lake, [order(1, None, "b")], DAY)
    assert run(lake, [order(1, None, "a")], DAY - ONE_DAY).known == 1


def test_dated_and_undated_records_of_a_key_do_not_disturb_each_other(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CHUNK_ROWS", 2)
    records = [order(1), *(order(n, None) for n in range(1, 8)), order(2, "2025-01-01")]
    assert run(lake, records).appended == 9
    assert run(lake, records, DAY + ONE_DAY).known == 9
    assert current(lake)[1] == "Shipped"


def test_an_older_day_run_late_does_not_undo_an_undated_record(lake: LocalLake) -> None:
    run(lake, [order(1, None, "new")], DAY)
    run(lake, [order(1, None, "old")], DAY - ONE_DAY)
    assert current(lake) == {1: "new"}
    assert run(lake, [order(1, None, "old")], DAY - ONE_DAY).known == 1


# --- bad records ---


def test_bad_records_are_quarantined_once_each_and_the_rest_is_committed(lake: LocalLake) -> None:
    for _ in range(2):
        done = run(lake, [order(1), {"order_id": 1.5}, order(2), {"status": "no key"}])
        assert done.quarantined == 2
    assert sorted(row["order_id"] for row in stored(lake)) == [1, 2]
    assert [(entry["position"], entry["file"]) for entry in quarantined(lake)] == [
        (2, "landing/orders/2025-01-31/feed.json"),
        (4, "landing/orders/2025-01-31/feed.json"),
    ]
    assert "order_id is 1.5" in quarantined(lake)[0]["reason"]
    assert quarantined(lake)[0]["record"] == '{"order_id": 1.5}'


def test_what_an_overwritten_feed_left_in_quarantine_stays(lake: LocalLake) -> None:
    run(lake, [order(1), {"order_id": 1.5, "note": "precious"}])
    run(lake, [order(1), order(2)])
    run(lake, [order(1), {"order_id": 2.5}])
    assert {entry["record"] for entry in quarantined(lake)} == {
        '{"order_id": 1.5, "note": "precious"}',
        '{"order_id": 2.5}',
    }


def test_an_attempt_that_is_made_again_leaves_nothing_twice_in_quarantine(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "_FILE_BYTES", 150)
    feed = [{"order_id": f"bad {n}"} for n in range(5)]
    checked = list(history.read_feed(lake, ORDERS, land(lake, feed), DAY + ONE_DAY))
    with pytest.raises(TimeoutError):
        history.store_extracted(lake, ORDERS, DAY, "run", "feed", cut_off(checked))
    history.store_extracted(lake, ORDERS, DAY, "run", "feed", checked)
    assert sorted(entry["position"] for entry in quarantined(lake)) == [1, 2, 3, 4, 5]
    assert len(lake.files(paths.quarantine("orders", DAY))) == 3


def cut_off(checked: Sequence[Checked]) -> Iterator[Checked]:
    yield from (replace(block, bad=block.bad[:3]) for block in checked)
    raise TimeoutError


def test_a_late_feed_of_nothing_but_bad_records_is_taken_once(lake: LocalLake) -> None:
    run(lake, [order(1)])
    land(lake, [{"order_id": 1.5}], name="late")
    found = [take_landed(lake, DAY), take_landed(lake, DAY), take_landed(lake, DAY + ONE_DAY)]
    assert [(done.revision, done.read, done.quarantined) for done in found] == [(2, 1, 1), (None, 0, 0), (1, 0, 0)]
    assert [len(quarantined(lake, day=DAY + n * ONE_DAY)) for n in range(2)] == [1, 0]


def test_a_late_feed_of_nothing_but_known_records_appends_no_revision(lake: LocalLake) -> None:
    run(lake, [order(1)])
    land(lake, [order(1)], name="late")
    assert take_landed(lake, DAY) == Appended("orders", DAY, None, read=1, appended=0, known=1, quarantined=0)


def take_landed(lake: Lake, day: date) -> Appended:
    """What a run takes: the feeds of its window that no manifest names."""
    window = Window(day - timedelta(29), day + ONE_DAY)
    taken = {source for manifest in committed(lake, "orders", window.start) for source in manifest.sources}
    feeds = landed(lake, ORDERS, window, taken)
    return append(lake, *(extract_feed(lake, ORDERS, feed, day, day + ONE_DAY, "run") for feed in feeds), day=day)


def test_a_feed_is_taken_from_a_folder_of_its_day(lake: LocalLake) -> None:
    for name in ("hour=05/part-1", "hour=06/region=eu/part-1", ".hour=07/part-1"):
        land(lake, [order(len(name))], name=name)
    lake.write("landing/orders/2025-01-30", b"[]")  # a file, and no day
    done = take_landed(lake, DAY)
    assert [source.path for source in read_manifest(lake, "orders", DAY, 1).sources] == [
        "landing/orders/2025-01-31/hour=05/part-1.json",
        "landing/orders/2025-01-31/hour=06/region=eu/part-1.json",
    ]
    assert (done.appended, take_landed(lake, DAY + ONE_DAY).read) == (2, 0)


@pytest.mark.parametrize(
    ("bad", "good", "share", "fails"), [(10, 0, 0.0, False), (11, 89, 0.1, True), (11, 99, 0.1, False)]
)
def test_too_many_bad_records_stop_the_commit(lake: LocalLake, bad: int, good: int, share: float, fails: bool) -> None:
    extracted = extract(lake, [order(n) for n in range(good)] + [{"order_id": "x"}] * bad)
    if not fails:
        assert append(lake, extracted, max_bad=share).quarantined == bad
        return
    with pytest.raises(FeedError, match=r"^11 of 100 records are bad, .*quarantine/orders/batch=2025-01-31"):
        append(lake, extracted, max_bad=share)
    assert (revisions(lake, "orders"), extracted_by(lake, "run")) == ([], [])
    assert len(quarantined(lake)) == bad


def test_contradictions_count_as_bad(lake: LocalLake) -> None:
    with pytest.raises(FeedError):
        run(lake, [order(1, status=str(n)) for n in range(12)])
    assert len(quarantined(lake)) == 11


def test_a_damaged_feed_leaves_its_quarantine_and_says_so_there(lake: LocalLake) -> None:
    path = "landing/orders/2025-01-31/feed.jsonl"
    lake.write(path, b'{"order_id": 1.5}\n{"order_id": 2}\n{"order_id": 3, "sta')
    (source,) = lake.files(paths.landing("orders", DAY))
    with pytest.raises(FeedError, match="cut off in line 3"):
        extract_feed(lake, ORDERS, source, DAY, DAY + ONE_DAY, "run")
    assert [entry["position"] for entry in quarantined(lake)] == [1, "file"]


# --- columns ---


def test_unknown_columns_become_columns_of_the_batch(lake: LocalLake) -> None:
    first = extract(lake, [order(1, zeta="z"), order(2)], name="a")
    second = extract(lake, [order(3, alpha=1), order(4, beta=None)], name="b")
    assert (first.unknown_columns, second.unknown_columns) == (("zeta",), ("alpha",))
    append(lake, first, second)
    manifest = read_manifest(lake, "orders", DAY, 1)
    assert {name: manifest.columns[name] for name in ("alpha", "zeta")} == {"alpha": "string", "zeta": "string"}
    assert {row["order_id"]: (row["alpha"], row["zeta"]) for row in stored(lake)} == {
        1: (None, "z"), 2: (None, None), 3: ("1", None), 4: (None, None),
    }  # fmt: skip


def test_a_column_that_comes_or_goes_without_a_value_makes_no_new_version(lake: LocalLake) -> None:
    run(lake, [order(1, note=None), order(2, note="n")])
    assert run(lake, [order(1), order(2, note="n", other=None)], DAY + ONE_DAY).known == 2


# --- rows of a database ---


def events(*rows: tuple[int, datetime | None]) -> pa.Table:
    columns = {
        "event_id": [n for n, _ in rows],
        "event_type": ["view"] * len(rows),
        "created_at": [at for _, at in rows],
    }
    schema = pa.schema([EVENTS.history_schema.field(name) for name in columns])
    return pa.table(columns, schema)


def test_rows_of_a_database_are_appended_like_feeds(lake: LocalLake) -> None:
    chunk = Chunk("interactions", Window(DAY, DAY + ONE_DAY))
    rows = events((2, datetime(2025, 1, 31, 5)), (1, datetime(2025, 1, 31, 5)), (3, None))
    for day, appended in ((DAY, 3), (DAY + ONE_DAY, 0)):
        extracted = extract_rows(lake, EVENTS, chunk, rows, day, day + ONE_DAY, "run")
        assert append(lake, extracted, day=day, table=EVENTS).appended == appended
    assert sorted(row["event_id"] for row in stored(lake, EVENTS)) == [1, 2, 3]


def test_a_bad_row_of_a_database_is_named_by_its_key(lake: LocalLake) -> None:
    chunk = Chunk("interactions", Window(DAY, DAY + ONE_DAY))
    rows = pa.table({"event_id": ["7", "8"], "created_at": ["2025-01-31 05:00:00", "infinity"]})
    extracted = extract_rows(lake, EVENTS, chunk, rows, DAY, DAY + ONE_DAY, "run")
    assert (extracted.read, extracted.bad) == (2, 1)
    (entry,) = quarantined(lake, EVENTS)
    assert (entry["position"], entry["file"]) == ("event_id 8", "postgres/interactions/2025-01-31--2025-01-31")


def test_rows_of_no_chunk_make_nothing(lake: LocalLake) -> None:
    chunk = Chunk("interactions", Window(DAY, DAY + ONE_DAY))
    extracted = extract_rows(lake, EVENTS, chunk, events(), DAY, DAY + ONE_DAY, "run")
    assert (extracted.read, extracted.parts) == (0, ())
    assert append(lake, extracted, table=EVENTS).revision == 1


# --- runs at once, runs cut short ---


def test_a_lost_race_is_tried_again_and_compares_anew(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = extract(lake, [order(1), order(2)], name="mine")
    one_per_cursor = history.one_per_cursor

    def overtaken(key: str, records: pa.Table) -> Any:
        monkeypatch.undo()
        append(lake, extract(lake, [order(2), order(3)], name="theirs", run="theirs"), run="theirs")
        return one_per_cursor(key, records)

    monkeypatch.setattr(history, "one_per_cursor", overtaken)
    with pytest.raises(TransientError, match="Another run may have committed a batch of orders"):
        append(lake, mine)
    done = append(lake, mine)
    assert (done.revision, done.appended, done.known) == (2, 1, 1)
    assert len(stored(lake)) == 3


def test_a_batch_of_another_day_committed_meanwhile_is_compared_with_too(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = extract(lake, [order(1), order(2)])
    one_per_cursor = history.one_per_cursor

    def overtaken(key: str, records: pa.Table) -> Any:
        monkeypatch.undo()
        theirs = extract(lake, [order(2)], DAY - ONE_DAY, run="theirs")
        append(lake, theirs, day=DAY - ONE_DAY, run="theirs")
        return one_per_cursor(key, records)

    monkeypatch.setattr(history, "one_per_cursor", overtaken)
    with pytest.raises(TransientError, match="Another run"):
        append(lake, mine)
    assert append(lake, mine).known == 1


@pytest.fixture(params=["folder", "bucket"])
def shared(request: pytest.FixtureRequest, lake: LocalLake) -> Lake:
    """A lake in each kind of store."""
    if request.param == "folder":
        return lake
    s3: S3Server = request.getfixturevalue("s3")
    return S3Lake(s3.make_bucket("history"), access=S3Access(session=s3.session, endpoint=s3.endpoint))


def test_runs_of_one_day_at_once_all_end_well(shared: Lake) -> None:
    source = land(shared, [order(n, status=status) for n in range(50) for status in ("first", "last")])
    at_once = Barrier(3, timeout=60)

    def take(run: str) -> Appended:
        mine = extract_feed(shared, ORDERS, source, DAY, DAY + ONE_DAY, run)
        at_once.wait()
        while True:
            try:
                return append(shared, mine, run=run, max_bad=1)
            except TransientError:
                continue

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(take, ("one", "two", "three")))
    assert sorted((one.appended, one.known, one.quarantined) for one in done) == [(0, 50, 50), (0, 50, 50), (50, 0, 50)]
    assert sorted((row["order_id"], row["status"]) for row in stored(shared)) == [(n, "last") for n in range(50)]
    assert len(quarantined(shared)) == 50
    assert revisions(shared, "orders") == [(DAY, 1)]
    assert shared.files("extracted", recursive=True) == []


@pytest.mark.parametrize("table", [EVENTS, CATEGORIES], ids=lambda table: table.name)
def test_runs_of_several_days_at_once_append_no_version_twice(shared: Lake, table: Table) -> None:
    changed = pa.array([datetime(2025, 1, 29)] * 50, pa.timestamp("us"))
    rows = pa.table({table.key: range(50), table.cursors[0]: changed})
    at_once = Barrier(3, timeout=60)

    def take(day: date) -> Appended:
        chunk = Chunk(table.name, Window(DAY - timedelta(29), day + ONE_DAY))
        mine = extract_rows(shared, table, chunk, rows, day, day + ONE_DAY, str(day))
        at_once.wait()
        while True:
            try:
                return append(shared, mine, day=day, run=str(day), table=table)
            except TransientError:
                time.sleep(random.random() / 10)  # the task does so, for seconds

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(take, [DAY, DAY + ONE_DAY, DAY + 2 * ONE_DAY]))
    assert sorted((one.appended, one.known) for one in done) == [(0, 50), (0, 50), (50, 0)]
    assert len(revisions(shared, table.name)) == 3
    assert sum(manifest.rows for manifest in committed(shared, table.name)) == 50


def test_a_run_waits_for_another_that_is_about_to_commit(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = (extract(lake, [order(1), order(2)], day, run=str(day)) for day in (DAY, DAY + ONE_DAY))
    held, waits, go = Event(), Event(), Event()
    commit, sleep = history.commit, commits.sleep

    def hold(lake: Lake, manifest: Manifest) -> bool:
        if manifest.batch == DAY:
            held.set()
            assert go.wait(60)
        return commit(lake, manifest)

    def wait(seconds: float) -> None:
        waits.set()
        sleep(seconds)

    monkeypatch.setattr(history, "commit", hold)
    monkeypatch.setattr(commits, "sleep", wait)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(append, lake, mine, run=str(DAY))
        assert held.wait(60)
        second = pool.submit(append, lake, theirs, day=DAY + ONE_DAY, run=str(DAY + ONE_DAY))
        until(lambda: waits.is_set() or second.done())
        go.set()
        assert (first.result().appended, second.result().appended, second.result().known) == (2, 0, 2)


def test_a_run_that_others_may_take_for_dead_does_not_commit(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = extract(lake, [order(1)])
    monkeypatch.setattr(commits, "_COMMITS_WITHIN", timedelta(0))
    with pytest.raises(TransientError, match="Another run may have"):
        append(lake, mine)
    assert (revisions(lake, "orders"), commits.read(lake, "orders")) == ([], [])
    monkeypatch.undo()
    assert append(lake, mine).appended == 1


def test_only_one_of_two_commits_of_a_revision_wins(lake: LocalLake) -> None:
    run(lake, [order(1)])
    manifest = read_manifest(lake, "orders", DAY, 1)
    assert manifests.commit(lake, manifest) is False
    assert manifests.commit(lake, replace(manifest, revision=2)) is True


def test_parts_without_a_manifest_are_not_history(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    extracted = extract(lake, [order(1)])
    monkeypatch.setattr(history, "commit", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        append(lake, extracted)
    monkeypatch.undo()
    assert len(lake.files(paths.history("orders", DAY))) == 1
    assert (revisions(lake, "orders"), newest_batch_before(lake, "orders", DAY + ONE_DAY)) == ([], None)
    monkeypatch.setattr(commits, "_SETTLED_AFTER", timedelta(seconds=1))
    (note,) = commits.read(lake, "orders")
    assert append(lake, extracted).appended == 1
    assert datetime.now(UTC) >= note.at + timedelta(seconds=1)  # it might have been about to commit
    assert len(lake.files(paths.history("orders", DAY))) == 2


def _interrupted(*_: Any) -> bool:
    raise KeyboardInterrupt


def test_a_missing_part_is_named(lake: LocalLake) -> None:
    run(lake, [order(1)])
    (part,) = read_manifest(lake, "orders", DAY, 1).parts
    lake.delete(f"{paths.history('orders', DAY)}/{part.name}")
    with pytest.raises(HistoryError, match=part.name):
        run(lake, [order(1)])


# --- parts and manifests ---


def test_what_a_real_shop_wrote_is_told_from_what_the_simulated_one_did(lake: LocalLake) -> None:
    run(lake, [order(1)])
    found, day = [], DAY + ONE_DAY
    for records in ([], [order(2)]):
        append_batch(lake, ORDERS, day, Window(day, day), [extract(lake, records, day)], 0.01, None, "run")
        found.append(manifests.holds_real_records(lake))
    assert found == [False, True]
    assert [manifest.rows for manifest in committed(lake, "orders", day)] == [0, 1]


def test_a_part_is_read_only_where_the_cursor_is(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_GROUP_ROWS", 10)
    instants = [datetime(2025, 1, 1) + n * ONE_DAY for n in range(95)] + [None] * 5
    records = pa.table({"n": range(100), "_cursor": pa.array(instants, pa.timestamp("us")), "_version": range(100)})
    part = parts.write(lake, "history/x", 3, records)
    assert (part.rows, part.undated, part.first, part.last) == (100, 5, instants[0], instants[94])
    span = Span(datetime(2025, 1, 15), datetime(2025, 1, 24))
    read = list(parts.read(lake, f"history/x/{part.name}", span, ["n"]))
    assert [table.num_rows for table in read] == [6, 4]
    assert [n for table in read for n in table["n"].to_pylist()] == list(range(14, 24))
    undated = list(parts.read(lake, f"history/x/{part.name}", None))
    assert [table["n"].to_pylist() for table in undated] == [[95, 96, 97, 98, 99]]
    assert parts.write(lake, "history/y", 3, records).name == part.name


def test_batches_without_rows_are_not_read(lake: LocalLake) -> None:
    categories = pa.table({"category_id": [1], "updated_at": pa.array([datetime(2024, 1, 1)], pa.timestamp("us"))})
    for ahead in range(70):
        day = date(2024, 1, 1) + ahead * ONE_DAY
        chunk = Chunk("categories", Window(day, day + ONE_DAY))
        extracted = extract_rows(lake, CATEGORIES, chunk, categories, day, day + ONE_DAY, "run")
        assert append(lake, extracted, day=day, table=CATEGORIES).appended == (ahead == 0)
    assert len(revisions(lake, "categories", date(2024, 1, 2))) == 69
    assert [manifest.batch for manifest in manifests.holding(lake, "categories")] == [date(2024, 1, 1)]
    assert commits.holding(lake, "categories", datetime.now(UTC)) == manifests.holding(lake, "categories")


def test_a_manifest_is_read_as_it_was_written(lake: LocalLake) -> None:
    run(lake, [order(1), order(2, None)])
    manifest = read_manifest(lake, "orders", DAY, 1)
    assert isinstance(manifest, Manifest)
    assert manifests.from_json(manifests.to_json(manifest)) == manifest
    assert lake.read(paths.manifest("orders", DAY, 1)) == manifests.to_json(manifest)


@pytest.mark.parametrize("damage", [b"", b"{}", b"null", b'{"table": "orders"}'])
def test_an_unreadable_manifest_is_named(lake: LocalLake, damage: bytes) -> None:
    run(lake, [order(1)])
    lake.write(paths.manifest("orders", DAY, 1), damage)
    with pytest.raises(HistoryError, match=r"_manifest-1\.json"):
        committed(lake, "orders")


def test_batches_are_found_by_name(lake: LocalLake) -> None:
    days = [date(2024, 12, 31), DAY, DAY + ONE_DAY]
    for day in days:
        run(lake, [order(1)], day)
    run(lake, [order(5)], DAY)
    assert revisions(lake, "orders") == [(days[0], 1), (DAY, 1), (DAY, 2), (days[2], 1)]
    assert revisions(lake, "orders", DAY) == [(DAY, 1), (DAY, 2), (days[2], 1)]
    assert newest_batch_before(lake, "orders", DAY) == days[0]
    assert newest_batch_before(lake, "orders", days[0]) is None
    assert newest_batch_before(lake, "reviews", DAY) is None
    assert revisions(lake, "reviews") == revisions(lake, "reviews", DAY) == []

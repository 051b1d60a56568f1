"""A lake is a lake: what holds in a folder holds in a bucket, and what only a bucket has."""

import json
import logging
import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tasks.errors import HistoryError, LakeError, TransientError, is_transient
from tasks.lake import commits, manifests, meta, parts, paths
from tasks.lake.feeds import landed, write_feed
from tasks.lake.history import append_batch, extract_feed, extract_rows
from tasks.lake.manifests import Manifest, Part, committed, newest_batch_before, revisions
from tasks.lake.parts import Span
from tasks.lake.s3 import S3Lake
from tasks.lake.s3_calls import S3Access
from tasks.lake.s3_streams import PART_BYTES
from tasks.lake.store import Lake, LocalLake
from tasks.tables import TABLES
from tasks.window import Chunk, Window
from tests.proxy import Proxy, http_answer, proxied
from tests.s3_server import KEY, SECRET, Asked, S3Server, served

DAY = date(2025, 1, 31)
ONE_DAY = timedelta(1)
ORDERS, EVENTS, CATEGORIES = TABLES["orders"], TABLES["interactions"], TABLES["categories"]
PADDED = ("orders", "interactions", "categories")
LARGE = random.Random(1).randbytes(5 * PART_BYTES // 2)  # two parts and a half, no two places alike


@pytest.fixture
def bucket(s3: S3Server, request: pytest.FixtureRequest) -> str:
    """A new bucket."""
    return s3.make_bucket(f"test-{abs(hash(request.node.nodeid)):x}")


@pytest.fixture
def s3_lake(s3: S3Server, bucket: str) -> S3Lake:
    return lake_in(s3, bucket)


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "local":
        return LocalLake(tmp_path / "lake")
    found: S3Lake = request.getfixturevalue("s3_lake")
    return found


def lake_in(s3: S3Server, bucket: str, prefix: str = "team/shop", **access: Any) -> S3Lake:
    return S3Lake(bucket, prefix, access=S3Access(**{"session": s3.session, "endpoint": s3.endpoint} | access))


# --- what every lake does ---


def test_what_is_written_is_read_and_replaced_and_deleted(lake: Lake) -> None:
    for data in (b"", b"first", LARGE, b"last"):
        lake.write("a/file", data)
        assert lake.read("a/file") == data
        with lake.open_output("a/stream") as stream:
            stream.write(data[:10])
            stream.write(data[10:])
        assert lake.read("a/stream") == data
    assert (lake.exists("a/file"), lake.exists("a"), lake.exists("a/fil"), lake.exists("b")) == (
        True,
        True,
        False,
        False,
    )
    lake.delete("a/file")
    lake.delete("a/file")
    assert [file.path for file in lake.files("a")] == ["a/stream"]


def test_a_folder_is_deleted_with_all_it_holds_and_nothing_else(lake: Lake) -> None:
    for path in ("a/1", "a/b/2", "a/b/c/3", "a-b/4", "ab/5", "b"):
        lake.write(path, b"x")
    lake.delete("a")
    assert [lake.exists(path) for path in ("a", "a/b/2", "a-b/4", "ab/5", "b")] == [False, False, True, True, True]


def test_files_are_swept_by_name_and_age(lake: Lake) -> None:
    now = datetime.now(UTC)
    for path in ("a/b/x-1", "a/b/c/x-2", "a/b/y", "a/b/.x", "ab/x-3"):
        lake.write(path, b"")
    lake.sweep("a", prefix="x-", before=now - ONE_DAY)
    assert len(lake.files("a", recursive=True)) == 3
    lake.sweep("a/b", prefix="x-")
    assert [file.path for file in lake.files("a", recursive=True)] == ["a/b/y"]
    lake.sweep("a", before=now + ONE_DAY)
    assert [lake.exists(path) for path in ("a/b/y", "a/b/.x", "ab/x-3")] == [False, False, True]
    lake.sweep("a", before=now + ONE_DAY)
    lake.sweep("none")
    assert not lake.exists("a")


def test_files_and_folders_are_listed(lake: Lake) -> None:
    names = ["b=1/x", "b=1/y/z", "b=2/x", "b=3/y/deep/z", "c", ".hidden", "b=2/.partial", "ä/ß", "a b/+%"]
    for name in names:
        lake.write(f"top/{name}", name.encode())
    shown = sorted(f"top/{name}" for name in names if "/." not in f"/{name}")
    assert [file.path for file in lake.files("top", recursive=True)] == shown
    assert [file.size for file in lake.files("top", recursive=True)] == [len(name.encode()) - 4 for name in shown]
    assert [file.path for file in lake.files("top")] == ["top/c"]
    assert [file.path for file in lake.files("top/b=1")] == ["top/b=1/x"]
    assert lake.folders("top") == ["a b", "b=1", "b=2", "b=3", "ä"]
    since = [file.path for file in lake.files("top", recursive=True, since="b=2")]
    assert since == ["top/b=2/x", "top/b=3/y/deep/z", "top/c", "top/ä/ß"]
    assert lake.files("none") == lake.files("none", recursive=True, since="x") == lake.folders("none") == []


def test_a_tag_tells_a_change(lake: Lake) -> None:
    lake.write("a/x", b"1")
    first = lake.files("a")
    assert lake.files("a") == first
    lake.write("a/x", b"2")
    assert lake.files("a")[0].tag != first[0].tag


@pytest.mark.parametrize("size", [10, len(LARGE)])
def test_a_block_that_fails_leaves_what_was_there(lake: Lake, size: int) -> None:
    lake.write("a/x", b"before")
    for path in ("a/x", "a/new"):
        with pytest.raises(KeyError), lake.open_output(path) as stream:  # noqa: PT012 - the block is what fails
            stream.write(LARGE[:size])
            raise KeyError
        with pytest.raises(KeyError), lake.open_output(path) as file:  # noqa: PT012
            with pa.CompressedOutputStream(file, "zstd") as packed:
                packed.write(LARGE[:size])
            raise KeyError
    assert lake.read("a/x") == b"before"
    assert [file.path for file in lake.files("a", recursive=True)] == ["a/x"]


def test_of_many_creators_at_once_one_wins(lake: Lake) -> None:
    for turn in range(3):
        start = threading.Barrier(8)

        def create(n: int, turn: int = turn, start: threading.Barrier = start) -> bool:
            start.wait()
            return lake.create(f"commit/{turn}", str(n).encode())

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(8)))
        assert sum(won) == 1
        assert lake.read(f"commit/{turn}") == str(won.index(True)).encode()


def test_what_is_not_there_is_not_found(lake: Lake) -> None:
    lake.write("a/x", b"")
    for open_ in (lake.read, lake.filesystem.open_input_file, lambda p: lake.filesystem.open_input_stream(p, "zstd")):
        with pytest.raises(FileNotFoundError):
            open_("a/y")


def test_a_file_is_read_anywhere(lake: Lake) -> None:
    lake.write("x", LARGE)
    lake.write("empty", b"")
    with lake.filesystem.open_input_file("x") as file:
        assert file.size() == len(LARGE)
        for at, size in ((0, 10), (len(LARGE) - 5, 100), (PART_BYTES - 3, 7), (3, len(LARGE)), (1 << 20, 6 << 20)):
            file.seek(at)
            assert file.read(size) == LARGE[at : at + size]
            assert file.read_at(size, at) == LARGE[at : at + size]
        file.seek(-9, 2)
        assert (file.tell(), file.read()) == (len(LARGE) - 9, LARGE[-9:])
    with lake.filesystem.open_input_file("empty") as file:
        assert (file.size(), file.read()) == (0, b"")


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_what_is_compressed_is_read_as_it_was(lake: Lake, codec: Any) -> None:
    with lake.open_output("x") as file, pa.CompressedOutputStream(file, codec) as stream:
        stream.write(LARGE)
    with lake.filesystem.open_input_stream("x", codec) as stream:
        assert stream.read() == LARGE


def test_parts_are_read_by_their_cursor(lake: Lake) -> None:
    instants = [datetime(2025, 1, 1) + timedelta(minutes=n) for n in range(100_000)]  # noqa: DTZ001
    columns = {"n": range(100_000), "_cursor": pa.array(instants, pa.timestamp("us")), "_version": range(100_000)}
    records = pa.table(columns)
    part = parts.write(lake, "history/x/batch=2025-01-01", 0, records)
    span = Span(instants[50_000], instants[50_009])
    read = parts.read(lake, f"history/x/batch=2025-01-01/{part.name}", span, ["n"])
    assert [n for block in read for n in block["n"].to_pylist()] == list(range(50_000, 50_010))
    manifest = a_manifest("x", date(2025, 1, 1), (part,))
    assert parts.totals(lake, manifest) == (100_000, sum(range(100_000)))
    whole = lake.read(f"history/x/batch=2025-01-01/{part.name}")
    lake.write(f"history/x/batch=2025-01-01/{part.name}", whole[:4] + b"\xff" * 2_000 + whole[2_004:])
    with pytest.raises(HistoryError, match=f"{part.name} is damaged"):
        list(parts.read(lake, f"history/x/batch=2025-01-01/{part.name}", Span(instants[0], instants[-1])))
    lake.write(f"history/x/batch=2025-01-01/{part.name}", b"")
    with pytest.raises(HistoryError, match="damaged"):
        parts.totals(lake, manifest)


def test_a_lake_is_emptied(lake: Lake) -> None:
    assert meta.is_empty(lake)
    meta.begin(lake, meta.LakeInfo(DAY, DAY))
    lake.write("history/x/y", b"")
    assert not meta.is_empty(lake)
    meta.begin_reset(lake)
    assert meta.is_resetting(lake)
    meta.finish_reset(lake)
    assert meta.is_empty(lake)
    assert not meta.is_resetting(lake)


# --- the history in both ---


def a_manifest(table: str, day: date, written: tuple[Part, ...] = (), sources: tuple[Any, ...] = ()) -> Manifest:
    window = Window(day - 29 * ONE_DAY, day + ONE_DAY)
    rows, digest = sum(part.rows for part in written), sum(part.digest for part in written)
    return Manifest(table, day, 1, window, rows, 0, 0, digest, {}, written, sources, None)


def events(days: int, per_day: int) -> pa.Table:
    created = [datetime.combine(DAY - n % days * ONE_DAY, datetime.min.time()) for n in range(days * per_day)]
    columns = {"event_id": range(len(created)), "event_type": ["view"] * len(created), "created_at": created}
    return pa.table(columns, pa.schema([EVENTS.history_schema.field(name) for name in columns]))


def categories(number: int) -> pa.Table:
    columns = {"category_id": range(number), "updated_at": [datetime.combine(DAY, datetime.min.time())] * number}
    return pa.table(columns, pa.schema([CATEGORIES.history_schema.field(name) for name in columns]))


def take_day(lake: Lake, day: date) -> None:
    """What a run takes of three tables on a day: a feed with a bad record, and rows of a database."""
    feed = [
        {"order_id": n, "status": "Shipped", "updated_at": f"{day - n % 9 * ONE_DAY}T10:00:00Z"} for n in range(500)
    ]
    lake.write(f"{paths.landing('orders', day)}/feed.json", json.dumps([*feed, {"order_id": "?"}]).encode())
    window = Window(newest_batch_before(lake, "orders", day) or day - 29 * ONE_DAY, day + ONE_DAY)
    taken = {source for manifest in committed(lake, "orders", window.start) for source in manifest.sources}
    sources = landed(lake, ORDERS, window, taken)
    extracted = [extract_feed(lake, ORDERS, source, day, day + ONE_DAY, "run") for source in sources]
    assert append_batch(lake, ORDERS, day, window, extracted, 0.01, None, "run").quarantined == 1
    chunk = Chunk("interactions", window)
    rows = extract_rows(lake, EVENTS, chunk, events(9, 99), day, day, "run")
    append_batch(lake, EVENTS, day, window, [rows], 0.01, None, "run")
    rows = extract_rows(lake, CATEGORIES, Chunk("categories", window), categories(5), day, day, "run")
    append_batch(lake, CATEGORIES, day, window, [rows], 0.01, None, "run")


def test_a_bucket_gets_the_bytes_that_a_folder_gets(s3_lake: S3Lake, tmp_path: Path) -> None:
    local = LocalLake(tmp_path / "lake")
    for lake in (local, s3_lake):
        for ahead in range(3):
            take_day(lake, DAY + ahead * ONE_DAY)
    contents = []
    for lake in (local, s3_lake):
        files = [file.path for top in paths.FOLDERS for file in lake.files(top, recursive=True)]
        found = {path: lake.read(path) for path in files}
        for path in files:
            if "_manifest" in path:  # tells the feeds' tags, of which each store has its own
                found[path] = json.dumps(json.loads(found[path]) | {"sources": None}).encode()
        contents.append(found)
    assert contents[0] == contents[1]
    assert sum("part-" in path for path in contents[0]) == 5
    assert sum("quarantine" in path for path in contents[0]) == 3


def test_a_feed_is_written_alike(s3_lake: S3Lake, tmp_path: Path) -> None:
    local = LocalLake(tmp_path / "lake")
    records = pa.table({field.name: pa.nulls(3, field.type) for field in ORDERS.shop_schema})
    written = [write_feed(lake, ORDERS, DAY, "shop", records) for lake in (local, s3_lake)]
    assert (written[0].path, written[0].size) == (written[1].path, written[1].size)
    assert local.read(written[0].path) == s3_lake.read(written[0].path)


# --- what a daily run costs ---


def pad(lake: S3Lake, batches: int) -> S3Lake:
    """A committed batch of three tables, a day before the next one, and a feed for each of so many days before DAY."""
    now = datetime.now(UTC)

    def day_before(n: int) -> None:
        day = DAY - (n + 1) * ONE_DAY
        for table in PADDED:
            manifest = a_manifest(table, day)
            commits.write(lake, manifest, (), now - (n + 1) * ONE_DAY)
            manifests.commit(lake, manifest)
        lake.write(f"{paths.landing('orders', day)}/feed.json", b"[]")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(day_before, range(batches)))
    return lake


@pytest.fixture(scope="module")
def padded(s3: S3Server) -> dict[int, S3Lake]:
    """Lakes with as many batches, by that number."""
    bucket = s3.make_bucket("padded")
    return {batches: pad(lake_in(s3, bucket, str(batches)), batches) for batches in (60, 600)}


def listings(asked: list[Asked]) -> tuple[int, int]:
    lists = [one for one in asked if one.lists]
    return len(lists), sum(one.listed for one in lists)


def test_a_day_lists_no_more_after_600_days_than_after_60(s3: S3Server, padded: dict[int, S3Lake]) -> None:
    costs = {}
    for batches, lake in padded.items():
        loaded = {table: set(revisions(lake, table)) for table in PADDED}
        s3.asked()
        take_day(lake, DAY)
        for table in PADDED:
            (new,) = commits.lacking(lake, table, loaded[table], datetime.now(UTC))
            assert new.batch == DAY
        costs[batches] = listings(s3.asked())
    assert costs[60] == costs[600]
    requests, keys = costs[600]
    assert requests <= 10 * len(PADDED)
    assert keys <= 300  # 30 days of a table, listed a few times


def test_the_newest_batch_is_found_however_long_ago(lake: Lake) -> None:
    days = [DAY - timedelta(back) for back in (2_000, 390, 31, 1)]
    for day in days:
        manifests.commit(lake, a_manifest("orders", day))
        assert newest_batch_before(lake, "orders", DAY) == day
    assert newest_batch_before(lake, "orders", days[2]) == days[1]
    assert newest_batch_before(lake, "orders", days[0]) is None


def test_more_than_a_page_is_listed_and_deleted(s3: S3Server, padded: dict[int, S3Lake]) -> None:
    lake = padded[600]
    assert len(lake.files("history", recursive=True)) >= 1_200
    assert len(lake.folders("history/interactions")) >= 600
    s3.asked()
    lake.delete("history")
    assert len(s3.asked()) <= 6
    assert not lake.exists("history")
    assert lake.exists("landing")


def test_a_small_object_is_one_request_and_a_window_of_a_large_one_too(s3: S3Server, s3_lake: S3Lake) -> None:
    s3.asked()
    s3_lake.write("small", b"x" * 1_000_000)
    s3_lake.read("small")
    with s3_lake.filesystem.open_input_file("small") as file:
        file.read(10)
        file.seek(-10, 2)
        file.read(10)
    assert [one.method for one in s3.asked()] == ["PUT", "GET", "GET"]


# --- what only a bucket has ---


def test_a_prefix_is_kept_to(s3: S3Server, bucket: str) -> None:
    lakes = [lake_in(s3, bucket, prefix) for prefix in ("", "/one/", "one/two")]
    for lake in reversed(lakes):
        lake.write("a/x", b"")
        lake.create("b", b"")
    keys = [entry["Key"] for entry in s3.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert {key for key in keys if "_" not in key} == {"a/x", "b", "one/a/x", "one/b", "one/two/a/x", "one/two/b"}
    lakes[1].delete("a")
    assert [lake.exists("a") for lake in lakes] == [True, False, True]
    assert lakes[2].files("a")[0].path == "a/x"


@pytest.mark.parametrize(("kind", "key"), [("AES256", None), ("aws:kms", "a-key"), (None, None)])
def test_encryption_is_asked_for_with_every_write(s3: S3Server, bucket: str, kind: str | None, key: str | None) -> None:
    lake = lake_in(s3, bucket, encryption=kind, kms_key=key)
    s3.asked()
    lake.write("small", b"x")
    lake.write("large", LARGE)
    lake.create("created", b"x")
    # The parts of an upload are encrypted as it was begun.
    writes = [one for one in s3.asked() if one.method in ("PUT", "POST") and "uploadId" not in one.query]
    writes = [one for one in writes if one.query != "delete"]
    prefix = "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"
    assert len(writes) >= 4
    assert {one.headers.get(prefix) for one in writes} == {kind}
    assert {one.headers.get(f"{prefix}_AWS_KMS_KEY_ID") for one in writes} == {key}


def test_a_failed_upload_leaves_nothing_to_pay_for(s3: S3Server, s3_lake: S3Lake, bucket: str) -> None:
    with pytest.raises(KeyError), s3_lake.open_output("a/x") as stream:  # noqa: PT012 - the block is what fails
        stream.write(LARGE)
        assert s3.client().list_multipart_uploads(Bucket=bucket)["Uploads"]
        raise KeyError
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)
    assert "Contents" not in s3.client().list_objects_v2(Bucket=bucket)


def test_200_mb_pass_through_little_memory(s3_lake: S3Lake) -> None:
    block, blocks = bytes(1 << 20), 200
    tracemalloc.start()
    try:
        with s3_lake.open_output("large") as stream:
            for _ in range(blocks):
                stream.write(block)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        with s3_lake.filesystem.open_input_stream("large", None) as stream:
            assert sum(len(stream.read(1 << 20)) for _ in range(blocks + 1)) == blocks << 20
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert written < 64 << 20
    assert read < 8 << 20
    s3_lake.delete("large")


# --- stores without conditional writes ---


def ignoring(proxy: Proxy) -> None:
    proxy.rewrite(b"If-None-Match", b"X-None-of-it-")


def refusing(proxy: Proxy) -> None:
    error = "<Error><Code>NotImplemented</Code><Message>A header is not implemented.</Message></Error>"
    proxy.answer(http_answer("501 Not Implemented", error), 10**6, lambda head: b"If-None-Match" in head)


@pytest.mark.parametrize("make", [ignoring, refusing])
def test_a_store_without_conditional_writes_is_told_and_one_creator_wins(
    s3: S3Server, bucket: str, make: Callable[[Proxy], None], caplog: pytest.LogCaptureFixture
) -> None:
    with proxied("127.0.0.1", int(s3.endpoint.rpartition(":")[2])) as proxy:
        make(proxy)
        endpoint = f"http://127.0.0.1:{proxy.port}"
        lakes = [lake_in(s3, bucket, endpoint=endpoint) for _ in range(4)]
        with caplog.at_level(logging.WARNING):
            assert [lake.create("first", str(n).encode()) for n, lake in enumerate(lakes)] == [True] + [False] * 3
        assert "has no conditional writes" in caplog.text
        with ThreadPoolExecutor(4) as pool:
            for turn in range(5):
                won = list(pool.map(lambda lake, turn=turn: _tried(lake, f"c/{turn}"), lakes))
                assert won.count(True) <= 1
                assert lakes[0].create(f"c/{turn}", b"last") == (True not in won)
        assert [file.path for file in lakes[0].files("c")] == [f"c/{turn}" for turn in range(5)]
        keys = [entry["Key"] for entry in s3.client().list_objects_v2(Bucket=bucket)["Contents"]]
        assert not [key for key in keys if "claim" in key]


def _tried(lake: S3Lake, path: str) -> bool | None:
    try:
        return lake.create(path, b"mine")
    except TransientError:
        return None


# --- what a person has to correct ---


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[S3Server, Any]]:
    """A server that checks credentials, with a bucket `guarded`; and a user who may only list it."""
    with served() as server:
        server.make_bucket("guarded")
        iam = server.client("iam")
        iam.create_user(UserName="reader")
        policy = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
        made = iam.create_access_key(UserName="reader")["AccessKey"]
        server.check_credentials(after=0)
        yield server, (made["AccessKeyId"], made["SecretAccessKey"])


def said(lake: Callable[[], Lake]) -> str:
    """The one sentence in which a lake refuses at once, whatever is asked of it."""
    started = time.monotonic()
    with pytest.raises(LakeError) as caught:
        lake().write("a/x", b"")
    assert not is_transient(caught.value)
    assert time.monotonic() - started < 10
    sentence = str(caught.value)
    assert sentence.endswith(" in block 'shop'.")
    assert sentence.startswith("The lake's bucket '")
    assert SECRET not in sentence
    return sentence


def test_a_missing_bucket_is_named(s3: S3Server) -> None:
    s3.asked()
    sentence = said(lambda: lake_in(s3, "no-such-bucket", block="block 'shop'"))
    assert "'no-such-bucket'" in sentence
    assert "does not exist" in sentence
    assert "bucket_name" in sentence
    assert len(s3.asked()) == 1
    lake = lake_in(s3, "no-such-bucket")
    for ask in (lake.read, lake.files, lake.exists, lake.delete, lake.folders, lake.filesystem.open_input_file):
        with pytest.raises(LakeError, match="bucket_name"):
            ask("a")


def test_a_bucket_name_that_cannot_be_is_named(s3: S3Server) -> None:
    assert "bucket_name" in said(lambda: lake_in(s3, "No Bucket!", block="block 'shop'"))


def test_wrong_and_insufficient_credentials_are_named(guarded: tuple[S3Server, Any]) -> None:
    server, (key, secret) = guarded

    def lake(*credentials: str) -> Callable[[], S3Lake]:
        return lambda: lake_in(server, "guarded", session=lambda: server.session(*credentials), block="block 'shop'")

    assert "aws_access_key_id" in said(lake("unknown", secret))
    assert "aws_secret_access_key" in said(lake(key, "wrong"))
    denied = said(lake(key, secret))
    assert "denied PutObject of 'a/x'" in denied
    assert "s3:PutObject" in denied
    assert lake(key, secret)().files("a") == []


def test_missing_credentials_and_profiles_are_named(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    for name, value in (("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_CONFIG_FILE", "/no"), ("AWS_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/no")
    assert "profile" in said(lambda: lake_in(s3, "some-bucket", session=boto3.Session, block="block 'shop'"))
    profile = lambda: boto3.Session(profile_name="missing")  # noqa: E731
    assert "missing" in said(lambda: lake_in(s3, "some-bucket", session=profile, block="block 'shop'"))


def test_a_wrong_endpoint_is_named(s3: S3Server) -> None:
    assert "not a url" in said(lambda: lake_in(s3, "some-bucket", endpoint="not a url", block="block 'shop'"))


EXPIRED = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


@pytest.fixture
def expiring(s3: S3Server) -> Iterator[str]:
    """An endpoint at which the session token `old` has expired."""
    with proxied("127.0.0.1", int(s3.endpoint.rpartition(":")[2])) as proxy:
        old = lambda head: b"X-Amz-Security-Token: old" in head  # noqa: E731
        proxy.answer(http_answer("400 Bad Request", EXPIRED), 10**6, old)
        yield f"http://127.0.0.1:{proxy.port}"


def test_an_expired_token_is_named(s3: S3Server, expiring: str, bucket: str) -> None:
    old = lambda: s3.session(token="old")  # noqa: E731
    assert "aws_session_token" in said(
        lambda: lake_in(s3, bucket, session=old, endpoint=expiring, block="block 'shop'")
    )


def test_a_token_that_expires_during_a_run_is_renewed(s3: S3Server, expiring: str, bucket: str) -> None:
    given = []

    def session() -> Any:
        given.append("old" if len(given) < 2 else "new")
        return s3.session(token=given[-1])

    with pytest.raises(LakeError, match="expired"):
        lake_in(s3, bucket, session=session, endpoint=expiring).write("a", b"")
    given[:] = ["old"]
    lake = lake_in(s3, bucket, session=session, endpoint=expiring)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: lake.write(f"a/{n}", LARGE[: PART_BYTES * (n % 2) + 9]), range(8)))
    assert len(lake.files("a")) == 8
    assert given == ["old", "old", "new"]


def test_keys_are_never_in_what_a_lake_says_of_itself(s3_lake: S3Lake) -> None:
    assert SECRET not in f"{s3_lake.address}{s3_lake.bucket.access!r}"
    assert KEY not in f"{s3_lake.address}{s3_lake.bucket.access!r}"

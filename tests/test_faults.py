"""Faults on the wire: retried where they pass, told in a sentence where they last, never a hang."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from tasks.errors import TransientError, is_transient
from tasks.lake import parts, paths
from tasks.lake.feeds import read_feed
from tasks.lake.s3 import S3Lake
from tasks.lake.s3_calls import S3Access
from tasks.lake.s3_streams import PART_BYTES, WINDOW_BYTES
from tasks.tables import TABLES
from tests.proxy import SLOW_DOWN, Proxy, http_answer, proxied
from tests.s3_server import S3Server
from tests.test_s3 import DAY, LARGE, ONE_DAY

FOREVER = 10**6
BUSY = http_answer("503 Slow Down", SLOW_DOWN)
UNAVAILABLE = http_answer("503 Service Unavailable", "", "text/html")  # of a load balancer, which speaks no S3
BROKEN = http_answer("500 Internal Server Error", "<Error><Code>InternalError</Code><Message>Again.</Message></Error>")

# --- S3 ---


@pytest.fixture(scope="module")
def behind_wire(s3: S3Server) -> Iterator[tuple[Proxy, S3Lake]]:
    """A proxy in front of S3, and a lake behind it that asks for everything three times and waits half a second."""
    with proxied("127.0.0.1", int(s3.endpoint.rpartition(":")[2])) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        access = S3Access(s3.session, endpoint, connect_timeout=0.5, read_timeout=0.5, attempts=3)
        lake = S3Lake(s3.make_bucket("faults"), "lake", access=access)
        lake.write("large", LARGE)
        yield proxy, lake


@pytest.fixture
def wire(behind_wire: tuple[Proxy, S3Lake]) -> Proxy:
    return behind_wire[0]


@pytest.fixture
def lake(behind_wire: tuple[Proxy, S3Lake]) -> Iterator[S3Lake]:
    """The lake with the objects `small` and `large`, whose wire is whole again at the end."""
    wire, lake = behind_wire
    wire.made = 0
    lake.write("small", b"small")
    lake.create("first", b"")  # asks once whether the store has conditional writes
    yield lake
    wire.heal()
    wire.reset()
    lake.delete("new")


def read_anywhere(lake: S3Lake) -> bytes:
    with lake.filesystem.open_input_file("large") as file:
        found: bytes = file.read()
    return found


def read_in_pieces(lake: S3Lake) -> bytes:
    with lake.filesystem.open_input_stream("large", None) as file:
        return b"".join(iter(lambda: file.read(1_000_000), b""))


USES: dict[str, tuple[Callable[[S3Lake], Any], Any]] = {
    "read": (lambda lake: lake.read("large"), LARGE),
    "read anywhere": (read_anywhere, LARGE),
    "read in pieces": (read_in_pieces, LARGE),
    "write": (lambda lake: lake.write("new", b"new"), None),
    "write much": (lambda lake: lake.write("new", LARGE), None),
    "create": (lambda lake: lake.create("new", b"new"), True),
    "create again": (lambda lake: lake.create("small", b"new"), False),
    "list": (lambda lake: [file.path for file in lake.files("none")], []),
    "exists": (lambda lake: lake.exists("small"), True),
    "delete": (lambda lake: lake.delete("small"), None),
}
WRITTEN = {"write": b"new", "write much": LARGE, "create": b"new"}

FAULTS: dict[str, Callable[[Proxy, int], None]] = {
    "SlowDown": lambda wire, times: wire.answer(BUSY, times),
    "503": lambda wire, times: wire.answer(UNAVAILABLE, times),
    "InternalError": lambda wire, times: wire.answer(BROKEN, times),
    "refused": lambda wire, times: (wire.reset(), wire.refuse(times))[0],
    # After the 50 bytes by which moto asks for the body, twice: what was asked for has been done.
    "lost answer": lambda wire, times: (wire.reset(), wire.cut_answers(60, times))[0],
    "cut request": lambda wire, times: wire.cut_requests(50, times),
    "no answer": lambda wire, times: (wire.reset(), wire.stall(times))[0],
    "silent answer": lambda wire, times: (wire.reset(), wire.silence_answers(60, times))[0],
    "silent request": lambda wire, times: (wire.reset(), wire.silence_requests(50, times))[0],
}


# Every use meets three faults, a commit meets them all.
MET = [
    (use, fault) for n, use in enumerate(USES) for m, fault in enumerate(FAULTS) if (m - n) % 3 == 0 or use == "create"
]
LASTING = [("read anywhere", fault) for fault in FAULTS]
LASTING += [
    ("read", "no answer"),
    ("write much", "cut request"),
    ("write much", "silent request"),
    ("create", "lost answer"),
    ("list", "SlowDown"),
]


@pytest.mark.parametrize(("use", "fault"), MET)
def test_a_fault_that_passes_is_not_noticed(lake: S3Lake, wire: Proxy, use: str, fault: str) -> None:
    act, expected = USES[use]
    FAULTS[fault](wire, 1)
    assert act(lake) == expected
    assert wire.made == 1
    wire.heal()
    if use in WRITTEN:
        assert lake.read("new") == WRITTEN[use]
    assert lake.exists("small") == (use != "delete")


@pytest.mark.parametrize(("use", "fault"), LASTING)
def test_a_fault_that_lasts_is_told_as_one_that_may_pass(lake: S3Lake, wire: Proxy, use: str, fault: str) -> None:
    FAULTS[fault](wire, FOREVER)
    started = time.monotonic()
    with pytest.raises(TransientError) as caught:
        USES[use][0](lake)
    assert time.monotonic() - started < 20
    assert is_transient(caught.value)
    assert lake.address in str(caught.value)
    wire.heal()
    assert not lake.exists("new") or fault == "lost answer"


SPARED = "<DeleteResult><Error><Key>lake/small</Key><Code>{}</Code><Message>Not now.</Message></Error></DeleteResult>"


@pytest.mark.parametrize("code", ["SlowDown", "InternalError"])
def test_an_answer_that_looks_well_but_tells_an_error_is_told(lake: S3Lake, wire: Proxy, code: str) -> None:
    """S3 begins to answer a long job with 200 before it knows."""
    failed = f"<Error><Code>{code}</Code><Message>Not now.</Message></Error>"
    wire.answer(http_answer("200 OK", failed), 1, lambda head: b"uploadId" in head and head.startswith(b"POST"))
    lake.write("new", LARGE)
    assert lake.read("new") == LARGE
    wire.answer(http_answer("200 OK", SPARED.format(code)), 1, lambda head: b"?delete" in head)
    with pytest.raises(TransientError, match=f"DeleteObjects of 'small' with {code}"):
        lake.delete("small")
    assert lake.exists("small")


@pytest.mark.parametrize("after", [1, WINDOW_BYTES - 1_000, PART_BYTES + 1])
@pytest.mark.parametrize("use", ["read", "read in pieces", "read anywhere"])
def test_a_transfer_cut_in_half_goes_on(lake: S3Lake, wire: Proxy, use: str, after: int) -> None:
    for fault in (wire.cut_answers, wire.silence_answers):
        wire.reset()
        fault(after, 1)
        assert USES[use][0](lake) == LARGE
    assert wire.made == 2


@pytest.mark.parametrize("after", [1, PART_BYTES - 1])
def test_an_upload_that_stops_halfway_goes_on(lake: S3Lake, wire: Proxy, after: int) -> None:
    wire.reset()
    wire.silence_requests(after, 2)
    lake.write("new", LARGE)
    assert lake.read("new") == LARGE


@pytest.mark.parametrize("after", [1, PART_BYTES - 1, 2 * PART_BYTES])
def test_an_upload_cut_in_half_goes_on(lake: S3Lake, wire: Proxy, after: int) -> None:
    wire.reset()
    wire.cut_requests(after, 2)
    lake.write("new", LARGE)
    assert lake.read("new") == LARGE


def test_a_feed_and_a_part_that_break_off_are_told_as_what_may_pass(lake: S3Lake, wire: Proxy) -> None:
    """Arrow reads them: the error comes through its parsers as it is, and is not taken for damage."""
    orders = TABLES["orders"]
    with (
        lake.open_output(f"{paths.landing('orders', DAY)}/feed") as file,
        pa.CompressedOutputStream(file, "gzip") as out,
    ):
        out.write(b'{"order_id": 1}\n' * 10)
    records = pa.table({"_cursor": pa.array([None], pa.timestamp("us")), "_version": [1]})
    part = parts.write(lake, "history/x", 0, records)
    (feed,) = lake.files(paths.landing("orders", DAY))
    with lake.filesystem.open_input_file(f"history/x/{part.name}"):
        wire.cut_answers(300, FOREVER)
    for read in (read_feed(lake, orders, feed, DAY + ONE_DAY), parts.read(lake, f"history/x/{part.name}", None)):
        with pytest.raises(TransientError):
            list(read)


def test_a_file_that_is_replaced_while_it_is_read_is_told(lake: S3Lake) -> None:
    lake.write("new", LARGE)
    with lake.filesystem.open_input_file("new") as file:
        lake.write("new", LARGE[::-1])
        with pytest.raises(TransientError, match="PreconditionFailed"):
            file.read()


def test_a_slow_wire_is_only_slow(lake: S3Lake, wire: Proxy) -> None:
    wire.delay(0.05)
    assert lake.read("small") == b"small"
    assert lake.create("new", b"new")


# A commit whose answer is lost: what was asked for was done, and asking again finds it there.


def test_a_commit_whose_answer_is_lost_is_won(lake: S3Lake, wire: Proxy, s3: S3Server) -> None:
    wire.reset()
    s3.asked()
    wire.cut_answers(60, 1)  # moto asks for the body by 50 bytes; its answer does not pass
    assert lake.create("new", b"mine")
    tried = [one.status for one in s3.asked() if one.method == "PUT" and one.path.endswith("/new")]
    assert (wire.made, tried) == (1, [200, 412])
    assert lake.read("new") == b"mine"


def test_a_commit_whose_answer_is_lost_is_not_won_from_another(lake: S3Lake, wire: Proxy) -> None:
    """Even one that wrote the same bytes: each knows its own by a mark."""
    lake.write("new", b"mine")
    wire.reset()
    wire.cut_answers(60, 1)
    assert not lake.create("new", b"mine")
    assert wire.made == 1

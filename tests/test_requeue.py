"""Repaired records on their way from quarantine back into the history."""

import json
import subprocess
import sys
from datetime import date

import pytest

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.parameters import FeedName
from flows.requeue import requeue
from tasks.errors import ParameterError
from tasks.lake import paths
from tasks.tables import TABLES, Home
from tests.conftest import ROOT
from tests.test_announce import failure_of, newest_run

DAY, NEXT = date(2025, 1, 1), date(2025, 1, 2)
GOOD = {"order_id": 9_000_001, "customer_id": 1, "total_amount": 10.5, "updated_at": "2025-01-01T12:00:00Z"}
BAD = GOOD | {"order_id": 9_000_002, "total_amount": "a lot"}


def test_the_form_offers_the_tables_that_come_as_feeds() -> None:
    assert set(FeedName.__args__) == {name for name, table in TABLES.items() if table.home is Home.JSON}


def test_a_repaired_record_is_taken_by_the_next_run(shop: Stack) -> None:
    lake = shop.open_lake()
    lake.write(
        f"{paths.landing('orders', DAY)}/feed.jsonl", b"".join(json.dumps(r).encode() + b"\n" for r in (GOOD, BAD))
    )
    first = {line.table: line for line in daily_increment(DAY).tables}["orders"]
    assert first.quarantined == 1

    (kept,) = lake.files(paths.quarantine("orders", DAY))
    entry = json.loads(lake.read(kept.path))
    lake.write("repaired/orders.jsonl", json.dumps(entry).encode())
    with pytest.raises(ParameterError, match=r"1 of 1 records cannot be taken yet: record 1: total_amount"):
        requeue("orders", file="repaired/orders.jsonl", day=NEXT)

    entry["record"] = entry["record"].replace('"a lot"', "12.34")
    lake.write("repaired/orders.jsonl", json.dumps(entry).encode())
    landed = requeue("orders", file="repaired/orders.jsonl", day=NEXT)
    assert landed == requeue("orders", file="repaired/orders.jsonl", day=NEXT)
    daily_increment(NEXT)
    with shop.open_warehouse() as warehouse:
        found = warehouse.query("select total_amount from raw.orders where order_id = 9000002")
    assert [str(amount) for (amount,) in found] == ["12.34"]
    assert lake.exists(kept.path)


def test_the_command_tells_where_the_feed_lies(shop: Stack) -> None:
    shop.open_lake().write("repaired/orders.jsonl", json.dumps({"record": json.dumps(GOOD)}).encode())
    options = ["--table", "orders", "--file", "repaired/orders.jsonl", "--day", str(NEXT)]
    ended = subprocess.run(
        [sys.executable, "-m", "flows.requeue", *options], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert shop.open_lake().exists(ended.stdout.splitlines()[-1])


def test_records_can_be_given_as_they_are(shop: Stack) -> None:
    path = requeue("orders", records=[GOOD], day=NEXT)
    assert newest_run()["name"] == "local orders 2025-01-02"
    assert json.loads(shop.open_lake().read(path)) == GOOD


def test_what_cannot_be_requeued_is_refused(shop: Stack) -> None:
    shop.open_lake().write("repaired/empty.jsonl", b"\n")
    for given in ({}, {"records": [], "file": ""}, {"records": [GOOD], "file": "repaired/empty.jsonl"}):
        with pytest.raises(ParameterError, match="Give either records or a file of them"):
            requeue("orders", day=NEXT, **given)
    with pytest.raises(ParameterError, match="the file has no records"):
        requeue("orders", file="repaired/empty.jsonl", day=NEXT)
    with pytest.raises(ParameterError, match="day 2999-01-01 has not begun"):
        requeue("orders", records=[GOOD], day=date(2999, 1, 1))
    assert "requeue local orders 2999-01-01 failed" in failure_of(newest_run())
    with pytest.raises(ParameterError, match="no repaired copy"):
        requeue("orders", file="repaired/nothing.jsonl", day=NEXT)
    shop.open_lake().write("repaired/other.jsonl", b'{"rec": 1}\n')
    with pytest.raises(ParameterError, match="no repaired copy"):
        requeue("orders", file="repaired/other.jsonl", day=NEXT)

"""Days that do not go as planned: late, bad and damaged feeds, missed days, locks, and what a run tells of it."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.states import State

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from flows.occasion import occasion
from tasks.balance import IngestReport
from tasks.begin import begin_increment
from tasks.errors import FeedError, ParameterError, ReconcileError, WarehouseError
from tasks.lake import history, paths
from tasks.lake.history import Appended
from tasks.lake.manifests import read_manifest, revisions
from tasks.load import load
from tasks.plan import Run
from tasks.prune import ABANDONED
from tasks.reconcile import reconcile
from tasks.retry import RETRY
from tasks.tables import TABLES, Home
from tasks.window import Window

FIRST, SECOND, THIRD = (date(2025, 1, n) for n in (1, 2, 3))
FEEDS = [table.name for table in TABLES.values() if table.home is Home.JSON]


def deliver(stack: Stack, table: str, day: date, content: bytes, name: str = "feed.json") -> None:
    stack.open_lake().write(f"{paths.landing(table, day)}/{name}", content)


def deliver_nothing(stack: Stack, day: date, *, but: Iterable[str] = ()) -> None:
    for table in FEEDS:
        if table not in but:
            deliver(stack, table, day, b"[]")


def orders(good: int, bad: int) -> bytes:
    """A feed of new orders, of which the bad ones have a fraction of a cent."""
    amounts = [10.25] * good + [10.255] * bad
    records = [{"order_id": 10**9 + n, "total_amount": a, "updated_at": "2025-01-01"} for n, a in enumerate(amounts)]
    return "\n".join(json.dumps(record) for record in records).encode() + b"\n"


def take(day: date = FIRST, **parameters: Any) -> IngestReport:
    return daily_increment(day, generate=False, **parameters)


def committed(stack: Stack, day: date) -> set[str]:
    lake = stack.open_lake()
    return {table for table in TABLES if (day, 1) in revisions(lake, table)}


def loaded_tables(stack: Stack, day: date) -> set[str]:
    with stack.open_warehouse() as warehouse:
        return {table for table in TABLES if (day, 1) in warehouse.ledger(table)}


def quarantined(stack: Stack, table: str, day: date) -> list[dict[str, Any]]:
    lake = stack.open_lake()
    files = lake.files(paths.quarantine(table, day))
    return [json.loads(line) for file in files for line in lake.read(file.path).splitlines()]


def task_runs(name: str) -> list[TaskRun]:
    """The task runs of that name, of the newest flow run."""
    with get_client(sync_client=True) as client:
        newest = newest_flow_run()
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [newest.id]}))
    return [run for run in runs if run.name == name]


def newest_flow_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        return max(client.read_flow_runs(limit=200), key=lambda run: run.expected_start_time or run.created)


def test_table_without_a_feed_fails_alone_and_completes_later(shop: Stack) -> None:
    deliver_nothing(shop, FIRST, but=["orders"])
    with pytest.raises(ReconcileError) as failure:
        take()
    message = str(failure.value)
    assert "local 2025-01-01: orders: landing/orders/2025-01-01/ has no file; deliver the feed" in message
    assert "run 2025-01-01 again" in message
    assert not any(f"{table}:" in message for table in set(TABLES) - {"orders"})
    assert committed(shop, FIRST) == loaded_tables(shop, FIRST) == set(TABLES) - {"orders"}

    deliver(shop, "orders", FIRST, orders(good=3, bad=0))
    report = take()
    assert {line.table: line.appended for line in report.tables if line.appended} == {"orders": 3}
    assert committed(shop, FIRST) == loaded_tables(shop, FIRST) == set(TABLES)


def test_database_without_a_table_fails_that_table_alone(shop: Stack) -> None:
    deliver_nothing(shop, FIRST)
    with shop.open_source()._transaction("rename a table") as cursor:
        cursor.execute("alter table interactions rename to events")
    with pytest.raises(ReconcileError, match=r"interactions: there is no table .*interactions"):
        take()
    assert committed(shop, FIRST) == loaded_tables(shop, FIRST) == set(TABLES) - {"interactions"}


def test_database_that_cannot_be_reached_fails_its_tables_alone(shop: Stack) -> None:
    deliver_nothing(shop, FIRST)
    (Path(shop.source.folder) / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ReconcileError) as failure:
        take()
    lived_there = {table.name for table in TABLES.values() if table.home is Home.POSTGRES}
    assert {table for _, table, _ in failure.value.reasons} == lived_there
    assert committed(shop, FIRST) == loaded_tables(shop, FIRST) == set(FEEDS)


def test_raw_is_loaded_of_a_table_whose_feed_is_missing(shop: Stack) -> None:
    with shop.open_warehouse() as warehouse:
        before = warehouse.ledger("orders")
        warehouse.clear()
    deliver_nothing(shop, FIRST, but=["orders"])
    with pytest.raises(ReconcileError, match="orders"):
        take()
    with shop.open_warehouse() as warehouse:
        assert {key: (loaded.rows, loaded.digest) for key, loaded in warehouse.ledger("orders").items()} == before


def test_few_bad_records_are_quarantined_once(shop: Stack) -> None:
    deliver_nothing(shop, FIRST, but=["orders"])
    deliver(shop, "orders", FIRST, orders(good=20, bad=10))
    line = next(line for line in take().tables if line.table == "orders")
    assert (line.source, line.appended, line.known, line.quarantined) == (30, 20, 0, 10)
    before = quarantined(shop, "orders", FIRST)
    assert [entry["position"] for entry in before] == list(range(21, 31))
    assert {entry["file"] for entry in before} == {"landing/orders/2025-01-01/feed.json"}
    assert all("total_amount" in entry["reason"] for entry in before)

    again = take()
    assert again.appended == 0
    assert all(line.source == line.appended + line.known + line.quarantined for line in again.tables)
    assert quarantined(shop, "orders", FIRST) == before


def test_many_bad_records_fail_the_table_until_they_are_allowed(shop: Stack) -> None:
    deliver_nothing(shop, FIRST, but=["orders"])
    deliver(shop, "orders", FIRST, orders(good=20, bad=11))
    with pytest.raises(
        ReconcileError, match=r"01: orders: 11 of 31 records are bad, more than 1\.0%; nothing was committed"
    ):
        take()
    assert committed(shop, FIRST) == set(TABLES) - {"orders"}
    assert len(quarantined(shop, "orders", FIRST)) == 11
    line = next(line for line in take(max_bad=0.5).tables if line.table == "orders")
    assert (line.source, line.appended, line.quarantined) == (31, 20, 11)
    assert len(quarantined(shop, "orders", FIRST)) == 11


def test_damaged_feed_fails_its_table_until_it_is_replaced(shop: Stack) -> None:
    deliver_nothing(shop, FIRST, but=["orders"])
    whole = gzip.compress(orders(good=200, bad=0), mtime=0)
    deliver(shop, "orders", FIRST, whole[:-20])
    with pytest.raises(ReconcileError, match=r"orders: landing/orders/2025-01-01/feed\.json"):
        take()
    assert committed(shop, FIRST) == set(TABLES) - {"orders"}
    (run,) = task_runs("extract orders 2025-01-01")
    assert run.run_count == 1  # a damaged file does not pass by waiting

    before = quarantined(shop, "orders", FIRST)
    assert [entry["position"] for entry in before] == ["file"]
    deliver(shop, "orders", FIRST, whole)
    assert next(line.appended for line in take().tables if line.table == "orders") == 200
    assert quarantined(shop, "orders", FIRST) == before


def test_records_lost_between_extract_and_append_fail_their_table(shop: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver_nothing(shop, FIRST, but=["orders"])
    deliver(shop, "orders", FIRST, orders(good=100, bad=2))
    records = history._Taken.records

    def some(taken: history._Taken, piece: history._Piece) -> pa.Table:
        return records(taken, piece).slice(40 if taken.table.name == "orders" else 0)

    monkeypatch.setattr(history._Taken, "records", some)
    with pytest.raises(ReconcileError) as failure:
        take()
    assert str(failure.value) == "local 2025-01-01: orders: 102 source records, but 62 are accounted for"


def test_reset_is_refused_once_a_run_took_what_a_real_shop_wrote(shop: Stack) -> None:
    lake, feed = shop.open_lake(), "hour=05/feed.json"
    deliver_nothing(shop, FIRST, but=["orders"])
    deliver(shop, "orders", FIRST, orders(good=1, bad=0), name=feed)
    take()
    manifest = read_manifest(lake, "orders", FIRST, 1)
    assert ([source.path for source in manifest.sources], manifest.rows, manifest.shop) == (
        [f"landing/orders/2025-01-01/{feed}"],
        1,
        None,
    )
    assert read_manifest(lake, "orders", date(2024, 12, 31), 1).shop is not None
    with pytest.raises(ParameterError, match="holds more than a simulated shop, which reset=True does not delete"):
        historical_load(date(2024, 12, 1), date(2024, 12, 2), scale=0.02, reset=True)
    assert read_manifest(lake, "orders", FIRST, 1) == manifest


def test_full_reconcile_audits_what_earlier_runs_committed(shop: Stack) -> None:
    lake, run = shop.open_lake(), planned()
    part = read_manifest(lake, "orders", date(2024, 12, 31), 1).parts[0]
    path = f"{paths.history('orders', date(2024, 12, 31))}/{part.name}"
    lake.delete(path)
    nothing = Appended("reviews", FIRST, None, read=0, appended=0, known=0, quarantined=0)

    @flow(name="reconcile-alone")
    def reconcile_alone(full: bool) -> IngestReport:
        return reconcile(run, [nothing], {}, {}, full=full)

    assert [line.problems for line in reconcile_alone(full=False).tables] == [()]
    with pytest.raises(ReconcileError, match=f"01: orders: batch 2024-12-31 revision 1: {path} is missing"):
        reconcile_alone(full=True)


def test_window_reaches_back_to_missed_days_and_landing_is_kept_for_it(shop: Stack) -> None:
    lake, next_day, late = shop.open_lake(), date(2025, 1, 2), date(2025, 6, 30)
    deliver_nothing(shop, FIRST)
    take()
    assert read_manifest(lake, "orders", FIRST, 1).window == Window(date(2024, 12, 3), next_day)
    assert "2024-12-31" in lake.folders("landing/orders")

    deliver(shop, "orders", date(2025, 1, 5), orders(good=2, bad=0))
    deliver_nothing(shop, late)
    report = take(late)
    assert next(line.appended for line in report.tables if line.table == "orders") == 2
    assert read_manifest(lake, "orders", late, 1).window == Window(next_day, date(2025, 7, 1))
    assert lake.folders("landing/orders") == ["2025-01-05", "2025-06-30"]


def test_what_killed_runs_extracted_goes_by_its_age(shop: Stack) -> None:
    lake = shop.open_lake()
    left = [f"{paths.extracted('orders', day)}/{name}" for day in (FIRST, THIRD) for name in ("part-a", ".b", "part-c")]
    for path in left:
        lake.write(path, b"")
        if not path.endswith("c"):
            age(Path(shop.lake.basepath, path))
    deliver_nothing(shop, SECOND)
    take(SECOND)
    assert [file.path for file in lake.files("extracted", recursive=True)] == [path for path in left if path[-1] == "c"]
    assert not any(lake.exists(path) for path in left if path[-1] != "c")


def age(path: Path) -> None:
    """Have a file look as if it was left just before the oldest run that can be at work."""
    long_ago = path.stat().st_mtime - ABANDONED.total_seconds() - 1
    os.utime(path, (long_ago, long_ago))


def test_landing_is_kept_for_ninety_days_of_the_run(shop: Stack) -> None:
    days = [FIRST, date(2025, 1, 2), date(2025, 3, 31)]
    for day in days:
        deliver_nothing(shop, day)
    take(days[1])
    take(days[2])
    assert shop.open_lake().folders("landing/orders") == [str(day) for day in days]
    deliver_nothing(shop, date(2025, 4, 2), but=["orders"])
    with pytest.raises(ReconcileError):
        take(date(2025, 4, 2))
    assert len(shop.open_lake().folders("landing/orders")) == 3
    deliver(shop, "orders", date(2025, 4, 2), b"[]")
    take(date(2025, 4, 2))
    assert shop.open_lake().folders("landing/orders") == ["2025-03-31", "2025-04-02"]


def test_run_tells_prefect_what_it_does(shop: Stack) -> None:
    report = daily_increment(FIRST)
    with pytest.raises(FrozenInstanceError):
        report.day = FIRST  # type: ignore[misc]
    assert newest_flow_run().name == "local 2025-01-01"
    for table in TABLES:
        for verb in ("generate", "find", "extract", "append", "load"):
            assert task_runs(f"{verb} {table} 2025-01-01"), (verb, table)
    assert task_runs("reconcile 2025-01-01")
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json={"sort": "CREATED_DESC", "limit": 1}).json()
    assert (found[0]["key"], found[0]["type"], found[0]["description"]) == (
        "balance-sheet",
        "table",
        "local 2025-01-01",
    )
    sheet = json.loads(found[0]["data"])
    assert [line["table"] for line in sheet] == list(TABLES)
    assert {line["balance"] for line in sheet} == {"ok"}
    for line in sheet:
        assert line["source"] == line["appended"] + line["known"] + line["quarantined"]
        assert line["batch"] == line["raw"]


HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def load_while_held(stack: Stack, run: Run, release_after: int) -> TaskRun:
    """Load while another process holds the warehouse, until so many attempts have failed; the task run."""
    command = [sys.executable, "-c", HOLD, stack.warehouse.path]
    failed: list[State[Any]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        def may_pass(task: Any, task_run: TaskRun, state: State[Any]) -> bool:
            failed.append(state)
            if len(failed) == release_after:
                holder.communicate()
            return bool(RETRY["retry_condition_fn"](task, task_run, state))

        patient = load.with_options(retry_delay_seconds=0.1, retry_jitter_factor=None, retry_condition_fn=may_pass)

        @flow(name="load-alone")
        def load_alone() -> int:
            return patient(run, "orders")

        load_alone()
    (task_run,) = task_runs(f"load orders {run.day}")
    return task_run


def planned() -> Run:
    @flow(name="plan-alone")
    def plan_alone() -> Run:
        return begin_increment(occasion("local"), FIRST)

    return plan_alone()


def test_lock_that_passes_is_waited_for(shop: Stack) -> None:
    task_run = load_while_held(shop, planned(), release_after=2)
    assert task_run.state is not None
    assert task_run.state.is_completed()
    assert task_run.run_count == 3


def test_error_that_stays_is_not_retried(shop: Stack) -> None:
    run = planned()
    with shop.open_warehouse() as warehouse:
        warehouse.query("alter table raw.orders alter order_id type varchar")
        warehouse.query("delete from raw._batches")

    @flow(name="load-alone")
    def load_alone() -> None:
        load(run, "orders")

    with pytest.raises(WarehouseError, match=r"raw\.orders has another type than the history: order_id"):
        load_alone()
    (task_run,) = task_runs("load orders 2025-01-01")
    assert task_run.run_count == 1
    assert not FeedError("").transient

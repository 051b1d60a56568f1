"""What Prefect is told of runs: that they are complete, what they left undone, and whom to notify."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from prefect import tags
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.states import AwaitingConcurrencySlot, Crashed, Pending, Running, Scheduled, State

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from flows.occasion import yesterday
from flows.setup import create_automations, create_pool
from flows.transform import transform
from tasks.announce import COMPLETED, FAILED
from tasks.errors import ParameterError, ReconcileError, TransformError
from tasks.lineage import MATERIALIZED
from tests.waiting import PATIENCE_SECONDS, until

NEXT = date(2025, 1, 1)
DUE = datetime(2025, 1, 1, tzinfo=UTC)
SHORTEST_SILENCE = 10  # seconds; what Prefect takes for a trigger that waits


def ask(path: str, body: dict[str, Any]) -> Any:
    with get_client(sync_client=True) as client:
        return client.request("POST", path, json=body).json()


def newest_run() -> dict[str, Any]:
    return ask("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0]


def event(name: str, run: dict[str, Any]) -> dict[str, Any]:
    """The payload of the event of that name of a run, once the server has it."""
    wanted = {"event": {"name": [name]}, "related": {"id": [f"prefect.flow-run.{run['id']}"]}}
    (found,) = until(lambda: ask("/events/filter", {"filter": wanted})["events"])
    return found


def failure_of(run: dict[str, Any]) -> str:
    (found,) = ask(
        "/artifacts/filter", {"artifacts": {"key": {"any_": ["failure"]}, "flow_run_id": {"any_": [run["id"]]}}}
    )
    return found["data"]


def test_failed_increment_says_which_tables_of_which_batch(shop: Stack) -> None:
    with pytest.raises(ReconcileError):
        daily_increment(NEXT, generate=False)
    run = newest_run()
    told = event(FAILED, run)
    assert told["resource"]["prefect.resource.id"] == "ecommerce.stack.local"
    payload = told["payload"]
    assert (payload["stack"], payload["flow"], payload["run"]) == ("local", "daily-increment", "local 2025-01-01")
    assert {(batch, table) for batch, table, _ in payload["undone"]} == {
        ("2025-01-01", table) for table in ("customers", "products", "orders", "reviews")
    }
    page = failure_of(run)
    assert "| 2025-01-01 | orders | landing/orders/2025-01-01/ has no file; deliver the feed" in page
    assert "run `daily-increment` for `local 2025-01-01` again" in page


def test_failed_build_says_which_models(shop: Stack) -> None:
    with shop.open_warehouse() as warehouse:
        warehouse.query("update raw.reviews set review_date = 'last week' where _batch = '2024-12-31'")
    with pytest.raises(TransformError):
        transform(select=["stg_products", "stg_reviews"])
    run = newest_run()
    assert [what for _, what, _ in event(FAILED, run)["payload"]["undone"]] == ["model stg_reviews"]
    assert "model stg_reviews" in failure_of(run)
    told = event(MATERIALIZED, run)  # of what was built all the same
    assert told["resource"]["prefect.resource.id"] == "duckdb://warehouse/staging/stg_products"


def test_run_that_could_not_begin_says_why(shop: Stack) -> None:
    with pytest.raises(ParameterError):
        daily_increment(date(2024, 12, 5))
    run = newest_run()
    assert event(FAILED, run)["payload"]["undone"] == []
    assert "day 2024-12-05 is part of the historical load" in failure_of(run)


def test_run_without_a_day_is_named_after_yesterday(shop: Stack) -> None:
    with pytest.raises(ReconcileError):
        daily_increment(generate=False)
    assert newest_run()["name"] in {f"local {yesterday()}", f"local {yesterday() - timedelta(days=1)}"}


def test_historical_load_has_the_marts_built_too(shop: Stack) -> None:
    historical_load(date(2024, 12, 1), date(2025, 1, 1), scale=0.02)
    payload = event(COMPLETED, newest_run())["payload"]
    assert payload == {"stack": "local", "day": "2025-01-01", "as_of": "2025-01-02"}


@contextmanager
def webhook() -> Iterator[tuple[str, "Queue[dict[str, Any]]"]]:
    """A server on loopback, and what is posted to it."""
    posted: Queue[dict[str, Any]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", posted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def pool_of_processes() -> Iterator[None]:
    """The pool `ecommerce-process` with its queues, and no worker."""
    with get_client(sync_client=True) as client:
        create_pool(client, "process")
        yield
        client.delete_work_pool("ecommerce-process")


@contextmanager
def told_by(address: str, **seconds: int) -> Iterator[None]:
    """Have the automations of `local`, which wait for those seconds, tell a block that posts to an address."""
    told = {"subject": "{{subject}}", "body": "{{body}}"}
    CustomWebhookNotificationBlock(name="ops", url=address, json_data=told).save("ops", overwrite=True, _sync=True)
    with get_client(sync_client=True) as client:
        create_automations(client, "local", "custom-webhook/ops", **seconds)
        yield
        for automation in client.read_automations():
            client.delete_automation(automation.id)


def test_block_of_the_user_is_told_of_a_failed_run(shop: Stack) -> None:
    with webhook() as (address, posted), told_by(address):
        with tags("stack:local"), pytest.raises(ReconcileError):
            daily_increment(NEXT, generate=False)
        told = posted.get(timeout=PATIENCE_SECONDS)
    assert told["subject"] == "daily-increment: local 2025-01-01 failed"
    assert "orders: landing/orders/2025-01-01/ has no file" in told["body"]
    assert newest_run()["id"] in told["body"]


def test_block_of_the_user_is_told_of_runs_that_nobody_works_on(home: Path) -> None:
    waits = dict.fromkeys(("silence", "start", "late"), SHORTEST_SILENCE)
    with (
        webhook() as (address, posted),
        told_by(address, **waits),
        pool_of_processes(),
        get_client(sync_client=True) as client,
    ):

        def begun(name: str, state: State[Any], stack: str = "local", queue: str = "default") -> str:
            """A run of a stack in that state; its id."""
            queued = {"work_pool_name": "ecommerce-process", "work_queue_name": queue}
            run = client.create_flow_run(daily_increment, name=name, tags=[f"stack:{stack}"], **queued)
            client.set_flow_run_state(run.id, state, force=True)
            return str(run.id)

        begun("patient", Scheduled(scheduled_time=DUE), queue="low")
        queued = begun("queued", Scheduled(scheduled_time=DUE))
        until(lambda: client.read_flow_run(queued).state_name == "Late")
        client.set_flow_run_state(queued, AwaitingConcurrencySlot(scheduled_time=DUE), force=True)
        begun("elsewhere", Crashed(), stack="local-2")
        runs = {
            "gone": begun("gone", Crashed()),
            "late": begun("late", Scheduled(scheduled_time=DUE)),
            "lost": begun("lost", Pending()),
            "dead": begun("dead", Running()),
        }
        wanted = {f"daily-increment: {run}" for run in ("gone crashed", "late late", "lost crashed", "dead crashed")}
        told = [posted.get(timeout=PATIENCE_SECONDS)]
        while {one["subject"] for one in told} < wanted:  # a busy server may tell twice
            told.append(posted.get(timeout=PATIENCE_SECONDS))
        assert client.read_flow_run(runs["lost"]).state.message.startswith("It did not start within 10 s")
        assert client.read_flow_run(runs["dead"]).state.message.startswith("It said nothing for 10 s")
    told += list(posted.queue)
    assert {one["subject"] for one in told} == wanted
    assert all(runs[one["subject"].split()[1]] in one["body"] for one in told)


def test_each_stack_has_automations_of_its_own(home: Path) -> None:
    with webhook() as (address, _), told_by(address), get_client(sync_client=True) as client:
        before = {automation.id for automation in client.read_automations()}
        create_automations(client, "local-2", "custom-webhook/ops")
        assert {automation.id for automation in client.read_automations()} > before
        assert len(client.read_automations()) == 2 * len(before)

"""Runs that share a warehouse take turns at it where the set-up has made limits, and ask for none elsewhere."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterStartTime
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.runtime import task_run

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from flows.setup import create_limits
from flows.transform import transform
from tasks.errors import ParameterError
from tasks.tables import TABLES
from tasks.turn import DBT, SETTING, SHARED, WAREHOUSE, limit_name, turn
from tasks.warehouse.protocol import Warehouse
from tests.waiting import until

AT_THE_WAREHOUSE = ("load ", "reconcile ", "plan build", "dbt build", "mark built")


@pytest.fixture
def client(home: Path) -> Iterator[SyncPrefectClient]:
    """The server with the limits of the stack `local`, which only runs that are told so ask for."""
    with get_client(sync_client=True) as client:
        create_limits(client, "local")
        yield client
        for shared in SHARED:
            client.delete_global_concurrency_limit_by_name(limit_name(shared, "local"))


class Watched:
    """The runs of the server that begin after this is made."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._since = FlowRunFilter(start_time=FlowRunFilterStartTime(after_=datetime.now(UTC)))

    def tasks(self, *names: str) -> list[tuple[FlowRun, list[TaskRun]]]:
        """Each run with those of its tasks that have begun and whose names begin so."""
        return [
            (run, [task for task in self._tasks_of(run) if task.name.startswith(names) and task.start_time])
            for run in self._client.read_flow_runs(flow_run_filter=self._since)
        ]

    def _tasks_of(self, run: FlowRun) -> list[TaskRun]:
        return self._client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))


def test_two_runs_at_once_wait_for_each_other(
    shop: Stack, client: SyncPrefectClient, processes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "strict")
    started, watched = (
        [processes(Path(shop.workspace), chunk_rows=250_000, **{SETTING: "strict"}) for _ in range(2)],
        Watched(client),
    )
    with turn("local", WAREHOUSE, DBT):
        for process, run in zip(started, [("daily_increment", {"day": "2025-01-01"}), ("transform", {})], strict=True):
            process.begin(run)
        until(
            lambda: (
                sum(len(tasks) for _, tasks in watched.tasks("append ")) == len(TABLES) and len(watched.tasks("")) == 2
            )
        )
        assert [tasks for _, tasks in watched.tasks(*AT_THE_WAREHOUSE)] == [[], []]
    assert [process.end() for process in started] == [(0, None)] * 2, [process.said() for process in started]
    (_, ended), (began, _) = sorted(
        (min(task.start_time for task in tasks), max(task.end_time for task in tasks))
        for _, tasks in watched.tasks(*AT_THE_WAREHOUSE)
    )
    assert ended <= began


def test_whoever_opens_the_warehouse_holds_the_turn(
    shop: Stack, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "strict")
    opened, held = Stack._warehouse, list[tuple[str, int]]()

    def open_it(stack: Stack, slot: str) -> Warehouse:
        limit = client.read_global_concurrency_limit_by_name(limit_name(WAREHOUSE, "local"))
        held.append((task_run.name or "ingest", limit.active_slots))  # which is not a task
        return opened(stack, slot)

    monkeypatch.setattr(Stack, "_warehouse", open_it)
    historical_load(date(2024, 12, 20), date(2024, 12, 31), scale=0.02, seed=7, reset=True)
    daily_increment(date(2025, 1, 1))
    transform(select=["stg_categories"])
    assert [name for name, turns in held if turns != 1] == []
    begun = {name.partition(" ")[0] for name, _ in held}
    assert begun == {"begin", "ingest", "load", "reconcile", "plan", "dbt"}


def test_a_run_that_shall_take_turns_is_refused_without_limits(shop: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "strict")
    with pytest.raises(ParameterError, match=r"No slot of the limits ecommerce-warehouse-local, ecommerce-dbt-local: "):
        transform()


def test_a_run_of_a_server_without_limits_asks_for_none(shop: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    with turn("local", WAREHOUSE, DBT):
        assert daily_increment(date(2025, 1, 1)).tables


def test_what_a_person_has_changed_stays(client: SyncPrefectClient) -> None:
    name = limit_name(DBT, "local")
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=3))
    create_limits(client, "local")
    assert client.read_global_concurrency_limit_by_name(name).limit == 3

"""The transform flow: which cut it takes, what it notes, how it names what failed, and the task runs of its nodes."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowFilter, FlowFilterName, FlowRunFilter
from prefect.events.worker import EventsWorker

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.occasion import today
from flows.transform import transform
from tasks import dbt
from tasks.errors import ParameterError, TransformError
from tests.test_announce import newest_run
from tests.waiting import until

END_OF_HISTORY, NEXT = date(2025, 1, 1), date(2025, 1, 1)
LATER = date(2025, 1, 2)


def built(stack: Stack) -> list[tuple[Any, ...]]:
    with stack.open_warehouse() as warehouse:
        return warehouse.query('select "table", batch, revision, as_of from raw._built order by all')


@pytest.fixture(autouse=True)
def on_marts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the flow run on the built stack in tests that ask for it; those with a `home` of their own choose that."""
    if "marts" in request.fixturenames and "home" not in request.fixturenames:
        monkeypatch.setenv("ECOMMERCE_HOME", request.getfixturevalue("marts").workspace)
        monkeypatch.setenv("PREFECT_API_URL", request.getfixturevalue("prefect_url"))


def test_complete_build_is_noted_and_a_part_is_not(marts: Stack, copied: Callable[[Path], Stack], home: Path) -> None:
    assert [row[1:] for row in built(marts)] == [(date(2024, 12, 31), 1, END_OF_HISTORY)] * 8
    other = copied(home)
    report = transform(select=["stg_orders"])
    assert newest_run()["name"] in {f"local newest on {today() - timedelta(days=n)}" for n in (0, 1)}
    assert [node.name for node in report.nodes if node.resource_type == "model"] == ["stg_orders"]
    assert built(other) == []


def test_cut_later_than_loaded_is_refused(marts: Stack) -> None:
    with pytest.raises(ParameterError, match=r"as_of 2025-01-02 is later than .* loaded, which ends with 2025-01-01"):
        transform(as_of=LATER)


def test_cut_before_the_last_build_needs_a_full_refresh(marts: Stack) -> None:
    before = built(marts)
    with pytest.raises(ParameterError, match=r"as_of 2024-12-31 is before 2025-01-01, .*full_refresh=True"):
        transform(as_of=date(2024, 12, 31))
    assert built(marts) == before


def test_cut_that_takes_a_day_which_a_table_lacks_is_refused(shop: Stack) -> None:
    with shop.open_warehouse() as warehouse:
        ledger = "insert into raw._batches select * replace (batch + {} as batch) from raw._batches where {}"
        warehouse.query(ledger.format(1, "\"table\" <> 'orders' and batch = '2024-12-31'"))
        warehouse.query(ledger.format(2, "batch = '2024-12-31'"))
    with pytest.raises(ParameterError, match=r"as_of 2025-01-02 .*: orders lacks 2025-01-01, which other tables have"):
        transform(as_of=LATER)


def test_full_refresh_of_a_part_leaves_the_ledger_as_it_is(marts: Stack) -> None:
    before = built(marts)
    transform(select=["stg_categories"], full_refresh=True)
    assert built(marts) == before
    with pytest.raises(ParameterError, match=r"as_of 2024-12-31 is before 2025-01-01"):
        transform(as_of=date(2024, 12, 31), full_refresh=True, select=["stg_categories"])
    assert built(marts) == before


def test_cut_that_a_later_build_contains_is_left_alone_if_so_asked(marts: Stack) -> None:
    before = built(marts)
    report = transform(as_of=date(2024, 12, 31), unless_later=True)
    assert (report.as_of, report.nodes) == (date(2024, 12, 31), ())
    assert newest_run()["name"] == "local as of 2024-12-31"
    assert built(marts) == before


def test_second_build_processes_nothing(marts: Stack) -> None:
    orders = "select count(*), sum(_version), max(_batch) from staging.stg_orders"
    with marts.open_warehouse() as warehouse:
        before = warehouse.query(orders)
    report = transform()
    with marts.open_warehouse() as warehouse:
        assert warehouse.query(orders) == before
    assert {node.status for node in report.nodes} <= {"success", "pass", "no-op"}
    assert report.as_of == END_OF_HISTORY


def test_failing_node_is_named_and_nothing_is_noted(shop: Stack) -> None:
    with shop.open_warehouse() as warehouse:
        warehouse.query("update raw.reviews set review_date = 'last week' where _batch = '2024-12-31'")
    with pytest.raises(TransformError) as failure:
        transform(select=["stg_products", "stg_reviews"])
    assert "model stg_reviews: Conversion Error" in str(failure.value)
    assert "last week" in str(failure.value)
    assert "stg_products" not in str(failure.value)
    with pytest.raises(TransformError, match="model stg_reviews"):
        transform(select=["stg_reviews"], observability="nodes")
    assert node_runs("model stg_reviews") == {"model stg_reviews": "Failed"}
    assert built(shop) == []


def test_late_batch_is_built_by_the_next_transform(shop: Stack) -> None:
    transform(select=["stg_interactions"])
    with shop.open_warehouse() as warehouse:
        ((before,),) = warehouse.query("select count(*) from staging.stg_interactions")
    report = daily_increment(NEXT)
    appended = next(line.appended for line in report.tables if line.table == "interactions")
    assert appended > 0
    assert transform(select=["stg_interactions"]).as_of == LATER
    with shop.open_warehouse() as warehouse:
        assert warehouse.query("select count(*) from staging.stg_interactions") == [(before + appended,)]


def node_runs(*names: str) -> dict[str, str | None]:
    """The states of the task runs of those names in the newest run of transform, once the server has their events."""
    EventsWorker.drain_all()
    with get_client(sync_client=True) as client:
        of_transform = FlowFilter(name=FlowFilterName(any_=["transform"]))
        newest = max(client.read_flow_runs(flow_filter=of_transform), key=lambda run: run.created)

        def ended() -> dict[str, str | None]:
            runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [newest.id]}))
            states = {run.name: run.state_name for run in runs if run.name in names}
            return states if states.keys() == set(names) and set(states.values()) <= {"Completed", "Failed"} else {}

        return until(ended)


def test_nodes_are_task_runs_of_their_own(marts: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    report = transform(select=["stg_categories"], observability="nodes")
    said = capfd.readouterr()
    assert said.out == ""
    assert "START" not in said.err
    assert {node.status for node in report.nodes} == {"success", "pass"}
    names = [f"{node.resource_type} {node.name}" for node in report.nodes]
    assert names[0] == "model stg_categories"
    assert node_runs(*names) == dict.fromkeys(names, "Completed")


def test_node_that_fails_without_an_event_still_fails_the_build(marts: Stack) -> None:
    def on_node(_node: dbt.NodeResult) -> None:
        raise OSError("the log is full")

    with pytest.raises(TransformError, match=r"model stg_categories: .*the log is full"):
        dbt.build(
            home=Path(marts.workspace),
            environment=marts.dbt_environment(),
            as_of=END_OF_HISTORY,
            select=["stg_categories"],
            on_node=on_node,
        )


def test_documentation_is_kept_with_the_stack_and_linked(marts: Stack) -> None:
    page = marts.open_lake().read("docs/index.html").decode()
    assert "One row per order item of any order, cancelled ones included" in page
    with get_client(sync_client=True) as client:
        named = ArtifactFilter(key=ArtifactFilterKey(any_=["dbt-docs"]))
        linked = client.read_artifacts(artifact_filter=named)
    assert any(marts.link("docs/index.html") in str(artifact.data) for artifact in linked)
    assert Path(marts.workspace, "dbt", "target", "static_index.html").read_text() == page

"""The deployments of prefect.yaml, as a server has them and as a worker of processes runs them."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psutil
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.flows import Flow
from prefect.utilities.importtools import import_object

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.setup import RUNS_AT_ONCE, SILENCE_SECONDS, create_pool, setup
from flows.ui import worker_of
from tasks.announce import COMPLETED
from tasks.source import embedded
from tasks.tables import TABLES
from tasks.turn import SETTING, SHARED, WAREHOUSE, limit_name, turn
from tests.conftest import ROOT
from tests.test_flows import Records, current_records, differences
from tests.test_operations import committed, loaded_tables
from tests.waiting import PATIENCE_SECONDS, until

FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text())
FLOWS = ("historical-load", "daily-increment", "transform", "requeue")
DAY = date(2025, 1, 2)


class Server:
    """The API of the server, as the dashboard uses it."""

    def __init__(self, api: str) -> None:
        self.api = api
        self._client = httpx.Client(base_url=api, timeout=PATIENCE_SECONDS)

    def post(self, path: str, json: Any = None, **body: Any) -> httpx.Response:
        """The answer to a request; a busy server's 503 is asked again, as Prefect's own client does."""
        return until(
            lambda: None if (answer := self._client.post(path, json=json or body)).status_code == 503 else answer
        )

    def get(self, path: str) -> dict[str, Any]:
        return self._client.get(path).json()

    def deployment(self, flow: str) -> dict[str, Any]:
        return self.get(f"/deployments/name/{flow}/{flow}-local")

    def automations(self) -> dict[str, dict[str, Any]]:
        return {found["name"]: found for found in self.post("/automations/filter").json()}

    def start(self, flow: str, **parameters: Any) -> str:
        """Start a run as the dashboard does; its id."""
        made = self.post(
            f"/deployments/{self.deployment(flow)['id']}/create_flow_run",
            parameters=parameters,
            state={"type": "SCHEDULED"},
        )
        assert made.status_code == 201, made.text
        return made.json()["id"]

    def schedule(self, flow: str, **parameters: Any) -> None:
        """Give a deployment a schedule that is due now, and have the server make the run that its scheduler would."""
        path, now = f"/deployments/{self.deployment(flow)['id']}", datetime.now(UTC)
        schedule = {"interval": 86_400, "anchor_date": (now + timedelta(seconds=1)).isoformat(), "timezone": "UTC"}
        made = self.post(f"{path}/schedules", json=[{"schedule": schedule, "active": True, "parameters": parameters}])
        assert made.status_code == 201, made.text
        self.post(f"{path}/schedule", json={"end_time": (now + timedelta(seconds=20)).isoformat(), "min_runs": 1})

    def run(self, run: str) -> dict[str, Any]:
        return self.get(f"/flow_runs/{run}")

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """The runs of a deployment that are due, or were, oldest first."""
        due = {"expected_start_time": {"before_": (datetime.now(UTC) + timedelta(seconds=30)).isoformat()}}
        deployment = {"id": {"any_": [self.deployment(flow)["id"]]}}
        return self.post(
            "/flow_runs/filter", deployments=deployment, flow_runs=due, sort="EXPECTED_START_TIME_ASC"
        ).json()

    def set(self, run: str, state: str) -> None:
        """Put a run into a state, as what works on it does."""
        self.post(f"/flow_runs/{run}/set_state", state={"type": state}, force=True)

    def delete(self, run: str) -> None:
        until(lambda: self._client.delete(f"/flow_runs/{run}").is_success)

    def offered(self) -> list[str]:
        """The runs that a worker of the pool would take now, in that order."""
        due = datetime.now(UTC).isoformat()
        found = self.post("/work_pools/ecommerce-process/get_scheduled_flow_runs", scheduled_before=due)
        return [entry["flow_run"]["id"] for entry in found.json()]

    def ended(self, run: str) -> dict[str, Any]:
        """The run, once it has ended."""
        until(lambda: self.run(run)["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"))
        return self.run(run)


@pytest.fixture(scope="module")
def undisturbed(copied: Callable[[Path], Stack], tmp_path_factory: pytest.TempPathFactory) -> Records:
    """The current records of a stack that has taken all days through DAY with nothing in its way."""
    folder = tmp_path_factory.mktemp("undisturbed") / "home"
    copied(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOMMERCE_HOME", str(folder))
        daily_increment(DAY)
    embedded.stop(folder / "postgres")
    return current_records(folder)


@pytest.fixture(scope="module")
def server(prefect_url: str, undisturbed: Records, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server to which the embedded stack is deployed after the fixtures' loads, which would have triggered builds."""
    server = Server(prefect_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_url)
        patch.setenv("ECOMMERCE_HOME", str(tmp_path_factory.mktemp("deployed") / "home"))
        setup(stack="local", pool="process")
        yield server
        with get_client(sync_client=True) as client:
            for shared in SHARED:
                client.delete_global_concurrency_limit_by_name(limit_name(shared, "local"))
            for flow in FLOWS:
                client.delete_deployment(server.deployment(flow)["id"])
            for name in server.automations():
                if name.startswith("ecommerce"):
                    client.delete_automation(server.automations()[name]["id"])


@pytest.fixture(scope="module")
def stack(server: Server, copied: Callable[[Path], Stack]) -> Iterator[Stack]:
    """The stack `local` of the worker, which holds December 2024."""
    from blocks.stack import home

    yield copied(home())
    embedded.start(home() / "postgres")  # a killed run leaves its server behind
    embedded.stop(home() / "postgres")


def days_in(stack: Stack, relation: str, column: str) -> set[str]:
    with duckdb.connect(stack.warehouse.path, read_only=True) as database:
        return {str(day) for (day,) in database.sql(f"select distinct {column} from {relation}").fetchall()}


def test_the_file_deploys_one_of_each_flow_per_stack() -> None:
    names = [deployment["name"] for deployment in FILE["deployments"]]
    assert names == [f"{flow}-{{{{ $ECOMMERCE_STACK }}}}" for flow in FLOWS]
    assert next(iter(FILE["pull"][0])) == "prefect.deployments.steps.set_working_directory"


@pytest.mark.parametrize("deployment", FILE["deployments"], ids=FLOWS)
def test_each_entrypoint_imports(deployment: dict[str, Any]) -> None:
    assert isinstance(import_object(deployment["entrypoint"]), Flow)


@pytest.mark.parametrize("stated", FILE["deployments"], ids=FLOWS)
def test_the_server_has_what_the_file_states(server: Server, stated: dict[str, Any]) -> None:
    found = server.deployment(stated["entrypoint"].rpartition(".")[2].replace("_", "-"))
    assert found["entrypoint"] == stated["entrypoint"]
    assert found["global_concurrency_limit"]["limit"] == 1
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert found["enforce_parameter_schema"]
    assert found["parameters"] == {"stack": "local"}
    assert found["work_pool_name"] == "ecommerce-process"
    assert found["work_queue_name"] == stated["work_pool"]["work_queue_name"]
    assert found["pull_steps"] == [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
    assert set(found["tags"]) == {"ecommerce", "stack:local"}


@pytest.mark.parametrize(
    ("flow", "schedules"),
    [
        ("historical-load", []),
        ("daily-increment", [("30 1 * * *", "UTC", True, {})]),
        ("transform", [("0 5 * * 0", "UTC", True, {"full_refresh": True})]),
        ("requeue", []),
    ],
)
def test_what_begins_by_itself_and_when(server: Server, flow: str, schedules: list[Any]) -> None:
    found = server.deployment(flow)
    assert not found["paused"]
    assert [
        (one["schedule"]["cron"], one["schedule"]["timezone"], one["active"], one["parameters"])
        for one in found["schedules"]
    ] == schedules


def test_daily_runs_come_before_historical_ones_which_take_one_place(server: Server) -> None:
    first, second = [server.start("historical-load") for _ in range(2)]
    assert server.offered() == [first]
    daily = [server.start("daily-increment"), server.start("transform"), server.start("requeue", table="orders")]
    assert server.offered() == daily
    server.set(daily[0], "RUNNING")
    assert server.offered() == daily[1:]
    server.set(daily[1], "COMPLETED")
    server.set(daily[2], "COMPLETED")
    assert server.offered() == [first]
    server.set(first, "RUNNING")
    assert server.offered() == []
    server.set(first, "COMPLETED")
    assert server.offered() == [second]
    for run in (first, second, *daily):
        server.delete(run)


def test_a_limit_that_a_person_has_set_stays(server: Server) -> None:
    with get_client(sync_client=True) as client:
        client.update_work_pool("ecommerce-process", WorkPoolUpdate(concurrency_limit=5))
        create_pool(client, "process")
        assert client.read_work_pool("ecommerce-process").concurrency_limit == 5
        client.update_work_pool("ecommerce-process", WorkPoolUpdate(concurrency_limit=None))
        create_pool(client, "process")
        assert client.read_work_pool("ecommerce-process").concurrency_limit == RUNS_AT_ONCE


def test_a_complete_increment_triggers_transform_and_nothing_else_does(server: Server) -> None:
    (trigger,) = (a for a in server.automations().values() if a["actions"][0]["type"] == "run-deployment")
    assert trigger["trigger"]["expect"] == [COMPLETED]
    assert trigger["trigger"]["match"] == {"prefect.resource.id": "ecommerce.stack.local"}
    (action,) = trigger["actions"]
    assert action["deployment_id"] == server.deployment("transform")["id"]
    assert action["parameters"] == {
        "stack": "{{ event.payload.stack }}",
        "as_of": "{{ event.payload.as_of }}",
        "unless_later": True,
    }


@pytest.mark.parametrize("flow", FLOWS)
def test_the_form_explains_each_parameter(server: Server, flow: str) -> None:
    parameters = server.deployment(flow)["parameter_openapi_schema"]["properties"]
    assert all(len(parameter["description"]) > 20 for parameter in parameters.values())


@pytest.mark.parametrize(
    ("flow", "nonsense"),
    [
        ("historical-load", {"scale": -1}),
        ("historical-load", {"seed": "blue"}),
        ("historical-load", {"through": 7}),
        ("daily-increment", {"max_bad": 2}),
        ("daily-increment", {"stack": ""}),
        ("transform", {"observability": "none"}),
        ("requeue", {"table": "interactions"}),
    ],
)
def test_the_form_refuses_nonsense(server: Server, flow: str, nonsense: dict[str, Any]) -> None:
    refused = server.post(f"/deployments/{server.deployment(flow)['id']}/create_flow_run", parameters=nonsense)
    assert refused.status_code == 409
    assert next(iter(nonsense)) in refused.text


def test_the_dashboard_can_make_the_blocks_that_notify(server: Server) -> None:
    found = {block["slug"] for block in server.post("/block_types/filter").json()}
    assert {"slack-webhook", "ms-teams-webhook", "custom-webhook", "pager-duty-webhook"} <= found


def test_setting_up_makes_the_limits_and_has_runs_take_their_turns(server: Server) -> None:
    with get_client(sync_client=True) as client:
        limits = [client.read_global_concurrency_limit_by_name(limit_name(shared, "local")) for shared in SHARED]
        pool = client.read_work_pool("ecommerce-process")
    assert [limit.limit for limit in limits] == [1, 1]
    assert pool.base_job_template["variables"]["properties"]["env"]["default"][SETTING]


def test_setting_up_again_changes_nothing(server: Server) -> None:
    before = {name: found["id"] for name, found in server.automations().items() if name.startswith("ecommerce")}
    setup(stack="local", pool="process")
    assert {name: found["id"] for name, found in server.automations().items() if name.startswith("ecommerce")} == before
    assert len(server.automations()) == len(before) + 1


def test_a_scheduled_increment_is_followed_by_its_transform(server: Server, stack: Stack) -> None:
    server.schedule("daily-increment", day="2025-01-01")
    with worker_of("process", server.api):
        due = until(lambda: [run for run in server.runs("daily-increment") if run["auto_scheduled"]])
        increment = server.ended(due[0]["id"])
        assert (increment["state_name"], increment["parameters"]["day"]) == ("Completed", "2025-01-01")
        (triggered,) = until(lambda: server.runs("transform"))
        built = server.ended(triggered["id"])
    assert built["state_name"] == "Completed"
    assert (built["parameters"]["stack"], built["parameters"]["as_of"]) == ("local", "2025-01-02")
    assert "2025-01-01" in days_in(stack, "marts.fct_conversion_funnel", "session_date")
    assert len(server.runs("transform")) == 1  # what transform did has triggered nothing


def test_a_run_whose_worker_was_killed_is_reported_and_the_next_one_ends_right(
    server: Server, stack: Stack, undisturbed: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "strict")
    with turn("local", WAREHOUSE), worker_of("process", server.api) as worker:
        killed = server.start("daily-increment", day=str(DAY))
        until(lambda: committed(stack, DAY) == set(TABLES))  # and then it waits for its turn to load
        alive = server.run(killed)
        everyone = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
        for process in everyone:
            process.kill()
        worker.wait()
    assert (alive["state_name"], alive["state"]["message"]) == ("Running", None)
    crashed = server.ended(killed)
    assert crashed["state_name"] == "Crashed"
    assert crashed["state"]["message"] == f"It said nothing for {SILENCE_SECONDS} s: its worker or machine is gone."
    assert loaded_tables(stack, DAY) == set()
    with worker_of("process", server.api):
        again = server.ended(server.start("daily-increment", day=str(DAY)))
    assert again["state_name"] == "Completed"
    assert differences(Path(stack.workspace)) == []
    assert current_records(Path(stack.workspace)) == undisturbed

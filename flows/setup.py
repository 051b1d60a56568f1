"""Prepare a Prefect server for a stack: its work pool and queues, limits, automations and deployments.

`python -m flows.setup [--stack local] [--pool process] [--notify slack-webhook/ops]`; running it again is safe and
brings everything to what this code says.
"""

import os
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import cyclopts
from prefect.blocks import notifications
from prefect.blocks.abstract import NotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import StateType

from flows import runner
from flows.cli import CONSOLE, said_in_one_sentence
from flows.image import ROOT
from tasks import turn
from tasks.errors import ParameterError, PipelineError

Pool = Literal["docker", "process"]

HEARTBEAT_SECONDS = 30
"""How often a run says that it lives; the least that Prefect allows."""
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS
"""How long a run may say nothing before it counts as crashed: one heartbeat may be late, another lost."""

START_SECONDS = 600
"""How long a run may take from its worker's hands to its start: a machine may have to pull the image."""

LATE_SECONDS = 600
"""How long a run may be late before someone is told: a worker that is busy or restarting takes it by then."""

RUNS_AT_ONCE = 3
"""Runs that a pool has at work: an increment, a build that waits for its turn, and a historical load or a repair."""


class _Queue(NamedTuple):
    """A work queue: the lower its priority's number, the sooner it is served; `limit` of its runs are at work."""

    priority: int
    limit: int | None
    description: str


# A load of hours takes one place of the pool at most, so that the daily runs always find another.
_QUEUES = {
    "default": _Queue(1, None, "Daily runs, builds and repairs."),
    "low": _Queue(10, 1, "Historical loads, one at a time and after everything else that is due."),
}
_RUNNING = "prefect.flow-run.Running"
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled")}
_POSTPONED = {f"prefect.flow-run.{state}" for state in ("Scheduled", "AwaitingConcurrencySlot")}
_RUN = "{{ flow.name }}: {{ flow_run.name }}"
_TOLD = (
    "{{ flow.name }} run {{ flow_run.name }} is {{ flow_run.state.name }}.\n"
    "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}\nWhat to do is in docs/runbook.md."
)

app = cyclopts.App(name="python -m flows.setup", version_flags=[], help_format="plaintext")


@app.default
def setup(
    *,
    stack: Annotated[str, cyclopts.Parameter(env_var="ECOMMERCE_STACK")] = "local",
    pool: Annotated[Pool, cyclopts.Parameter(env_var="ECOMMERCE_POOL")] = "process",
    notify: Annotated[str | None, cyclopts.Parameter(env_var="ECOMMERCE_NOTIFY")] = None,
) -> None:
    """Create what a stack needs on the Prefect server that PREFECT_API_URL names.

    Args:
        stack: Name of the stack: local, or a saved Stack block document.
        pool: Where runs run: in containers, or in processes of the worker's machine.
        notify: Block to notify of failed, crashed and late runs, as type/name, such as slack-webhook/ops.
    """
    api = PREFECT_API_URL.value()
    if not api:
        raise ParameterError("Which Prefect server? Set PREFECT_API_URL, such as http://127.0.0.1:4200/api.")
    with get_client(sync_client=True) as client:
        create_pool(client, pool)
        create_limits(client, stack)
        offer_notifications(client)
        create_automations(client, stack, notify)
    deploy(api, stack, pool)
    CONSOLE.print(f"Stack {stack!r} is deployed to the pool ecommerce-{pool}.")


def create_pool(client: SyncPrefectClient, pool: Pool) -> None:
    """Create or update the work pool, and its queues; limits that a person has set stay."""
    name = f"ecommerce-{pool}"
    try:
        limit = client.read_work_pool(name).concurrency_limit
    except ObjectNotFound:
        limit = None
    wanted = WorkPoolCreate(
        name=name, type=pool, base_job_template=job_template(pool), concurrency_limit=limit or RUNS_AT_ONCE
    )
    client.create_work_pool(wanted, overwrite=True)
    for queue, means in _QUEUES.items():
        try:
            found = client.read_work_queue_by_name(queue, work_pool_name=name)
        except ObjectNotFound:
            found = client.create_work_queue(queue, work_pool_name=name)
        client.update_work_queue(
            found.id,
            priority=means.priority,
            description=means.description,
            concurrency_limit=found.concurrency_limit or means.limit,
        )


def create_limits(client: SyncPrefectClient, stack: str) -> None:
    """Create the limits at which the stack's runs take turns, one run at a time; what a person has changed stays."""
    for shared in turn.SHARED:
        with suppress(ObjectAlreadyExists):
            client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=turn.limit_name(shared, stack), limit=1)
            )


def job_template(pool: Pool) -> dict[str, Any]:
    """How a pool runs a flow: the worker's own template with our defaults, which the dashboard shows and can change."""
    if pool == "docker":
        from prefect_docker.worker import DockerWorker as Worker
    else:
        from prefect.workers.process import ProcessWorker as Worker
    template = Worker.get_default_base_job_template()
    for variable, default in (_docker_defaults() if pool == "docker" else _process_defaults()).items():
        template["variables"]["properties"][variable]["default"] = default
    return template


def _process_defaults() -> dict[str, Any]:
    """Every run says that it lives, takes its turn at the limits, and takes the task runner that is set here."""
    env = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS), turn.SETTING: "strict"}
    chosen = os.environ.get(runner.SETTING)
    return {"env": env | ({runner.SETTING: chosen} if chosen else {})}


def _docker_defaults() -> dict[str, Any]:
    """A container that can write only to its own /tmp and to the stack's home, as nobody special, and then is gone.

    Its memory holds the 0.73 GiB of a load at scale 10 and dbt beside it.
    """
    network = os.environ.get("ECOMMERCE_NETWORK", "bridge")
    return _process_defaults() | {
        "auto_remove": True,
        "mem_limit": "2g",
        "volumes": [f"{os.environ.get('ECOMMERCE_VOLUME', 'ecommerce')}:/var/lib/ecommerce"],
        **({"network_mode": network} if network in ("bridge", "host") else {"networks": [network]}),
        "container_create_kwargs": {
            "user": "10001:10001",
            "read_only": True,
            "tmpfs": {"/tmp": "size=1g,mode=1777"},  # noqa: S108 (the container's own)
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "init": True,
        },
    }


def offer_notifications(client: SyncPrefectClient) -> None:
    """Let the dashboard make the blocks that notify, which a server that starts without Prefect's own blocks lacks."""
    known = {found.slug for found in client.read_block_types()}
    for block in _notification_blocks():
        if block.get_block_type_slug() not in known:
            block.register_type_and_schema(_sync=True)


def _notification_blocks() -> list[type[NotificationBlock]]:
    """Those that Prefect itself has: not their base classes, which have no name for people."""
    classes = [found for found in vars(notifications).values() if isinstance(found, type)]
    return [found for found in classes if issubclass(found, NotificationBlock) and "_block_type_name" in vars(found)]


def create_automations(
    client: SyncPrefectClient,
    stack: str,
    notify: str | None,
    *,
    silence: int = SILENCE_SECONDS,
    start: int = START_SECONDS,
    late: int = LATE_SECONDS,
) -> None:
    """Create or update a stack's automations: lost runs are crashed, and what goes wrong is told to the block `notify`.

    `silence`, `start` and `late` are seconds.
    """
    wanted = [_crash_silent_runs(stack, silence), _crash_runs_that_never_start(stack, start)]
    if notify:
        block = _block(client, notify)
        wanted += [_tell(stack, block, state, _as_it_happens(stack, state)) for state in ("Failed", "Crashed")]
        wanted += [_tell(stack, block, "Late", _late_for(stack, late))]
    for automation in wanted:
        existing = client.read_automations_by_name(automation.name)
        if existing:
            client.update_automation(existing[0].id, automation)
        else:
            client.create_automation(automation)


def _crash_silent_runs(stack: str, seconds: int) -> AutomationCore:
    """A run whose worker died stays Running for ever, and holds its deployment's only slot: nobody else ends it.

    It may die before its first sign of life is on its way; that it runs, the server knows by itself.
    """
    return AutomationCore(
        name=f"ecommerce {stack}: end runs that fell silent",
        description="A run that neither ends nor says that it lives has lost its worker.",
        trigger=_absence(stack, {_RUNNING, _HEARTBEAT}, {_HEARTBEAT, *_ENDED}, seconds),
        actions=[_crash(f"It said nothing for {seconds} s: its worker or machine is gone.")],
    )


def _crash_runs_that_never_start(stack: str, seconds: int) -> AutomationCore:
    """A run that dies before it runs stays Pending for ever: its silence would not be noticed."""
    return AutomationCore(
        name=f"ecommerce {stack}: end runs that never start",
        description="A run that a worker took and that never runs was lost on its way.",
        trigger=_absence(stack, {"prefect.flow-run.Pending"}, {_RUNNING, *_POSTPONED, *_ENDED}, seconds),
        actions=[_crash(f"It did not start within {seconds} s: the worker's log says why.")],
    )


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=StateType.CRASHED, message=message)


def _late_for(stack: str, seconds: int) -> EventTrigger:
    """When a run has been late for that long, and nothing else has become of it, not even another time.

    Only of the queue of the daily runs: in the other, a load waits for those before it, be it for hours.
    """
    daily = ResourceSpecification({"prefect.resource.role": "work-queue", "prefect.resource.name": "default"})
    return _absence(stack, {"prefect.flow-run.Late"}, {"prefect.flow-run.*"}, seconds, daily)


def _as_it_happens(stack: str, state: str) -> EventTrigger:
    return EventTrigger(
        expect={f"prefect.flow-run.{state}"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
        **_runs_of(stack),
    )


def _absence(
    stack: str, after: set[str], expect: set[str], seconds: int, *related: ResourceSpecification
) -> EventTrigger:
    """When, for one and the same run, nothing that is expected comes within that time after something else."""
    return EventTrigger(
        after=after,
        expect=expect,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=seconds),
        **_runs_of(stack, *related),
    )


def _runs_of(stack: str, *related: ResourceSpecification) -> dict[str, Any]:
    """What makes a trigger concern a stack's deployed runs, by their tag, of which all of these resources are part."""
    tag = {"prefect.resource.id": f"prefect.tag.stack:{stack}", "prefect.resource.role": "tag"}
    return {
        "match": ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        "match_related": [ResourceSpecification(tag), *related],
    }


def _tell(stack: str, block: UUID, state: str, trigger: EventTrigger) -> AutomationCore:
    return AutomationCore(
        name=f"ecommerce {stack}: tell of {state.lower()} runs",
        trigger=trigger,
        actions=[SendNotification(block_document_id=block, subject=f"{_RUN} {state.lower()}", body=_TOLD)],
    )


def _block(client: SyncPrefectClient, notify: str) -> UUID:
    kind, _, name = notify.partition("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound as error:
        raise ParameterError(
            f"There is no block {notify!r} to notify: create one in the dashboard, and name it as type/name."
        ) from error


def deploy(api: str, stack: str, pool: Pool) -> None:
    """Deploy all that prefect.yaml names; `PipelineError` with Prefect's own words if that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        env=os.environ | {"PREFECT_API_URL": api, "ECOMMERCE_STACK": stack, "ECOMMERCE_POOL": pool},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PipelineError(f"prefect deploy failed: {(done.stdout + done.stderr).strip()[-2_000:]}")


if __name__ == "__main__":
    with said_in_one_sentence():
        app()

"""Tell Prefect that an increment is complete, so that what follows it begins, or what a failed run left undone."""

from typing import Any

from prefect import Flow, get_run_logger, task
from prefect.artifacts import ArtifactRequest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event
from prefect.states import State

from tasks import pages
from tasks.balance import IngestReport
from tasks.dbt import FAILED_STATUSES
from tasks.errors import ReconcileError, TransformError
from tasks.retry import RETRY

COMPLETED = "ecommerce.increment.completed"
"""The event on which transform runs; prefect.yaml names it too."""

FAILED = "ecommerce.run.failed"
"""The event of a failed run, whose payload says what it left undone."""


@task(task_run_name="announce {report.day}", **RETRY)
def announce(report: IngestReport) -> None:
    """Emit the event of a complete increment, with its stack, day and the `as_of` to build.

    For a day taken late, that is the end of the days after it, since the marts never go back. No event is emitted while
    a table lacks every day. The warehouse is not asked: by now it may be another run's turn.
    """
    if report.newest_cut is not None:
        emit_event(
            COMPLETED,
            resource=_resource(report.stack),
            payload={"stack": report.stack, "day": report.day.isoformat(), "as_of": report.newest_cut.isoformat()},
        )
        get_run_logger().info("%s is complete; to build: as of %s", report.day, report.newest_cut)


def announce_failure(flow: "Flow[..., Any]", run: FlowRun, state: "State[Any]") -> None:
    """Say of a failed run which tables of which batch, or which models, it left undone, and what to do; a flow's hook.

    It becomes an event and an artifact of the run; Prefect itself logs the error.
    """
    error, stack = state.result(raise_on_failure=False), run.parameters["stack"]
    undone = _undone(error)
    payload = {"stack": stack, "flow": flow.name, "run": run.name, "reason": str(error)}
    emit_event(FAILED, resource=_resource(stack), payload=payload | {"undone": [list(one) for one in undone]})
    page = pages.failure_markdown(flow.name, run.name, undone, str(error))
    # A run with wrong parameters fails before it has a context, from which Prefect's own function takes the run.
    with get_client(sync_client=True) as client:
        client.create_artifact(
            ArtifactRequest(type="markdown", key="failure", data=page, description=run.name, flow_run_id=run.id)
        )


def _undone(error: object) -> list[tuple[str, str, str]]:
    """Batch, table or model, and reason of everything that an error names."""
    if isinstance(error, ReconcileError):
        return [(str(batch), table, reason) for batch, table, reason in error.reasons]
    if isinstance(error, TransformError):
        failed = (node for node in error.nodes if node.status in FAILED_STATUSES)
        return [("", f"{node.resource_type} {node.name}", node.message) for node in failed]
    return []


def _resource(stack: str) -> dict[str, str]:
    return {"prefect.resource.id": f"ecommerce.stack.{stack}", "prefect.resource.name": stack}

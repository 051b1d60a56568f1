"""Tell Prefect that an increment is complete, so that what follows it begins."""

from datetime import date

from prefect import get_run_logger, task
from prefect.events import emit_event

from blocks.stack import Stack
from tasks.plan import Run
from tasks.retry import RETRY
from tasks.tables import TABLES

COMPLETED = "ecommerce.increment.completed"
"""The event on which transform runs; prefect.yaml names it too."""


@task(task_run_name="announce {run.day}", **RETRY)
def announce(run: Run) -> date | None:
    """Emit the event of a complete increment, with its stack, day and the `as_of` to build; that `as_of`.

    It is the end of the newest day that all tables have loaded: for a day taken late, that of the days after it, since
    the marts never go back. None, and no event, while a table lacks every day.
    """
    with Stack.named(run.stack).open_warehouse() as warehouse:
        as_of = warehouse.newest_cut(TABLES)
    if as_of is not None:
        emit_event(
            COMPLETED,
            resource={"prefect.resource.id": f"ecommerce.stack.{run.stack}", "prefect.resource.name": run.stack},
            payload={"stack": run.stack, "day": run.day.isoformat(), "as_of": as_of.isoformat()},
        )
        get_run_logger().info("%s is complete; to build: as of %s", run.day, as_of)
    return as_of

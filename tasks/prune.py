"""Let go of feeds that are older than anyone will ask for."""

from datetime import timedelta

from prefect import get_run_logger, task

from blocks.stack import Stack
from tasks.lake import meta
from tasks.plan import Run
from tasks.retry import RETRY


@task(task_run_name="prune landing {run.day}", **RETRY)
def prune(run: Run) -> int:
    """Delete the landing folders of days that are `landing_days` or more before the run's day; how many they were.

    No day of a window is touched, however long ago it is: the next attempt at that table takes it again.
    """
    stack = Stack.named(run.stack)
    kept = run.as_of - timedelta(days=stack.landing_days)
    pruned = meta.prune_landing(stack.open_lake(), min([kept, *(window.start for window in run.windows.values())]))
    if pruned:
        get_run_logger().info("landing: %s folders of days before %s deleted", f"{pruned:,}", kept)
    return pruned

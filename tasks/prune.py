"""Let go of feeds that are older than anyone will ask for, and of what killed runs left."""

from datetime import timedelta

from prefect import get_run_logger, task

from blocks.stack import Stack
from tasks.lake import meta, paths
from tasks.plan import Run
from tasks.retry import RETRY

ABANDONED = timedelta(hours=12)
"""What was extracted longer ago than this is nobody's: no run takes as long from there to its commit."""


@task(task_run_name="prune {run.day}", **RETRY)
def prune(run: Run) -> int:
    """Delete the landing folders of days that are `landing_days` or more before the run's day; how many they were.

    No day of a window is touched, however long ago it is: the next attempt at that table takes it again. What was
    extracted and never committed goes too, by its age alone: another run, of whichever day, may be at work.
    """
    stack = Stack.named(run.stack)
    lake = stack.open_lake()
    lake.sweep(paths.EXTRACTED, before=run.started - ABANDONED)
    kept = run.as_of - timedelta(days=stack.landing_days)
    pruned = meta.prune_landing(lake, min([kept, *(window.start for window in run.windows.values())]))
    if pruned:
        get_run_logger().info("landing: %s folders of days before %s deleted", f"{pruned:,}", kept)
    return pruned

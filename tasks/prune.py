"""Let go of feeds that are older than anyone will ask for, and of what killed runs left."""

from datetime import timedelta

from prefect import get_run_logger, task

from blocks.stack import Stack
from tasks.lake import meta, paths
from tasks.plan import Run
from tasks.retry import RETRY
from tasks.tables import TABLES


@task(task_run_name="prune landing {run.day}", **RETRY)
def prune(run: Run) -> int:
    """Delete the landing folders of days that are `landing_days` or more before the run's day; how many they were.

    No day of a window is touched, however long ago it is: the next attempt at that table takes it again. What was
    extracted of tables that have no window goes too: they had committed it when an earlier run was killed.
    """
    stack = Stack.named(run.stack)
    lake = stack.open_lake()
    for table in TABLES.keys() - run.windows.keys():
        lake.delete(paths.extracted(table, run.day))
    kept = run.as_of - timedelta(days=stack.landing_days)
    pruned = meta.prune_landing(lake, min([kept, *(window.start for window in run.windows.values())]))
    if pruned:
        get_run_logger().info("landing: %s folders of days before %s deleted", f"{pruned:,}", kept)
    return pruned

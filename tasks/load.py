"""Load committed revisions into the warehouse's raw layer."""

from datetime import UTC, datetime

from prefect import get_run_logger, task

from blocks.stack import Stack
from tasks.lake import commits
from tasks.lineage import tell_loaded
from tasks.plan import Run
from tasks.retry import RETRY
from tasks.tables import TABLES
from tasks.timing import Work, timed


@task(task_run_name="load {table} {run.day}", **RETRY)
@timed
def load(run: Run, table: str) -> Work:
    """Load every committed revision of `table` that the warehouse's ledger lacks, in the order of the commits.

    A warehouse that was down, restored or dropped catches up here from the history alone.
    """
    stack = Stack.named(run.stack)
    lake = stack.open_lake()
    with stack.open_warehouse() as warehouse:
        warehouse.prepare([TABLES[table]])
        for manifest in commits.lacking(lake, table, warehouse.ledger(table), datetime.now(UTC)):
            warehouse.load(lake, TABLES[table], manifest, run.id, run.started)
        # Of the ledger, since an attempt that failed after its first revision has loaded that one all the same.
        rows = warehouse.loaded_by(run.id, table)
    if rows:
        tell_loaded(stack, lake, table, rows)
    get_run_logger().info("%s: %s rows loaded", table, f"{rows:,}")
    return Work(rows)

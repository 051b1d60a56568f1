"""Show that every record of a run is accounted for, or fail by name."""

from collections.abc import Mapping, Sequence

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact

from blocks.stack import Stack
from tasks.balance import Balance, IngestReport, audit, balance
from tasks.errors import ReconcileError
from tasks.lake.history import Appended
from tasks.plan import Run
from tasks.publish import publish_run
from tasks.retry import RETRY
from tasks.tables import TABLES


@task(task_run_name="reconcile {run.day}", **RETRY)
def reconcile(
    run: Run,
    appended: Sequence[Appended],
    failures: Mapping[str, str],
    seconds: Mapping[str, float],
    full: bool = False,
) -> IngestReport:
    """Balance the tables of a run in source, history and warehouse, and publish report and balance sheet as artifacts.

    `failures` are the tables that did not get this far, with the reason; `seconds` is the time that the run's tasks
    worked on each; `full` audits the whole history of each
    table too. Raises `ReconcileError` naming every table that failed or does not add up.
    """
    stack = Stack.named(run.stack)
    lake = stack.open_lake()
    with stack.open_warehouse() as warehouse:
        balances = tuple(balance(lake, warehouse, done) for done in appended)
        report = IngestReport(run.stack, run.day, balances, warehouse.newest_cut(TABLES))
        audited = {done.table: audit(lake, warehouse, done.table) for done in appended if full}
    publish_run(lake, report, seconds, failures)
    create_table_artifact(
        key="balance-sheet", table=[_row(line) for line in report.tables], description=f"{run.stack} {run.day}"
    )
    for warning in report.warnings:
        get_run_logger().warning(warning)
    problems = [(b.table, problem) for b in report.tables for problem in (*b.problems, *audited.get(b.table, ()))]
    problems += failures.items()
    if problems:
        raise ReconcileError(
            f"{run.stack} {run.day}: " + "; ".join(f"{table}: {problem}" for table, problem in problems),
            [(run.day, table, problem) for table, problem in problems],
        )
    return report


def _row(line: Balance) -> dict[str, str | int]:
    return {
        "table": line.table,
        "source": line.source,
        "appended": line.appended,
        "known": line.known,
        "quarantined": line.quarantined,
        "batch": line.batch_rows,
        "raw": line.raw_rows,
        "balance": "; ".join(line.problems) or "ok",
    }

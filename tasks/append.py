"""Append what the history lacks of what was extracted, and commit it."""

from collections.abc import Sequence

from prefect import get_run_logger, task

from blocks.stack import Stack
from tasks.lake.history import Appended, Extracted, append_batch
from tasks.plan import Run
from tasks.retry import RETRY
from tasks.tables import TABLES
from tasks.timing import timed


@task(task_run_name="append {table} {run.day}", **RETRY)
@timed
def append(run: Run, table: str, extracted: Sequence[Extracted]) -> Appended:
    """Commit the next revision of the run's batch of `table`, if there is anything new.

    Raises `FeedError` if too many of the records were bad; nothing is committed then.
    """
    lake = Stack.named(run.stack).open_lake()
    appended = append_batch(
        lake, TABLES[table], run.day, run.windows[table], extracted, run.max_bad, run.identity, run.id
    )
    logger = get_run_logger()
    for warning in appended.warnings:
        logger.warning("%s: %s", table, warning)
    logger.info("%s: %s new of %s records", table, f"{appended.appended:,}", f"{appended.read:,}")
    return appended

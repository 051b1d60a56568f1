"""Let the simulated shop write: feeds into landing, rows into Postgres."""

from prefect import task

from blocks.stack import Stack
from tasks.lake.feeds import write_feed
from tasks.plan import Run
from tasks.retry import RETRY
from tasks.tables import TABLES, Home
from tasks.timing import Work, timed
from tasks.window import Chunk


@task(task_run_name="generate {chunk.table} {run.day}", **RETRY)
@timed
def generate(run: Run, chunk: Chunk) -> Work:
    """Write one chunk of the shop's records as of the run's day.

    Doing it again replaces the same feed by the same bytes and finds the same rows in Postgres.
    """
    if run.shop is None:
        raise ValueError("a run without a simulated shop has nothing to generate")
    table, stack = TABLES[chunk.table], Stack.named(run.stack)
    records = run.shop.snapshot(chunk.table, chunk.window, run.as_of, chunk.share, chunk.shares)
    if table.home is Home.JSON:
        write_feed(stack.open_lake(), table, run.day, str(chunk), records)
    else:
        stack.open_source().upsert(table, records)
    return Work(records.num_rows)

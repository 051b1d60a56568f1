"""Take what the sources hold for a run's days, checked, into the lake's extracted folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prefect import get_run_logger, task

from blocks.stack import Stack
from tasks.errors import FeedError, SourceError
from tasks.lake import paths
from tasks.lake.feeds import landed
from tasks.lake.history import Extracted, extract_feed, extract_rows
from tasks.lake.manifests import committed
from tasks.lake.store import Lake, Stored
from tasks.plan import Run
from tasks.retry import RETRY
from tasks.source.postgres import Source
from tasks.tables import TABLES, Home, Table
from tasks.timing import timed
from tasks.window import Chunk, Window, plan_chunks


@dataclass(frozen=True)
class Take:
    """What one task takes of a table: a feed from landing, or a chunk of rows from Postgres."""

    table: str
    feed: Stored | None = None
    chunk: Chunk | None = None


@task(task_run_name="reach the source", **RETRY)
def reach(run: Run) -> None:
    """See that the source database can be read, and has what the simulated shop has just written.

    A reader on a replica may not have that yet, so it is waited for: a historical load writes days that no later window
    reaches back to.
    """
    stack = Stack.named(run.stack)
    reader = stack.open_reader()
    reader.check()
    if run.shop is not None and stack.reader is not None:
        reader.catch_up(stack.open_source().position())


@contextmanager
def one_snapshot(run: Run) -> Iterator[str | SourceError]:
    """Hold the source database at one instant; what it yields lets every task of the run read that instant.

    If the database cannot be reached, that is its error: the tables that live there raise it, the feeds need none.
    """
    reached = reach(run, return_state=True)
    if not reached.is_completed():
        yield SourceError(str(reached.result(raise_on_failure=False)))
        return
    with Stack.named(run.stack).open_reader().snapshot() as snapshot:
        yield snapshot


@task(task_run_name="find {table} {run.day}", **RETRY)
def find(run: Run, table: str, snapshot: str | SourceError) -> tuple[Take, ...]:
    """What there is to take of a table: feeds that no batch has taken yet, or chunks of rows.

    Raises `SourceError` if the source database has no such table, or the one that stands for the snapshot.
    """
    stack = Stack.named(run.stack)
    if TABLES[table].home is Home.JSON:
        return _feeds(stack.open_lake(), run, TABLES[table])
    if isinstance(snapshot, SourceError):
        raise snapshot
    return _chunks(stack.open_reader(), run, table, snapshot)


def _feeds(lake: Lake, run: Run, table: Table) -> tuple[Take, ...]:
    window = run.windows[table.name]
    taken = {source for manifest in committed(lake, table.name, since=window.start) for source in manifest.sources}
    expected = window if run.backfill else Window(run.day, run.as_of)
    if not landed(lake, table, expected, taken=()):
        return (Take(table.name),)
    return tuple(Take(table.name, feed=feed) for feed in landed(lake, table, window, taken))


def _chunks(source: Source, run: Run, table: str, snapshot: str) -> tuple[Take, ...]:
    window = run.windows[table]
    counts = source.counts(TABLES[table], window, run.as_of, snapshot)
    return tuple(Take(table, chunk=chunk) for chunk in plan_chunks(table, counts, window))


@task(task_run_name="extract {take.table} {run.day}", **RETRY)
@timed
def extract(run: Run, take: Take, snapshot: str) -> Extracted:
    """Take one feed or one chunk: good records into extracted, bad ones into quarantine.

    Raises `FeedError` for a damaged feed, and for a table whose feed has not arrived.
    """
    stack, table = Stack.named(run.stack), TABLES[take.table]
    lake = stack.open_lake()
    if take.chunk is not None:
        rows = stack.open_reader().copy_out(table, take.chunk, run.as_of, snapshot)
        extracted = extract_rows(lake, table, take.chunk, rows, run.day, run.as_of, run.id)
    elif take.feed is not None:
        extracted = extract_feed(lake, table, take.feed, run.day, run.as_of, run.id)
    else:
        raise FeedError(
            f"{paths.landing(table.name, run.day)}/ has no file; deliver the feed ([] if it is empty) and run "
            f"{run.day} again."
        )
    if extracted.unknown_columns:
        get_run_logger().warning(
            "%s: kept unknown columns as text: %s", table.name, ", ".join(extracted.unknown_columns)
        )
    return extracted

"""The order of every load: generate, extract, append, load, reconcile."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prefect import allow_failure
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner

from blocks.stack import Stack
from flows.runner import own_process
from tasks.append import append
from tasks.balance import IngestReport
from tasks.extract import Take, extract, find, one_snapshot
from tasks.generate import generate
from tasks.load import load
from tasks.memory import return_freed_memory
from tasks.plan import Run
from tasks.prune import prune
from tasks.publish import Progress
from tasks.reconcile import reconcile
from tasks.tables import TABLES, enforced_parents
from tasks.turn import WAREHOUSE, turn

Futures = Sequence[PrefectFuture[Any]]

GENERATED, EXTRACTED, LOADED = 50.0, 80.0, 100.0
"""Percent of a historical load's time at which a step ends, at scale 1."""


def ingest(run: Run) -> IngestReport:
    """Carry one run from its sources to the warehouse, table by table; called from within a flow.

    All tables are written before any is read, so that one snapshot of the source database holds them all. A table
    that fails stops alone: the others are committed and loaded, and `reconcile` then fails naming it.
    """
    return_freed_memory()
    progress = Progress(f"{run.stack} through {run.day}") if run.backfill else None
    generated = _generate(run)
    _finish(generated, progress, GENERATED)
    with one_snapshot(run) as snapshot:
        found = {table: [find.submit(run, table, snapshot, wait_for=generated[table])] for table in run.windows}
        _finish(found)
        extracted = {
            table: [extract.submit(run, take, snapshot) for take in _takes(found[table][0])] for table in run.windows
        }
        _finish(extracted, progress, EXTRACTED)
    appended = {table: [append.submit(run, table, extracted[table], wait_for=found[table])] for table in run.windows}
    with turn(run.stack, WAREHOUSE), _one_warehouse(run), own_process() as runner:
        loaded = {table: _load(runner, run, table, appended.get(table, ())) for table in TABLES}
        _finish(loaded, progress, LOADED)
        failures = _failures([generated, found, extracted, appended, loaded])
        done = [appended[table][0].result() for table in run.windows if table not in failures]
        report = reconcile(run, done, failures, _seconds([generated, extracted, appended, loaded]))
    prune(run)
    return report


def _one_warehouse(run: Run) -> AbstractContextManager[None]:
    """Have the tasks of a day share one opening of the warehouse.

    Those of a historical load open it each, so that DuckDB gives its memory back between two tables: a load of 28
    million rows took 752 MiB with one opening, and 714 with one per table.
    """
    return nullcontext() if run.backfill else Stack.named(run.stack).one_warehouse()


def _load(runner: TaskRunner[Any], run: Run, table: str, appended: Futures) -> Futures:
    """Load a table after its append, also if that failed: raw may lack what earlier runs committed."""
    return [runner.submit(load, {"run": run, "table": table}, wait_for=[allow_failure(one) for one in appended])]


def _generate(run: Run) -> dict[str, Futures]:
    """Submit the chunks of every table, each after those of the tables that its foreign keys in Postgres need."""
    generated: dict[str, Futures] = {}
    for table in run.windows:
        parents = enforced_parents(TABLES[table]).values()
        before = [future for parent in parents for future in generated.get(parent.name, ())]
        generated[table] = [generate.submit(run, chunk, wait_for=before) for chunk in run.chunks(table)]
    return generated


def _takes(found: PrefectFuture[Sequence[Take]]) -> Sequence[Take]:
    return found.result() if found.state.is_completed() else ()


def _finish(step: Mapping[str, Futures], progress: Progress | None = None, until: float = 0) -> None:
    futures = [future for futures in step.values() for future in futures]
    if progress is not None:
        progress.wait(futures, until)
    wait(futures)  # a future keeps its error only if it was waited for; Prefect's API knows but the text of it
    return_freed_memory()


def _seconds(steps: Sequence[Mapping[str, Futures]]) -> dict[str, float]:
    """The time that the tasks of each table worked, as far as they ended well."""
    done = [(table, future) for step in steps for table, futures in step.items() for future in futures]
    seconds = dict.fromkeys(TABLES, 0.0)
    for table, future in done:
        if future.state.is_completed():
            seconds[table] += future.result().seconds
    return seconds


def _failures(steps: Sequence[Mapping[str, Futures]]) -> dict[str, str]:
    """Why each table that failed did: the error of its first failed task (those after it were never run)."""
    failed = {
        table: future.state.result(raise_on_failure=False)
        for step in reversed(steps)
        for table, futures in step.items()
        for future in futures
        if future.state.is_failed() or future.state.is_crashed()
    }
    return {table: str(error) for table, error in failed.items()}

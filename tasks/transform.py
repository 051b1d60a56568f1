"""Decide what dbt builds, build it, and note that it was built."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from blocks.stack import Stack
from tasks import dbt
from tasks.dbt import NodeResult, OnEvent
from tasks.errors import ParameterError, TransformError
from tasks.lake import meta, paths
from tasks.lineage import tell_built
from tasks.plan import Occasion
from tasks.publish import publish_build
from tasks.retry import RETRY
from tasks.tables import TABLES
from tasks.warehouse.protocol import Revision

_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Cut:
    """What one build sees: the batches before `as_of`; `revisions` are those that it is the first to process.

    Of a `simulated` shop, whose every event is known, tests that only warn of a real one are errors.
    """

    occasion: Occasion
    as_of: date
    revisions: tuple[Revision, ...]
    full_refresh: bool
    simulated: bool


@dataclass(frozen=True)
class TransformReport:
    """What a build did: its stack and cut, each node's result, and the seconds that dbt took."""

    stack: str
    as_of: date
    nodes: tuple[NodeResult, ...]
    seconds: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """The tests that warned, one sentence each."""
        return tuple(f"{node.name}: {node.message}" for node in self.nodes if node.status == "warn")


@task(task_run_name="plan build", **RETRY)
def plan_build(occasion: Occasion, as_of: date | None, full_refresh: bool, unless_later: bool = False) -> Cut | None:
    """Choose the cut of the next build; None if there is a later build, and `unless_later` asks for none then.

    Raises `ParameterError` if raw is empty, if `as_of` is later than what all tables have loaded, or if it is before
    that of the last build without `full_refresh`, and `WarehouseError` if dbt could not connect.
    """
    stack = Stack.named(occasion.stack)
    info = meta.read(stack.open_lake())
    if stack.transformer is not None:
        with stack.open_transformer() as transformer:
            transformer.check()  # dbt would say that it cannot connect, but not by which block
    with stack.open_warehouse() as warehouse:
        warehouse.prepare(TABLES.values())
        newest, last = warehouse.newest_cut(TABLES), warehouse.last_as_of()
        if newest is None:
            raise ParameterError(
                f"Stack {occasion.stack!r} has loaded nothing yet: run historical_load before transform."
            )
        as_of = as_of or newest
        if as_of > newest:
            raise ParameterError(f"as_of {as_of} is later than what all tables have loaded, which ends with {newest}.")
        if last is not None and as_of < last and not full_refresh:
            if unless_later:
                get_run_logger().info("Nothing to do for %s: the models are built as of %s.", as_of, last)
                return None
            raise ParameterError(f"as_of {as_of} is before {last}, that of the last build: use full_refresh=True.")
        if full_refresh:
            warehouse.clear_built()
        full_refresh = full_refresh or last is None  # no build, or one that died in the midst of a full refresh
        revisions = tuple(warehouse.unbuilt(as_of))
    return Cut(occasion, as_of, revisions, full_refresh, simulated=info is not None and info.simulated)


@task(task_run_name="dbt build as of {cut.as_of}", **RETRY)
def build(cut: Cut, select: Sequence[str], observability: str) -> TransformReport:
    """Build and test the models, and publish the result of each as an artifact; `TransformError` names what failed."""
    stack = Stack.named(cut.occasion.stack)
    try:
        report = _built(cut, stack, select, observability)
    except TransformError as error:
        _publish(cut, stack, error.nodes)
        raise
    _publish(cut, stack, report.nodes)
    return TransformReport(cut.occasion.stack, cut.as_of, report.nodes, report.seconds)


def _built(cut: Cut, stack: Stack, select: Sequence[str], observability: str) -> dbt.BuildReport:
    return dbt.build(
        home=Path(stack.workspace),
        environment=stack.dbt_environment(),
        target=stack.dbt_target(),
        as_of=cut.as_of,
        simulated=cut.simulated,
        full_refresh=cut.full_refresh,
        select=select,
        on_node=_logged(),
        invoke=as_task_runs if observability == "nodes" else dbt.invoke_dbt,
    )


def _publish(cut: Cut, stack: Stack, nodes: Sequence[NodeResult]) -> None:
    """Show what became of each node, and tell of what was built, which there is also if other nodes failed."""
    tell_built(dbt.target_folder(Path(stack.workspace)), nodes)
    publish_build(stack, cut.occasion.stack, cut.as_of, nodes)
    create_table_artifact(key="dbt-build", table=[_row(node) for node in nodes], description=f"as of {cut.as_of}")


@task(task_run_name="mark built as of {cut.as_of}", **RETRY)
def mark(cut: Cut) -> int:
    """Note in `raw._built` the revisions that a complete green build has processed; how many they are."""
    with Stack.named(cut.occasion.stack).open_warehouse() as warehouse:
        warehouse.mark_built(cut.revisions, cut.as_of, cut.occasion.id, cut.occasion.started)
    return len(cut.revisions)


@task(task_run_name="document as of {cut.as_of}", **RETRY)
def document(cut: Cut) -> str:
    """Make the documentation, keep it in the lake, and link it from the run; the address of the page on this machine.

    It is one file, `docs/index.html` in the lake, that any browser opens.
    """
    stack = Stack.named(cut.occasion.stack)
    page = dbt.docs_generate(
        home=Path(stack.workspace), environment=stack.dbt_environment(), as_of=cut.as_of, target=stack.dbt_target()
    )
    lake = stack.open_lake()
    lake.write(paths.DOCS_PAGE, page.read_bytes())
    create_link_artifact(
        key="dbt-docs",
        link=page.as_uri(),
        link_text=f"The models of {cut.occasion.stack} as of {cut.as_of}",
        description=f"Kept as `{paths.DOCS_PAGE}` in {lake.address}.",
    )
    return page.as_uri()


def _logged() -> Callable[[NodeResult], None]:
    """What logs each model of a build in this task run, from dbt's threads, which know of no run, one at a time."""
    logger, context, turn = get_run_logger(), copy_context(), threading.Lock()

    def log(node: NodeResult) -> None:
        """Log a node that has ended, if it is a model."""
        if node.resource_type == "model":
            with turn:
                context.run(logger.info, "%s: %s in %.1f s", node.name, node.status, node.seconds)

    return log


def as_task_runs(manifest: Any, arguments: list[str], _on_event: OnEvent) -> Any:
    """Run dbt so that each of its nodes is a task run of its own, named after the node.

    The level is given because Prefect's own, which is the default, may be one that dbt does not know. At `warn` a good
    run says nothing; what dbt says of each node stands in its log file.
    """
    from dbt.cli.main import dbtRunnerResult
    from prefect_dbt import PrefectDbtRunner, PrefectDbtSettings

    arguments = [*arguments]
    arguments[arguments.index("--log-level") + 1] = "warn"
    settings = PrefectDbtSettings(project_dir=dbt.PROJECT, profiles_dir=dbt.PROJECT, log_level="warn")
    runner = PrefectDbtRunner(manifest=manifest, settings=settings, raise_on_failure=False, disable_assets=True)
    try:
        with _task_runs_ended():
            return runner.invoke(arguments)
    except ValueError as error:  # what dbt could not run at all
        return dbtRunnerResult(success=False, exception=error)


def _knows_its_server(record: logging.LogRecord) -> bool:
    """Not of the runner's own thread: it lacks the settings of the run, so its log would start a second server."""
    return record.threadName != "dbt-callback-processor"


@contextmanager
def _task_runs_ended() -> Iterator[None]:
    """Wait for the task runs of the nodes, whose threads the runner leaves behind, and undo what it does to the log."""
    logger, before = logging.getLogger("prefect.task_runs"), set(threading.enumerate())
    level = logger.level
    logger.addFilter(_knows_its_server)
    try:
        yield
    finally:
        logger.removeFilter(_knows_its_server)
        for thread in set(threading.enumerate()) - before:
            if thread.name.endswith("(run_task)"):
                thread.join(_PATIENCE_SECONDS)
        logger.setLevel(level)


def _row(node: NodeResult) -> dict[str, str | float]:
    return {
        "name": node.name,
        "type": node.resource_type,
        "status": node.status,
        "seconds": round(node.seconds, 2),
        "message": node.message if node.status not in ("success", "pass") else "",
    }

"""dbt, run in this process: quiet, with its files under the stack's home, and with errors a person can act on."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

from tasks.errors import TransformError

PROJECT = Path(__file__).parents[1] / "dbt_project"
REASON_LENGTH = 500
FAILED_STATUSES = ("error", "fail", "runtime error", "partial success")
_TAG = "ECOMMERCE_SNOWFLAKE_QUERY_TAG"
_BEHIND = ("LINE ", "> in macro", "compiled code at")

_ONE_AT_A_TIME = threading.Lock()
"""dbt keeps its flags, adapters and environment per process, so runs in one process take turns."""


@dataclass(frozen=True)
class NodeResult:
    """One model, test or unit test of a run.

    `status` is dbt's: success, pass, no-op, warn, error, fail, runtime error or skipped. `rows` are the rows a model
    wrote, where the warehouse says so (DuckDB does not), and the failing rows of a test.
    """

    name: str
    resource_type: str
    status: str
    seconds: float
    rows: int | None
    message: str


@dataclass(frozen=True)
class BuildReport:
    """What one dbt command did: its nodes in the order they ended, its wall time, and the folder of its artifacts."""

    nodes: tuple[NodeResult, ...]
    seconds: float
    target: Path

    @property
    def passed(self) -> tuple[NodeResult, ...]:
        """Nodes that did what they should; a no-op is a node that had nothing to do."""
        return self._with("success", "pass", "no-op")

    @property
    def failed(self) -> tuple[NodeResult, ...]:
        """Nodes that failed, tests and models alike."""
        return self._with(*FAILED_STATUSES)

    @property
    def skipped(self) -> tuple[NodeResult, ...]:
        """Nodes not run because one they need failed."""
        return self._with("skipped")

    @property
    def warned(self) -> tuple[NodeResult, ...]:
        """Tests of severity warn that found something."""
        return self._with("warn")

    def _with(self, *statuses: str) -> tuple[NodeResult, ...]:
        return tuple(node for node in self.nodes if node.status in statuses)


OnNode = Callable[[NodeResult], None]
OnStart = Callable[[int, int], None]
OnEvent = Callable[[Any], None]
Invoke = Callable[[Any, list[str], OnEvent], Any]
"""What runs dbt: from the project as read, the arguments, and what to call with each event, to dbt's own result."""


def invoke_dbt(manifest: Any, arguments: list[str], on_event: OnEvent) -> Any:
    """Run dbt by its own runner."""
    from dbt.cli.main import dbtRunner

    return dbtRunner(manifest=manifest, callbacks=[on_event]).invoke(arguments)


def build(  # noqa: PLR0913 (all are named where it is called)
    *,
    home: Path,
    environment: Mapping[str, str],
    as_of: date,
    simulated: bool = False,
    target: str | None = None,
    full_refresh: bool = False,
    select: Sequence[str] = (),
    on_node: OnNode | None = None,
    on_start: OnStart | None = None,
    invoke: Invoke = invoke_dbt,
) -> BuildReport:
    """Build and test the models with all batches before `as_of`; see `run_dbt` for the rest.

    Of a `simulated` shop, whose every event is known, some tests ask more.
    """
    command = ["build", *(["--full-refresh"] if full_refresh else []), *(["--select", *select] if select else [])]
    variables = {"as_of": as_of.isoformat(), "simulated": simulated}
    return run_dbt(
        command,
        home=home,
        environment=environment,
        variables=variables,
        target=target,
        on_node=on_node,
        on_start=on_start,
        invoke=invoke,
    )


def docs_generate(*, home: Path, environment: Mapping[str, str], as_of: date, target: str | None = None) -> Path:
    """Write the documentation of the project and its tables as one HTML file, and return its path.

    It shows the models as written: compiling all of them once more would be work of its own, every day.
    """
    command = ["docs", "generate", "--static", "--no-compile"]
    variables = {"as_of": as_of.isoformat()}
    report = run_dbt(command, home=home, environment=environment, variables=variables, target=target)
    return report.target / "static_index.html"


def run_dbt(
    command: Sequence[str],
    *,
    home: Path,
    environment: Mapping[str, str],
    variables: Mapping[str, object],
    target: str | None = None,
    on_node: OnNode | None = None,
    on_start: OnStart | None = None,
    invoke: Invoke = invoke_dbt,
) -> BuildReport:
    """Run one dbt command of the project, such as `["build", "--select", "staging"]`, without a word on the screen.

    `environment` is what profiles.yml asks for; it is in `os.environ` only until dbt has read it. `variables` are dbt's
    vars, `target` is one of profiles.yml, its default if None. Artifacts go to `home/dbt/target` (with the cache that
    lets the next run parse less), logs to `home/dbt/logs`. `on_node` is called with each node that ends, `on_start`
    with the number of each that begins and how many there are, both from dbt's threads. An option of several values
    takes them after one flag: dbt forgets all but the last of a flag given twice.

    Raises TransformError naming each node that failed, or what dbt could not read, with the reason.
    """
    folder = _folder(home)

    def on_event(event: Any) -> None:
        """Hand on each node that begins or ends, of the events that dbt fires from its threads."""
        if on_node is not None and event.info.name == "NodeFinished":
            on_node(_finished(event.data))
        if on_start is not None and event.info.name == "LogStartLine":
            on_start(event.data.index, event.data.total)

    arguments = [*command, *_options(folder, target), "--vars", json.dumps(variables)]
    with _ONE_AT_A_TIME, _released_database():
        started = time.perf_counter()
        result = _run(arguments, _options(folder, target), environment, on_event, invoke)
        report = BuildReport(_nodes(result.result), time.perf_counter() - started, target_folder(home))
    if not result.success:
        raise TransformError(_explain(command[0], report, result.exception, folder / "logs" / "dbt.log"), report.nodes)
    return report


def target_folder(home: Path) -> Path:
    """Where dbt leaves the artifacts of its last command for the stack of that home."""
    return _folder(home) / "target"


def _folder(home: Path) -> Path:
    return home.resolve() / "dbt"


def _run(
    arguments: list[str], options: Sequence[str], environment: Mapping[str, str], on_event: OnEvent, invoke: Invoke
) -> Any:
    """Run dbt; its result, with the exception that stopped it if one did. Imports dbt here: that takes two seconds.

    The project is read without vars first, and without the tag of the run: none of ours shapes it, and dbt throws its
    cache away when one changes, which `as_of` does every day (0.1 s instead of 0.9 s for 14 models).
    """
    from dbt.cli.main import dbtRunner

    lasting = {name: value for name, value in environment.items() if name != _TAG}
    with _environment(lasting) as withdraw:
        read: Any = dbtRunner(callbacks=[lambda _event: withdraw()]).invoke(["parse", *options])
    if not read.success:
        return read
    with _environment(environment) as withdraw:

        def hear(event: Any) -> None:
            """Take the variables back, which dbt has copied by now, before anyone is told."""
            withdraw()
            on_event(event)

        return invoke(read.result, arguments, hear)


def _options(folder: Path, target: str | None) -> list[str]:
    """The options of every run; levels are explicit because `--quiet` alone still prints errors."""
    # fmt: off
    return [
        "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), *(["--target", target] if target else []),
        "--target-path", str(folder / "target"), "--log-path", str(folder / "logs"),
        "--quiet", "--no-print", "--no-use-colors", "--no-use-colors-file",
        "--log-level", "none", "--log-level-file", "info",
    ]
    # fmt: on


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """Set variables for the time of the block, or until what it gives is called.

    dbt copies the environment before its first event; after that no process that is started meanwhile need inherit a
    password.
    """
    before = {name: os.environ.get(name) for name in variables}

    def withdraw() -> None:
        """Leave the variables as they were before."""
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    os.environ.update(variables)
    try:
        yield withdraw
    finally:
        withdraw()


@contextmanager
def _released_database() -> Iterator[None]:
    """Close what the adapters hold: dbt-duckdb would keep the file, and its lock, for the life of the process."""
    try:
        yield
    finally:
        from dbt.adapters.factory import FACTORY

        for adapter in FACTORY.adapters.values():
            close = getattr(adapter.ConnectionManager, "close_all_connections", None)
            if close is not None:
                close()


def _finished(data: Any) -> NodeResult:
    """A node as the event of its end tells of it."""
    info, result = data.node_info, data.run_result
    return _node_result(info.node_name, info.resource_type, result, result.num_failures)


def _nodes(result: Any) -> tuple[NodeResult, ...]:
    """The nodes of a command's result, in the order they ended; none for a command that runs no nodes."""
    found = getattr(result, "results", ())
    return tuple(_node_result(one.node.name, str(one.node.resource_type), one, one.failures) for one in found)


def _node_result(name: str, resource_type: str, result: Any, failures: int | None) -> NodeResult:
    is_test = resource_type in ("test", "unit_test")
    rows = failures if is_test else _rows_affected(result.adapter_response)
    return NodeResult(name, resource_type, str(result.status), result.execution_time, rows, result.message or "")


def _rows_affected(response: Any) -> int | None:
    rows = dict(response).get("rows_affected")
    return None if rows is None else int(rows)


def _explain(command: str, report: BuildReport, error: BaseException | None, log: Path) -> str:
    reasons = [f"{node.resource_type} {node.name}: {_reason(node.message)}" for node in report.failed]
    if error is not None or not reasons:
        reasons.append(_reason(str(error or "dbt gave no reason")))
    skipped = f" ({len(report.skipped)} nodes skipped)" if report.skipped else ""
    return f"dbt {command} failed{skipped}: {'; '.join(reasons)}. Full log: {log}"


def _reason(message: str) -> str:
    """The telling part of a dbt message: no heading, which repeats the name, and no SQL or macros after it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    body = lines[1:] if len(lines) > 1 and " Error" in lines[0] else lines
    telling = " ".join(takewhile(lambda line: not line.startswith(_BEHIND), body))
    return telling[:REASON_LENGTH].rstrip(". ")

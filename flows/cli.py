"""The flows on the command line: their parameters as options, their progress as lines, their report as a table."""

import atexit
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Annotated, Any

import cyclopts
import pydantic
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from flows.occasion import yesterday
from flows.server import prefect_api
from tasks.balance import IngestReport
from tasks.errors import ParameterError, PipelineError
from tasks.transform import TransformReport

CONSOLE = Console(highlight=False, soft_wrap=True)


def main(flow: Flow[..., Any], *, days: bool = False) -> None:
    """Run `flow` with the options of the command line and show its report.

    With `days`, the options `--from` and `--to` run it for each day of a range, in order. A failure ends the process
    with status 1 and one sentence.
    """
    app = cyclopts.App(name=f"python -m flows.{flow.fn.__name__}", version_flags=[], help_format="plaintext")
    app.default(_with_range(flow.fn) if days else flow.fn)
    with said_in_one_sentence():
        command, bound, _ = app.parse_args(exit_on_error=False, print_error=False)
        if command is not app.default_command:  # --help
            command(*bound.args, **bound.kwargs)
            return
        with quiet(), prefect_api():
            for arguments in _calls(bound.arguments):
                show(flow(**arguments))


@contextmanager
def said_in_one_sentence() -> Iterator[None]:
    """End the process with status 1 and one sentence if something is wrong with the call or the run."""
    atexit.register(_hush)
    try:
        yield
    except (PipelineError, ParameterTypeError, cyclopts.CycloptsError) as error:
        CONSOLE.print(f"[red]Error:[/red] {_sentence(error)}")
        raise SystemExit(1) from None


def _hush() -> None:
    """Send the last words of the process nowhere.

    Where Prefect still holds a failed run's error, or its dbt runner ran, DuckDB's bindings print 40 lines about
    objects that Python had not freed.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stderr.fileno())


def _with_range(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the parameters of `function` and those of a range of days."""

    def command() -> None:
        """Stand for `function` while its arguments are read; it gets its docstring."""

    option = inspect.Parameter.KEYWORD_ONLY
    first = Annotated[date | None, cyclopts.Parameter(name="--from", help="First day of a range to run.")]
    last = Annotated[date | None, cyclopts.Parameter(name="--to", help="Last day of the range; yesterday by default.")]
    extra = [
        inspect.Parameter("first", option, default=None, annotation=first),
        inspect.Parameter("last", option, default=None, annotation=last),
    ]
    signature = inspect.signature(function)
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *extra])
    command.__doc__ = function.__doc__
    return command


def _calls(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """The arguments of each call: one, or one per day of a range."""
    first, last = arguments.pop("first", None), arguments.pop("last", None)
    if first is None and last is None:
        return [arguments]
    last = last or yesterday()
    if first is None or "day" in arguments or last < first:
        raise ParameterError("A range needs --from, no --day, and a --to that is not before --from.")
    return [arguments | {"day": first + timedelta(days=n)} for n in range((last - first).days + 1)]


def _sentence(error: BaseException) -> str:
    """What is wrong, in one line."""
    if isinstance(error.__cause__, pydantic.ValidationError):
        reason = error.__cause__.errors()[0]
        return f"{str(error).split('.')[0]}: {reason['msg']}."
    text = str(error).removeprefix("Flow run received invalid parameters:")
    return " ".join(line.strip(" -") for line in text.splitlines() if line.strip())


@contextmanager
def quiet() -> Iterator[None]:
    """Show what the tasks themselves say, one line each, instead of Prefect's own log; its server keeps everything."""
    root, runs = logging.getLogger(), logging.getLogger("prefect")
    before, ours = (
        root.handlers[:],
        RichHandler(console=CONSOLE, show_level=False, show_path=False, log_time_format="%H:%M:%S"),
    )
    ours.addFilter(_said_by_a_task)
    root.handlers[:] = [logging.NullHandler()]  # without any handler, dbt would add one
    runs.addHandler(ours)
    try:
        yield
    finally:
        runs.removeHandler(ours)
        root.handlers[:] = before


def _said_by_a_task(record: logging.LogRecord) -> bool:
    return record.name.startswith(("prefect.task_runs", "prefect.flow_runs")) and not record.module.endswith("engine")


def show(report: IngestReport | TransformReport | str) -> None:
    """Print the report of a flow, or the path of what it made."""
    CONSOLE.print(report if isinstance(report, str) else _sheet(report))
    for warning in () if isinstance(report, str) else report.warnings:
        CONSOLE.print(f"[yellow]Warning:[/yellow] {warning}")


def _sheet(report: IngestReport | TransformReport) -> Table | str:
    if isinstance(report, IngestReport):
        nothing = f"{report.stack}: everything through {report.day} is there already."
        return _balance_sheet(report) if report.tables else nothing
    nothing = f"{report.stack}: the models are built as of a later day than {report.as_of}."
    return _built(report) if report.nodes else nothing


def _balance_sheet(report: IngestReport) -> Table:
    """The balance of each table of a run: source = appended + known + quarantined, batch = raw."""
    columns = ("source", "appended", "known", "quarantined", "batch_rows", "raw_rows")
    sheet = Table("table", title=f"{report.stack} {report.day}: balance sheet")
    for column in columns:
        sheet.add_column(column.replace("_rows", ""), justify="right")
    for line in report.tables:
        sheet.add_row(line.table, *(f"{getattr(line, column):,}" for column in columns))
    return sheet


def _built(report: TransformReport) -> Table:
    """The models of a build with their seconds, and how its tests went."""
    tests = [node for node in report.nodes if node.resource_type in ("test", "unit_test")]
    passed = sum(node.status == "pass" for node in tests)
    caption = f"{passed} of {len(tests)} tests passed"
    sheet = Table("model", title=f"{report.stack}: built as of {report.as_of}", caption=caption)
    sheet.add_column("seconds", justify="right")
    for node in report.nodes:
        if node.resource_type == "model":
            sheet.add_row(node.name, f"{node.seconds:.2f}")
    return sheet

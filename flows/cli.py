"""The flows on the command line: their parameters as options, their progress as lines, their report as a table."""

import atexit
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from flows.server import deliver, prefect_api
from tasks.balance import Balance, IngestReport
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
        with quiet(), api():
            for arguments in _calls(bound.arguments):
                with CONSOLE.status(f"{flow.name} ..."):
                    report = flow(**arguments)
                show(report)


@contextmanager
def api() -> Iterator[str]:
    """Prefect's API, as `prefect_api` gives it; a terminal says so while a server starts."""
    with ExitStack() as until_the_end:
        with CONSOLE.status("Starting a Prefect server ..."):
            address = until_the_end.enter_context(prefect_api())
        yield address


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
        return f"{str(error).split('. ')[0]}: {reason['msg']}."
    text = str(error).removeprefix("Flow run received invalid parameters:")
    return " ".join(line.strip(" -") for line in text.splitlines() if line.strip())


@contextmanager
def quiet() -> Iterator[None]:
    """Show what the tasks themselves say, one line each, instead of Prefect's own log; its server keeps everything.

    What Prefect's workers still hold of logs and events is delivered in the end: at the end of the process they would
    warn of it.
    """
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
        deliver()
        runs.removeHandler(ours)
        root.handlers[:] = before


def _said_by_a_task(record: logging.LogRecord) -> bool:
    return record.name.startswith(("prefect.task_runs", "prefect.flow_runs")) and not record.module.endswith("engine")


def show(report: IngestReport | TransformReport | str) -> None:
    """Print the report of a flow, or the path of what it made."""
    CONSOLE.print(report if isinstance(report, str) else _sheet(report))
    if not isinstance(report, str):
        warn(report.warnings)


def warn(warnings: Iterable[str]) -> None:
    """Print what a person should look at, a line each."""
    for warning in warnings:
        CONSOLE.print(f"[yellow]Warning:[/yellow] {warning}")


def sheet(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str | None = None) -> Table:
    """A table for the screen: names in the first column, numbers in the others."""
    made = Table(columns[0], title=title, caption=caption)
    for column in columns[1:]:
        made.add_column(column, justify="right")
    for name, *numbers in rows:
        made.add_row(str(name), *(f"{number:,}" for number in numbers))
    return made


def balance_sheet(title: str, lines: Iterable[Balance]) -> Table:
    """The balance of each table: source = appended + known + quarantined, batch = raw."""
    columns = ("table", "source", "appended", "known", "quarantined", "batch_rows", "raw_rows")
    rows = ([getattr(line, column) for column in columns] for line in lines)
    return sheet(title, [column.removesuffix("_rows") for column in columns], rows)


def tests_passed(report: TransformReport) -> str:
    """How the tests of a build went."""
    tests = [node for node in report.nodes if node.resource_type in ("test", "unit_test")]
    return f"{sum(node.status == 'pass' for node in tests)} of {len(tests)} tests passed"


def _sheet(report: IngestReport | TransformReport) -> Table | str:
    if isinstance(report, IngestReport):
        nothing = f"{report.stack}: everything through {report.day} is there already."
        return balance_sheet(f"{report.stack} {report.day}: balance sheet", report.tables) if report.tables else nothing
    models = [(node.name, round(node.seconds, 2)) for node in report.nodes if node.resource_type == "model"]
    title, nothing = f"{report.stack}: built as of {report.as_of}", "the models are built as of a later day than"
    if not report.nodes:
        return f"{report.stack}: {nothing} {report.as_of}."
    return sheet(title, ("model", "seconds"), models, caption=tests_passed(report))

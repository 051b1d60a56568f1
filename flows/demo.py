"""The main job from end to end on this machine: two years of history, three more days, and the marts.

`python -m flows.demo [--scale 1]`; running it again is safe and says what was already there.
"""

import os
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TypeVar

import cyclopts
from prefect.settings import PREFECT_API_URL

from blocks.stack import LOCAL, Stack, home
from flows.cli import CONSOLE, api, balance_sheet, quiet, said_in_one_sentence, sheet, tests_passed, warn
from flows.parameters import Scale
from flows.server import DASHBOARD_PORT
from tasks.balance import IngestReport, summed
from tasks.lake import paths
from tasks.sales import Sales, read_sales
from tasks.status import layers
from tasks.transform import TransformReport

START, THROUGH = date(2023, 1, 1), date(2025, 1, 31)
DAYS = (date(2025, 2, 1), date(2025, 2, 2), date(2025, 2, 3))
BEST = 5
"""Rows shown of a mart."""

Report = TypeVar("Report", IngestReport, TransformReport)

app = cyclopts.App(name="python -m flows.demo", version_flags=[], help_format="plaintext")


@app.default
def main(*, scale: Scale = 1.0) -> None:
    """Run the main job and show what it made: history, three days and the marts of a simulated shop.

    Args:
        scale: Size of the simulated shop; 1 makes about 19,000 orders in these two years.
    """
    began, configured = time.perf_counter(), PREFECT_API_URL.value()
    CONSOLE.print(f"[bold]The shop from {START} through {DAYS[-1]} on the stack {LOCAL!r}, kept in {home()}[/bold]")
    with quiet(), api() as address:
        CONSOLE.print(f"Prefect's API is at {address} ({time.perf_counter() - began:.0f} s).")
        runs = _load(scale)
        build = _build()
        _show(runs, build.as_of)
    CONSOLE.print(_next_steps(configured, build.as_of))
    CONSOLE.print(f"Done in {time.perf_counter() - began:.0f} s.")


def _load(scale: float) -> list[IngestReport]:
    from flows.daily_increment import daily_increment
    from flows.historical_load import historical_load

    load = _step(f"historical load through {THROUGH}", lambda: historical_load(START, THROUGH, scale), _news)
    return [load, *(_step(f"daily increment {day}", lambda day=day: daily_increment(day), _news) for day in DAYS)]


def _build() -> TransformReport:
    from flows.transform import transform

    return _step("transform", transform, _built)


def _step(name: str, run: Callable[[], Report], outcome: Callable[[Report], str]) -> Report:
    CONSOLE.rule(name)
    began = time.perf_counter()
    with CONSOLE.status(f"{name} ..."):
        report = run()
    warn(report.warnings)
    CONSOLE.print(f"[bold]{name}: {outcome(report)}[/bold] ({time.perf_counter() - began:.1f} s)")
    return report


def _news(report: IngestReport) -> str:
    return f"{report.appended:,} rows are new" if report.appended else "everything was there already"


def _built(report: TransformReport) -> str:
    models = sum(node.resource_type == "model" for node in report.nodes)
    return f"{models} models built as of {report.as_of}, {tests_passed(report)}"


def _show(runs: Sequence[IngestReport], as_of: date) -> None:
    stack = Stack.named(LOCAL)
    with stack.open_warehouse() as warehouse:
        rows = layers(stack.open_lake(), warehouse)
        sales = read_sales(warehouse.query, as_of)
    CONSOLE.rule("what there is now")
    CONSOLE.print(sheet("rows per table and layer", ("table", "history", "raw", "staging"), rows))
    CONSOLE.print(balance_sheet("balance sheet of these four runs", summed(runs)))
    _show_sales(sales)


def _show_sales(sales: Sales) -> None:
    months = sorted(sales.months, key=lambda month: month.revenue, reverse=True)[:BEST]
    products = ((product.name, product.units, product.revenue) for product in sales.products[:BEST])
    rows = ((f"{month.start:%Y-%m}", month.orders, month.revenue) for month in months)
    CONSOLE.print(sheet("the best months (fct_sales_by_date)", ("month", "orders", "gross revenue"), rows))
    title = f"the best products since {sales.since} (fct_sales_by_product, dim_products)"
    CONSOLE.print(sheet(title, ("product", "units", "gross revenue"), products))
    steps = zip(("all", "with a view", "with a full cart", "with a purchase"), sales.funnel, strict=True)
    CONSOLE.print(sheet(f"sessions since {sales.since} (fct_conversion_funnel)", ("sessions", "number"), steps))


def _next_steps(configured: str | None, as_of: date) -> str:
    stack = Stack.named(LOCAL)
    page = stack.open_lake().place(paths.report(as_of))
    query = f"duckdb.connect('{stack.warehouse.path}', read_only=True).sql('from marts.dim_customers').show()"
    dashboard = f"http://127.0.0.1:{DASHBOARD_PORT}"
    runs = f".venv/bin/python -m flows.server    then open {dashboard}" if configured is None else configured
    place = f", with ECOMMERCE_HOME={home()}" if "ECOMMERCE_HOME" in os.environ else ""
    return f"""
[bold]Where everything lies[/bold]
  lake        {stack.lake.basepath}  (landing, history, quarantine, reports)
  source      {stack.source.folder}  (Postgres, stopped when nobody uses it)
  warehouse   {stack.warehouse.path}  (DuckDB: raw, staging, intermediate, marts)

[bold]What to try next{place}[/bold]
  open the report     {page}
  see these runs      {runs.removesuffix("/api")}
  query the marts     .venv/bin/python -c "import duckdb; {query}"
  take the next day   .venv/bin/python -m flows.daily_increment --day {DAYS[-1] + timedelta(days=1)}
  build it            .venv/bin/python -m flows.transform
  see what is there   .venv/bin/python -m flows.status
"""


if __name__ == "__main__":
    with said_in_one_sentence():
        app(exit_on_error=False, print_error=False)

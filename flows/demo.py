"""The main job from end to end on this machine: two years of history, three more days, and the marts.

`python -m flows.demo`; running it again is safe and finds everything there.
"""

import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from rich.table import Table

from blocks.stack import Stack, home
from flows.cli import CONSOLE, quiet, said_in_one_sentence, show
from flows.server import prefect_api
from tasks.lake.manifests import read_manifest, revisions
from tasks.tables import TABLES
from tasks.warehouse.protocol import Warehouse

STACK = "local"
START, THROUGH = date(2023, 1, 1), date(2025, 1, 31)
DAYS = (date(2025, 2, 1), date(2025, 2, 2), date(2025, 2, 3))

_BEST_DAYS = """
select order_date, orders, units, gross_revenue, net_revenue, shipping
from marts.fct_sales_by_date order by gross_revenue desc limit 5
"""
_BEST_PRODUCTS = """
select product_name, sum(quantity) as units, sum(gross_revenue) as gross_revenue
from marts.fct_order_details join marts.dim_products using (product_id)
group by all order by gross_revenue desc limit 5
"""


def main() -> None:
    """Run the demo and show what it made."""
    began = time.perf_counter()
    CONSOLE.print(f"[bold]The shop from {START} through {DAYS[-1]} on the stack {STACK!r}, kept in {home()}[/bold]")
    with said_in_one_sentence(), quiet(), prefect_api() as api:
        CONSOLE.print(f"Prefect's API is at {api} ({time.perf_counter() - began:.0f} s).")
        _run_flows()
        _show_stack()
    CONSOLE.print(f"\nDone in {time.perf_counter() - began:.0f} s.")


def _run_flows() -> None:
    from flows.daily_increment import daily_increment
    from flows.historical_load import historical_load
    from flows.transform import transform

    _step(f"historical load through {THROUGH}", lambda: historical_load(START, THROUGH, stack=STACK))
    for day in DAYS:
        _step(f"daily increment {day}", lambda day=day: daily_increment(day, stack=STACK))
    _step("transform", lambda: transform(stack=STACK))


def _step(name: str, run: Callable[[], Any]) -> None:
    CONSOLE.rule(name)
    began = time.perf_counter()
    show(run())
    CONSOLE.print(f"{name}: {time.perf_counter() - began:.1f} s")


def _show_stack() -> None:
    stack = Stack.named(STACK)
    lake = stack.open_lake()
    CONSOLE.rule("what there is now")
    with stack.open_warehouse() as warehouse:
        layers = Table("table", title="rows per table and layer")
        for layer in ("history", "raw", "staging"):
            layers.add_column(layer, justify="right")
        for table in TABLES:
            history = sum(read_manifest(lake, table, *revision).rows for revision in revisions(lake, table))
            counts = (_count(warehouse, name) for name in (f"raw.{table}", f"staging.stg_{table}"))
            layers.add_row(table, *(f"{count:,}" for count in (history, *counts)))
        CONSOLE.print(layers)
        days = ("day", "orders", "units", "gross revenue", "net revenue", "shipping")
        _show_rows("the best days (fct_sales_by_date)", days, warehouse.query(_BEST_DAYS))
        products = ("product", "units", "gross revenue")
        _show_rows("the best products (fct_order_details, dim_products)", products, warehouse.query(_BEST_PRODUCTS))
    CONSOLE.print(_next_steps(stack))


def _count(warehouse: Warehouse, relation: str) -> int:
    return int(warehouse.query(f"select count(*) from {relation}")[0][0])  # noqa: S608 (a name of tasks.tables)


def _show_rows(title: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    sheet = Table(columns[0], title=title)
    for column in columns[1:]:
        sheet.add_column(column, justify="right")
    for first, *others in rows:
        sheet.add_row(str(first), *(f"{value:,}" for value in others))
    CONSOLE.print(sheet)


def _query(stack: Stack) -> str:
    return f"duckdb.connect('{stack.warehouse.path}').sql('from marts.dim_customers').show()"


def _next_steps(stack: Stack) -> str:
    return f"""
[bold]Where everything lies[/bold]
  lake        {stack.lake.basepath}  (landing, history, quarantine)
  source      {stack.source.folder}  (Postgres, stopped when nobody uses it)
  warehouse   {stack.warehouse.path}  (DuckDB: raw, staging, intermediate, marts)

[bold]What to try next[/bold]
  see these runs      .venv/bin/python -m flows.server    then open http://127.0.0.1:4200
  query the marts     .venv/bin/python -c "import duckdb; {_query(stack)}"
  take the next day   .venv/bin/python -m flows.daily_increment --day 2025-02-04
  build it            .venv/bin/python -m flows.transform
  see what is there   .venv/bin/python -m flows.status
"""


if __name__ == "__main__":
    main()

"""Show in Prefect's dashboard what runs did: progress, reports of runs and builds, and the shop report."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.futures import PrefectFuture, as_completed

from blocks.stack import Stack
from tasks import pages
from tasks.balance import IngestReport
from tasks.dbt import NodeResult
from tasks.lake import paths
from tasks.retry import RETRY
from tasks.sales import read_sales
from tasks.warehouse.protocol import Warehouse

_STEP = 5  # percent: each change is a call to the API
_TABLES = """
select table_schema, table_name from information_schema.tables
where lower(table_schema) in ('staging', 'intermediate', 'marts') and table_type = 'BASE TABLE' order by 1, 2
"""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Progress:
    """How much of a run's work is done, as an artifact that moves; made within the flow or task."""

    def __init__(self, description: str) -> None:
        self._done = self._shown = 0.0
        self._artifact = create_progress_artifact(0.0, key="progress", description=description)

    def wait(self, futures: Sequence[PrefectFuture[Any]], until: float) -> None:
        """Wait for the futures, at whose end `until` percent of the run's work is done."""
        each = (until - self._done) / max(len(futures), 1)
        for _ in as_completed(list(futures)):
            self.show(self._done + each)
        self.show(until)

    def began(self, number: int, of: int) -> None:
        """Say that the number-th of so many pieces of the run's work has begun, and those before it are done."""
        self.show(100 * number / of)

    def show(self, done: float) -> None:
        """Say that `done` percent are done."""
        self._done = done
        if done - self._shown >= _STEP or done == 100:
            self._shown = done
            update_progress_artifact(self._artifact, min(round(done), 100))


def publish_run(stack: Stack, report: IngestReport, seconds: Mapping[str, float], failures: Mapping[str, str]) -> None:
    """Publish the report of an ingest run, whether it went well or not; called from within its task."""
    title = f"{report.stack} {report.day}"
    bad = stack.link(f"{paths.quarantine('{table}', report.day)}/")
    create_markdown_artifact(
        key="ingest-report",
        markdown=pages.run_markdown(title, report.tables, seconds, failures, bad),
        description=title,
    )


def publish_build(stack: Stack, name: str, as_of: date, nodes: Sequence[NodeResult], *, documented: bool) -> None:
    """Publish the results of a dbt build, whether it went well or not; called from within its task.

    `documented` says that its documentation follows, at the address of those before.
    """
    with stack.open_transformer() as warehouse:
        rows = _rows(warehouse)
    title = f"{name}: dbt as of {as_of}"
    create_markdown_artifact(
        key="dbt-report",
        markdown=pages.build_markdown(title, nodes, rows, _docs(stack, expected=documented)),
        description=title,
    )


@task(task_run_name="shop report as of {as_of}", **RETRY)
def publish_shop(name: str, as_of: date) -> str:
    """Draw the shop report from the marts, as an artifact and as a page in the lake; the address of the page."""
    from tasks.charts import draw_charts

    stack = Stack.named(name)
    with stack.open_transformer() as warehouse:
        sales = read_sales(warehouse.query, as_of)
    charts, lake, path = draw_charts(sales), stack.open_lake(), paths.report(as_of)
    lake.write(path, pages.shop_html(sales, charts).encode())
    create_markdown_artifact(
        key="shop-report",
        markdown=pages.shop_markdown(sales, charts, stack.link(path), _docs(stack)),
        description=f"{name} before {as_of}",
    )
    page = lake.place(path)
    get_run_logger().info("the shop report is %s", page)
    return page


def _rows(warehouse: Warehouse) -> dict[str, int]:
    """The rows of every table that dbt has built, by its name in lower case."""
    tables = warehouse.query(_TABLES)
    if not tables:
        return {}
    counts = " union all ".join(
        f"select '{table.lower()}', count(*) from {schema}.{table}"  # noqa: S608 (checked identifiers)
        for schema, table in tables
        if _IDENTIFIER.fullmatch(schema) and _IDENTIFIER.fullmatch(table)
    )
    return {table: int(rows) for table, rows in warehouse.query(counts)}


def _docs(stack: Stack, *, expected: bool = False) -> str | None:
    """Where dbt's documentation lies, if it was made or is about to be."""
    there = expected or stack.open_lake().exists(paths.DOCS_PAGE)
    return stack.link(paths.DOCS_PAGE) if there else None

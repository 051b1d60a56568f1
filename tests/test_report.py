"""What a person sees: the reports of runs and builds, and the shop report, whose numbers are those of the marts."""

import re
from base64 import b64decode
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import boto3
import httpx
import pytest
from prefect.client.orchestration import get_client

from blocks.stack import LOCAL_PAGES, Stack
from flows.daily_increment import daily_increment
from flows.pages import pages_of
from flows.server import _free_port
from flows.transform import transform
from tasks.balance import Balance
from tasks.charts import Chart, draw_charts
from tasks.dbt import NodeResult
from tasks.errors import ReconcileError, TransformError
from tasks.lake import paths
from tasks.lake.s3 import S3Lake
from tasks.lake.s3_calls import S3Access
from tasks.pages import build_markdown, run_markdown, shop_html, shop_markdown
from tasks.sales import Funnel, Sales, Total, read_sales
from tasks.tables import TABLES

AS_OF, NEXT = date(2025, 1, 1), date(2025, 1, 1)
CHARTS = {"revenue", "categories", "hours", "funnel", "products"}
MARKS = re.compile(r"<(?:path|use|rect)\b")


@pytest.fixture(scope="module")
def sales(marts: Stack) -> Sales:
    """The numbers of a shop that opened a month ago."""
    with marts.open_warehouse() as warehouse:
        return read_sales(warehouse.query, AS_OF)


@pytest.fixture(scope="module")
def charts(sales: Sales) -> dict[str, Chart]:
    return {chart.name: chart for chart in draw_charts(sales)}


def artifacts(key: str, *tags: str) -> list[dict[str, Any]]:
    """The artifacts of that key that flow runs with these tags made, newest first."""
    runs = {"flow_runs": {"tags": {"all_": tags}}} if tags else {}
    question = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC", **runs}
    with get_client(sync_client=True) as client:
        found: list[dict[str, Any]] = client.request("POST", "/artifacts/filter", json=question).json()
    return found


def sql(stack: Stack, statement: str) -> list[tuple[Any, ...]]:
    with stack.open_warehouse() as warehouse:
        return warehouse.query(statement)


def numbers(page: str, name: str) -> list[list[str]]:
    """The cells of the table of a chart, as the page shows them."""
    section = page[page.index(f'<section id="{name}">') :].split("</section>", maxsplit=1)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", section.split("<tbody>")[1])
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]


def number(cell: str) -> Decimal:
    return Decimal(cell.replace(",", ""))


def test_numbers_of_the_page_are_those_of_the_marts(marts: Stack) -> None:
    page = marts.open_lake().read(paths.report(AS_OF)).decode()
    ((revenue, orders),) = sql(marts, "select sum(gross_revenue), sum(orders) from marts.fct_sales_by_date")
    assert revenue > 0
    assert [(number(row[1]), number(row[2])) for row in numbers(page, "revenue")] == [(orders, revenue)]
    by_category = sql(marts, "select category_name, gross_revenue from marts.dim_categories where gross_revenue > 0")
    shown = {row[1]: number(row[2]) for row in numbers(page, "categories") if number(row[2])}
    assert shown == dict(by_category)
    assert sum(number(row[2]) for row in numbers(page, "hours")) == orders
    steps = "sum(sessions), sum(sessions_with_views), sum(sessions_with_cart_adds), sum(sessions_with_purchases)"
    assert [number(row[1]) for row in numbers(page, "funnel")] == list(
        sql(marts, f"select {steps} from marts.fct_conversion_funnel")[0]
    )
    best = sql(marts, "select sum(gross_revenue) as r from marts.fct_order_details group by product_id order by r desc")
    assert [number(row[3]) for row in numbers(page, "products")] == [row[0] for row in best[:10]]


def test_page_loads_nothing(marts: Stack, charts: dict[str, Chart]) -> None:
    page = marts.open_lake().read(paths.report(AS_OF)).decode()
    assert {name for name in CHARTS if f'<section id="{name}">' in page} == CHARTS == set(charts)
    loads = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']?[^"'\s>]+|url\([^)]*\)|@import[^;]*""", page)
    assert [load for load in loads if not re.search(r"""(href=["']|url\(["']?)#""", load)] == []
    assert not re.search(r"<(script|link|iframe|object|embed|img)\b", page)
    assert len(re.findall(r'role="img" aria-label="[^"]{20,}', page)) == len(CHARTS)


def test_charts_have_marks_and_are_the_same_every_time(sales: Sales, charts: dict[str, Chart]) -> None:
    assert [chart.svg for chart in draw_charts(sales)] == [chart.svg for chart in charts.values()]
    for chart in charts.values():
        ET.fromstring(chart.svg)
        assert "var(--accent" in chart.svg, chart.name
        assert "dc:date" not in chart.svg, chart.name
    assert len(MARKS.findall(charts["hours"].svg)) >= len(sales.hours)
    for product in sales.products:
        assert product.name.replace("&", "&amp;") in charts["products"].svg
    for count in sales.funnel:
        assert f">{count:,}  (" in charts["funnel"].svg


def test_cohorts_are_those_whose_months_are_over(marts: Stack, sales: Sales) -> None:
    assert sales.cohorts[0] == (date(2024, 12, 1), 0, sales.cohorts[0].size, sales.cohorts[0].size)
    first = sales.cohorts[0]
    later = (first, first._replace(months=1, customers=first.size // 2), first._replace(months=2, customers=1))
    retention = next(
        c for c in draw_charts(replace(sales, as_of=date(2025, 2, 10), cohorts=later)) if c.name == "retention"
    )
    assert [row[1] for row in retention.rows] == [1]
    assert "retention" not in {chart.name for chart in draw_charts(sales)}


def test_shop_without_a_sale_has_a_page() -> None:
    empty = Sales(AS_OF, AS_OF, Total(0, 0, Decimal()), None, (), (), (), Funnel(0, 0, 0, 0), (), ())
    assert draw_charts(empty) == ()
    assert "no orders" in shop_html(empty, ())
    assert shop_markdown(empty, (), "x", None)


def test_dashboard_gets_the_charts_as_images(marts: Stack, charts: dict[str, Chart], prefect_url: str) -> None:
    (found,) = artifacts("shop-report", "marts")
    assert found["description"] == f"local before {AS_OF}"
    assert found["type"] == "markdown"
    images = re.findall(r"!\[[^\]]+\]\(data:image/svg\+xml;base64,([^)]+)\)", found["data"])
    assert [b64decode(image).decode() for image in images] == [chart.svg for chart in charts.values()]
    assert paths.report(AS_OF) in found["data"]


def test_build_report_lists_models_with_rows(marts: Stack, prefect_url: str) -> None:
    (build,) = artifacts("dbt-report", "marts")
    report = build["data"]
    ((rows,),) = sql(marts, "select count(*) from marts.fct_order_details")
    assert re.search(rf"\| fct_order_details \| success \| [\d.]+ \| {rows:,} \|", report)
    assert "Look here first" not in report


def test_failed_build_is_reported_with_its_reason_first(shop: Stack) -> None:
    with shop.open_warehouse() as warehouse:
        warehouse.query("update raw.reviews set review_date = 'last week' where _batch = '2024-12-31'")
    with pytest.raises(TransformError) as failure:
        transform(select=["stg_products", "stg_reviews"])
    assert {node.name for node in failure.value.nodes if node.resource_type == "model"} == {
        "stg_products",
        "stg_reviews",
    }
    report = artifacts("dbt-report")[0]["data"]
    assert (
        report.index("| error | model | stg_reviews |") < report.index("## Models") < report.index("| stg_products |")
    )


def test_run_is_reported_with_seconds_and_quarantine(shop: Stack) -> None:
    lake = shop.open_lake()
    lake.write(f"{paths.landing('orders', NEXT)}/extra.json", b'{"order_id": "not a number"}\n')
    report = daily_increment(NEXT)
    found = artifacts("ingest-report")[0]
    assert found["description"] == f"local {NEXT}"
    address = f"{LOCAL_PAGES}/{paths.quarantine('orders', NEXT)}/"
    assert f"| orders | 1 | [{address}]({address}) |" in found["data"]
    with pages_of(Path(lake.address), served := f"http://127.0.0.1:{_free_port()}"):
        address = address.replace(LOCAL_PAGES, served)
        (file,) = re.findall(r'href="([^"]+\.jsonl)"', httpx.get(address).raise_for_status().text)
        assert "order_id is" in httpx.get(f"{address}{file}").raise_for_status().text
    lines = {line.split(" | ")[0].strip("| "): line for line in found["data"].splitlines() if line.endswith(" |")}
    for balance in report.tables:
        cells = (
            [cell.strip() for cell in lines[balance.table].strip("|").split("|")] if balance.table != "orders" else None
        )
        if cells is not None:
            assert cells[1:3] == [f"{balance.source:,}", f"{balance.appended:,}"]
            assert float(cells[-1]) > 0
    assert set(TABLES) <= set(lines)


def test_failed_run_is_reported_with_its_reason(shop: Stack) -> None:
    with pytest.raises(ReconcileError):
        daily_increment(NEXT, generate=False)
    found = artifacts("ingest-report")[0]["data"]
    assert found.index("## Failed") < found.index("- **orders**: ") < found.index("## Balance sheet")


def test_long_work_shows_its_progress(marts: Stack, prefect_url: str) -> None:
    (build,) = artifacts("progress", "marts")
    assert (build["description"], build["data"]) == (f"local as of {AS_OF}", 100)
    assert {one["description"]: one["data"] for one in artifacts("progress")}["local through 2024-12-31"] == 100


def test_documentation_is_linked_from_the_first_build_on(marts: Stack, prefect_url: str) -> None:
    page = f"{LOCAL_PAGES}/{paths.DOCS_PAGE}"
    (build,) = artifacts("dbt-report", "marts")
    assert build["description"] == f"local: dbt as of {AS_OF}"
    assert f"Documentation: [{page}]({page})" in build["data"]
    (documentation,) = artifacts("dbt-docs", "marts")
    assert f"]({page})" in documentation["data"]
    (shop,) = artifacts("shop-report", "marts")
    assert f"[{page}]({page})" in shop["data"]


def test_links_open_what_people_read_and_nothing_else(marts: Stack) -> None:
    lake, served = marts.open_lake(), f"http://127.0.0.1:{_free_port()}"
    with pages_of(Path(lake.address), served):
        assert httpx.get(f"{served}/{paths.DOCS_PAGE}").headers["Content-Type"] == "text/html"
        assert httpx.get(f"{served}/{paths.report(AS_OF)}").text == lake.read(paths.report(AS_OF)).decode()
        for hidden in ("", "_lake.json", "history/orders/", "docs/../_lake.json", "docs/%2e%2e/_lake.json"):
            assert httpx.get(f"{served}/{hidden}").status_code == 404
        foreign = httpx.get(f"{served}/{paths.DOCS_PAGE}", headers={"Host": "shop.example.com"})
        assert foreign.status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(served)


def test_a_lake_in_aws_is_linked_in_its_console() -> None:
    access = S3Access(session=lambda: boto3.Session("key", "secret", region_name="eu-west-1"))
    lake, folder = S3Lake("shop", "a b", access=access), f"{paths.quarantine('orders', NEXT)}/"
    assert lake.link(folder) == (
        "https://console.aws.amazon.com/s3/buckets/shop?prefix=a%20b/quarantine/orders/batch%3D2025-01-01/"
    )
    assert lake.link(paths.DOCS_PAGE).startswith("https://console.aws.amazon.com/s3/object/shop?prefix=a%20b/docs/")


def test_failures_come_first_and_pipes_are_escaped() -> None:
    nodes = [
        NodeResult("good", "model", "success", 1.0, None, ""),
        NodeResult("later", "model", "skipped", 0.0, None, "of bad"),
        NodeResult("bad", "model", "error", 2.0, None, "a | b\nc"),
        NodeResult("holds", "test", "warn", 0.1, 3, "3 rows"),
    ]
    report = build_markdown("title", nodes, {"good": 1_234}, "https://docs.example.com")
    first, models = report.split("## Models")
    assert re.findall(r"^\| (\w+) \| \w+ \| (\w+)", first, re.MULTILINE)[1:] == [
        ("error", "bad"),
        ("skipped", "later"),
        ("warn", "holds"),
    ]
    assert "a \\| b c" in first
    assert re.findall(r"^\| (\w+) \| (\w+) ", models, re.MULTILINE)[1:] == [
        ("bad", "error"),
        ("later", "skipped"),
        ("good", "success"),
    ]
    assert "| 1,234 |" in models
    assert "[https://docs.example.com](https://docs.example.com)" in models


def test_run_report_names_problems_first() -> None:
    bad = Balance("orders", 10, 8, 0, 2, 8, 7, problems=("raw has 7",), warnings=("few rows",))
    report = run_markdown("local 2025-01-01", [bad], {"orders": 1.5}, {"reviews": "no file"}, "lake/{table}")
    assert report.index("raw has 7") < report.index("## Balance sheet") < report.index("few rows")
    assert "- **reviews**: no file" in report
    assert "| orders | 10 | 8 | 0 | 2 | 8 | 7 | differs | 1.50 |" in report
    assert "| orders | 2 | `lake/orders` |" in report

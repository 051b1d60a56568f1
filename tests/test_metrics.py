"""The semantic layer as a person asks it: MetricFlow's answers are those of plain SQL on the marts."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest
import yaml

from blocks.stack import Stack
from tasks import dbt

Ask = Callable[..., list[dict[str, str]]]
Answer = dict[tuple[str, ...], list[float]]

SALES = "fct_customer_orders"
PLAIN = {
    "revenue": "sum(gross_revenue)",
    "net_revenue": "sum(net_revenue)",
    "profit": "sum(profit)",
    "orders": "count(*)",
    "average_order_value": "sum(gross_revenue) / count(*) filter (order_status <> 'Cancelled')",
    "gross_margin": "sum(profit) / sum(net_revenue)",
    "repeat_rate": "count(distinct customer_id) filter (order_number > 1) / count(distinct customer_id)",
    "sessions": "sum(sessions)",
    "conversion_rate": "sum(sessions_with_purchases) / sum(sessions)",
    "active_customers": "count(*) filter (lifecycle_status = 'active')",
}
"""Each metric as one would write it on the mart it is of."""

SAVED = {
    "sales_by_month": (["date_trunc('month', order_date)::timestamp"], SALES),
    "sales_by_region": (
        ["region"],
        f"{SALES} join (select location_id, region from marts.dim_locations) using (location_id)",
    ),
    "conversion_by_device": (["date_trunc('month', session_date)::timestamp", "device_type"], "fct_conversion_funnel"),
    "customers_by_segment": (["rfm_segment"], "dim_customers"),
}
"""The cut that each saved query makes, and the mart that it is of."""

ASKED = {
    "fct_customer_orders": ["revenue", "orders", "average_order_value", "repeat_rate", "gross_margin"],
    "fct_conversion_funnel": ["conversion_rate"],
    "dim_customers": ["active_customers"],
}
"""The metrics that the shop is run by, and the mart of each."""


def declared(kind: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load((dbt.PROJECT / "models" / "semantic" / "metrics.yml").read_text())[kind])


@pytest.fixture(scope="module")
def mf(marts: Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The program, run where it looks for the project and for what `dbt parse` writes, `target/`."""
    project = tmp_path_factory.mktemp("metrics") / "project"
    copytree(dbt.PROJECT, project, ignore=ignore_patterns("target", "logs"))
    copytree(Path(marts.workspace) / "dbt" / "target", project / "target")
    environment = os.environ | marts.dbt_environment() | {"DO_NOT_TRACK": "1"}

    def run(*arguments: str) -> str:
        program = Path(sys.executable).with_name("mf")
        ended = subprocess.run(
            [program, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    return run


@pytest.fixture(scope="module")
def ask(mf: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """What asks a question, and gives the rows of the answer."""

    def query(*arguments: str) -> list[dict[str, str]]:
        answer = tmp_path_factory.mktemp("answer") / "answer.csv"
        mf("query", *arguments, "--csv", str(answer), "--quiet")
        with answer.open() as file:
            return list(csv.DictReader(file))

    return query


def plain(marts: Stack, metrics: list[str], cut: list[str], source: str) -> Answer:
    """The metrics for each value of the cut."""
    keys, listed = [f"({column})::varchar" for column in cut], [f"({PLAIN[metric]})::double" for metric in metrics]
    with marts.open_warehouse() as warehouse:
        rows = warehouse.query(f"select {', '.join(keys + listed)} from marts.{source} group by all")
    return {row[: len(cut)]: list(row[len(cut) :]) for row in rows}


def answered(rows: list[dict[str, str]], metrics: list[str]) -> Answer:
    """The same of what MetricFlow answers; its columns are the cut's and then the metrics."""
    return {
        tuple(value for name, value in row.items() if name not in metrics): [float(row[name]) for name in metrics]
        for row in rows
    }


def assert_equal(one: Answer, other: Answer) -> None:
    assert one.keys() == other.keys()
    for key, values in one.items():
        assert values == pytest.approx(other[key], rel=1e-12), key


def test_configuration_is_valid_without_a_warning(mf: Callable[..., str]) -> None:
    said = mf("validate-configs", "--show-all")
    counts = re.findall(r"ERRORS: (\d+), FUTURE_ERRORS: (\d+), WARNINGS: (\d+)", said)
    assert set(counts) == {("0", "0", "0")}, said


def test_metrics_are_those_of_the_marts(marts: Stack, ask: Ask) -> None:
    metrics = [metric for found in ASKED.values() for metric in found]
    (answer,) = answered(ask("--metrics", ",".join(metrics)), metrics).values()
    assert answer == pytest.approx(
        [value for mart, found in ASKED.items() for value in plain(marts, found, [], mart)[()]], rel=1e-12
    )
    assert all(value > 0 for value in answer)


@pytest.mark.parametrize("saved", declared("saved_queries"), ids=lambda saved: saved["name"])
def test_saved_query_is_that_of_the_marts(marts: Stack, ask: Ask, saved: dict[str, Any]) -> None:
    metrics = saved["query_params"]["metrics"]
    rows = ask("--saved-query", saved["name"])
    assert len(rows) > 1 or saved["name"] == "sales_by_month"  # the shop is a month old
    assert_equal(answered(rows, metrics), plain(marts, metrics, *SAVED[saved["name"]]))

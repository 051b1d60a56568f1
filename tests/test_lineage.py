"""Which data were made of which, as Prefect is told: the keys of load meet those of dbt."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from prefect.types import ValidAssetKey
from prefect_dbt.utilities import format_resource_id
from pydantic import TypeAdapter

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from tasks.lineage import MATERIALIZED, raw_key, relation_key
from tasks.tables import TABLES
from tests.test_announce import ask, newest_run
from tests.waiting import until

NEXT = date(2025, 1, 1)


def told_by(run: dict[str, Any]) -> dict[str, set[str]]:
    """What a run has materialized, and of what, by key."""
    wanted = {"event": {"name": [MATERIALIZED]}, "related": {"id": [f"prefect.flow-run.{run['id']}"]}}
    found = ask("/events/filter", {"filter": wanted, "limit": 50})
    events = found["events"]
    while found["next_page"]:
        found = ask_page(found["next_page"])
        events += found["events"]
    return {
        event["resource"]["prefect.resource.id"]: {
            one["prefect.resource.id"] for one in event["related"] if one["prefect.resource.role"] == "asset"
        }
        for event in events
    }


def ask_page(address: str) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.request("GET", address).json()


def manifest(stack: Stack) -> dict[str, Any]:
    return json.loads((Path(stack.workspace) / "dbt" / "target" / "manifest.json").read_bytes())


@pytest.fixture(scope="module")
def lineage(marts: Stack) -> dict[str, set[str]]:
    """Of every relation of a whole build, those it was made of."""
    runs = ask("/flow_runs/filter", {"flows": {"name": {"any_": ["transform"]}}, "sort": "START_TIME_DESC"})
    models = [node for node in manifest(marts)["nodes"].values() if node["resource_type"] == "model"]
    return until(lambda: next((told for run in runs if len(told := told_by(run)) >= len(models)), None))


def test_every_model_is_made_of_what_it_refers_to(marts: Stack, lineage: dict[str, set[str]]) -> None:
    read = manifest(marts)
    known = read["nodes"] | read["sources"]
    key = {
        name: format_resource_id("duckdb", node["relation_name"])
        for name, node in known.items()
        if node.get("relation_name")
    }
    assert lineage == {
        key[name]: {key[parent] for parent in node["depends_on"]["nodes"] if parent in key}
        for name, node in read["nodes"].items()
        if node["resource_type"] == "model"
    }


def test_staging_is_made_of_what_load_has_made(shop: Stack, lineage: dict[str, set[str]]) -> None:
    report = daily_increment(NEXT)
    run = newest_run()
    grown = {line.table for line in report.tables if line.appended}
    told = until(lambda: found if len(found := told_by(run)) == len(grown) else None)
    assert told == {
        f"duckdb://warehouse/raw/{table}": {f"file://{shop.open_lake().address}/history/{table}"} for table in grown
    }
    read_by_staging = {parent for key, parents in lineage.items() if "/staging/stg_" in key for parent in parents}
    assert read_by_staging >= {raw_key(shop, table) for table in TABLES}


@pytest.mark.parametrize("relation", ['"ware house"."raw"."orders"', "ECOMMERCE.raw.orders", '"a&b"."marts"."x#y"'])
def test_keys_are_those_of_prefect_dbt(relation: str) -> None:
    assert relation_key("duckdb", relation) == format_resource_id("duckdb", relation)
    TypeAdapter(ValidAssetKey).validate_python(relation_key("duckdb", relation))

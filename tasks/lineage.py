"""Tell Prefect which data were made of which: its asset events, with the keys that prefect-dbt gives to relations."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.events import emit_event
from prefect.types.names import RESTRICTED_ASSET_CHARACTERS

from blocks.stack import Stack
from tasks.dbt import NodeResult
from tasks.lake.store import Lake

MATERIALIZED = "prefect.asset.materialization.succeeded"
_KINDS = ("model", "seed", "snapshot")


def relation_key(adapter: str, relation: str) -> str:
    """The key of a relation as dbt names it, such as `"warehouse"."raw"."orders"`: `duckdb://warehouse/raw/orders`."""
    path = relation.replace('"', "").replace(".", "/")
    return f"{adapter}://{''.join(letter for letter in path if letter not in RESTRICTED_ASSET_CHARACTERS)}"


def raw_key(stack: Stack, table: str) -> str:
    """The key of a table of raw."""
    return relation_key(stack.dbt_target(), f"{stack.database()}.raw.{table}")


def history_key(lake: Lake, table: str) -> str:
    """The key of a table's history in the lake."""
    address = lake.address if "://" in lake.address else f"file://{lake.address}"
    return f"{address}/history/{table}"


def tell_loaded(stack: Stack, lake: Lake, table: str, rows: int) -> None:
    """Say that a table of raw was made of its history."""
    _tell(raw_key(stack, table), [history_key(lake, table)], "prefect", {"rows": rows})


def tell_built(target: Path, nodes: Sequence[NodeResult]) -> None:
    """Say of each relation that dbt has built of which others it was made, by the manifest in dbt's target folder."""
    built = {node.name: node for node in nodes if node.resource_type in _KINDS and node.status == "success"}
    if not built:  # where dbt could not read the project, it has written no manifest
        return
    manifest = json.loads((target / "manifest.json").read_bytes())
    adapter, known = manifest["metadata"]["adapter_type"], manifest["nodes"] | manifest["sources"]
    for node in manifest["nodes"].values():
        if node["name"] in built and node["resource_type"] in _KINDS and node["relation_name"]:
            upstream = [relation for parent in node["depends_on"]["nodes"] if (relation := _relation(known, parent))]
            _tell(
                relation_key(adapter, node["relation_name"]),
                [relation_key(adapter, relation) for relation in upstream],
                "dbt",
                {"seconds": round(built[node["name"]].seconds, 3)},
            )


def _relation(known: Mapping[str, Any], node: str) -> str | None:
    """What a node is called in the warehouse; an ephemeral one is not there."""
    return known[node]["relation_name"] if node in known else None


def _tell(key: str, upstream: Iterable[str], by: str, payload: dict[str, Any]) -> None:
    emit_event(
        MATERIALIZED,
        resource={"prefect.resource.id": key, "prefect.resource.name": key.partition("://")[2].replace("/", ".")},
        related=[
            *({"prefect.resource.id": one, "prefect.resource.role": "asset"} for one in upstream),
            {"prefect.resource.id": by, "prefect.resource.role": "asset-materialized-by"},
        ],
        payload=payload,
    )

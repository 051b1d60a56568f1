"""The same history in DuckDB and in Snowflake's emulator: raw and every dbt model equal row for row, cents included."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks import dbt
from tasks.lake.manifests import committed
from tasks.lake.store import LocalLake
from tasks.tables import TABLES
from tasks.warehouse.duckdb import DuckDBWarehouse
from tasks.warehouse.protocol import Warehouse
from tasks.warehouse.snowflake import SnowflakeWarehouse

AT = datetime(2025, 1, 2, tzinfo=UTC)
BUILT = ("staging", "intermediate", "marts")


@dataclass
class Engine:
    """A warehouse, and how dbt reaches it."""

    warehouse: Warehouse
    target: str
    environment: Mapping[str, str]
    home: Path

    def load(self, lake: LocalLake) -> None:
        self.warehouse.prepare(TABLES.values())
        for table in TABLES.values():
            for manifest in committed(lake, table.name):
                assert self.warehouse.load(lake, table, manifest, "run", AT)

    def build(self, as_of: date) -> dbt.BuildReport:
        variables = {"as_of": as_of.isoformat()}
        revisions = self.warehouse.unbuilt(as_of)
        report = dbt.run_dbt(
            ["build"], home=self.home, environment=self.environment, variables=variables, target=self.target
        )
        self.warehouse.mark_built(revisions, as_of, "run", AT)
        return report

    def relations(self) -> dict[str, list[str]]:
        """The columns of every relation that dbt builds, in lower case, by `schema.name`."""
        rows = self.warehouse.query(
            "select lower(table_schema), lower(table_name), lower(column_name) from information_schema.columns "
            "order by table_schema, table_name, ordinal_position"
        )
        found: dict[str, list[str]] = {}
        for schema, name, column in rows:
            if schema in BUILT:
                found.setdefault(f"{schema}.{name}", []).append(column)
        return found

    def rows(self, relation: str, columns: list[str]) -> list[tuple[Any, ...]]:
        order = ", ".join(f"{column} nulls first" for column in columns)
        return self.warehouse.query(f"select {', '.join(columns)} from {relation} order by {order}")


@pytest.fixture(scope="module")
def engines(
    loaded: Path, snowflake: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Engine]]:
    """DuckDB and Snowflake with the history of `loaded`."""
    home, connection = tmp_path_factory.mktemp("parity"), snowflake | {"database": "parity"}
    names = ("account", "user", "password", "role", "warehouse", "database", "host", "port", "protocol")
    environment = {f"ECOMMERCE_SNOWFLAKE_{name.upper()}": str(connection[name]) for name in names}
    path = home / "warehouse.duckdb"
    with ExitStack() as stack:
        opened = [stack.enter_context(DuckDBWarehouse(path)), stack.enter_context(SnowflakeWarehouse(connection))]
        both = (
            Engine(opened[0], "duckdb", {"ECOMMERCE_DUCKDB_PATH": str(path)}, home / "duckdb"),
            Engine(opened[1], "snowflake", environment, home / "snowflake"),
        )
        for engine in both:
            engine.load(LocalLake(loaded / "lake"))
        yield both


def test_raw_is_equal_row_for_row(engines: tuple[Engine, Engine]) -> None:
    duckdb, snowflake = engines
    for table in TABLES.values():
        columns = [*table.history_schema.names, "_batch", "_revision", "_part", "_cursor", "_version"]
        rows = duckdb.rows(f"raw.{table.name}", columns)
        assert rows
        assert snowflake.rows(f"raw.{table.name}", columns) == rows
        ledgers = [engine.warehouse.ledger(table.name) for engine in engines]
        totals = [engine.warehouse.totals(table.name, None) for engine in engines]
        assert ledgers[0] == ledgers[1] == totals[0] == totals[1]


def test_every_model_is_equal_row_for_row(engines: tuple[Engine, Engine]) -> None:
    as_of = engines[0].warehouse.newest_cut(TABLES)
    assert as_of is not None
    for _full_then_increment in range(2):
        reports = [engine.build(as_of) for engine in engines]
        assert [report.failed + report.skipped for report in reports] == [(), ()]
        assert len(reports[0].nodes) == len(reports[1].nodes)
        relations, others = (engine.relations() for engine in engines)
        assert relations == others
        assert len(relations) > 30
        differ = [
            name
            for name, columns in relations.items()
            if engines[0].rows(name, columns) != engines[1].rows(name, columns)
        ]
        assert differ == []

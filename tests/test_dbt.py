"""The dbt project on a real DuckDB: increments, the cut, revenue to the cent, and failures a person can act on."""

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml

from tasks import dbt
from tasks.errors import TransformError
from tasks.tables import TABLES, Home, Table, Type

Record = dict[str, Any]
Version = tuple[Record, str]

OPENING = date(2025, 1, 1)
LOADED_AT = datetime.combine(date(2025, 3, 1), time())
ACCOUNTING = {
    "_batch": "date",
    "_revision": "integer",
    "_part": "varchar",
    "_cursor": "timestamp",
    "_version": "bigint",
}
ADDRESSES = ("1 High Street, Boston, Massachusetts", "2, Low Road, Reno, Nevada", "Somewhere", None)
SQL_TYPES = {
    Type.INTEGER: "BIGINT",
    Type.TEXT: "VARCHAR",
    Type.BOOLEAN: "BOOLEAN",
    Type.DATE: "DATE",
    Type.INSTANT: "TIMESTAMP",
    Type.MONEY: "DECIMAL(12,2)",
    Type.WEIGHT: "DECIMAL(12,3)",
}


def day(number: int) -> date:
    return OPENING + timedelta(number - 1)


def raw_type(table: Table, name: str) -> str:
    column = table.column(name)
    assert column is not None
    came_as_text = pa.types.is_string(table.history_schema.field(name).type)
    return "VARCHAR" if came_as_text else SQL_TYPES[column.type]


def iso(value: datetime, form: int) -> str:
    """One of the forms a feed may write an instant in."""
    if form == 0 and value.time() == time():
        return f"{value:%Y-%m-%d}"
    if form == 1:
        return value.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
    return value.isoformat(" ") if form == 2 else value.isoformat() + "Z"


def as_stored(table: Table, record: Record) -> Record:
    """The record as raw holds it: instants and dates of the JSON tables as text, in mixed ISO forms."""
    stored = dict(record)
    for number, column in enumerate(table.columns):
        value = record[column.name]
        if table.home is Home.JSON and value is not None and column.type in (Type.INSTANT, Type.DATE):
            text = column.type is Type.DATE
            stored[column.name] = value.isoformat() if text else iso(value, (record[table.key] + number) % 4)
    return stored


def version_of(record: Record) -> int:
    digest = blake2b(repr(sorted(record.items())).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


@dataclass
class Warehouse:
    """A DuckDB file with raw and its ledgers as the pipeline leaves them, and Python's own idea of what is current."""

    home: Path
    loaded: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))

    @property
    def path(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def environment(self) -> dict[str, str]:
        return {"ECOMMERCE_DUCKDB_PATH": str(self.path)}

    def connect(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.path))

    def create(self) -> "Warehouse":
        self.home.mkdir()
        with self.connect() as connection:
            connection.execute("create schema raw")
            for table in TABLES.values():
                columns = {column.name: raw_type(table, column.name) for column in table.columns} | ACCOUNTING
                listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
                connection.execute(f"create table raw.{table.name} ({listed}, unknown_column varchar)")
            connection.execute(
                'create table raw._batches ("table" varchar, batch date, revision integer, rows bigint, '
                'digest decimal(38, 0), loaded_at timestamp, run varchar, primary key ("table", batch, revision))'
            )
            connection.execute(
                'create table raw._built ("table" varchar, batch date, revision integer, as_of date, '
                "built_at timestamp, run varchar)"
            )
        return self

    def load(self, batch: date, revision: int, brought: Mapping[str, list[Record]]) -> None:
        """Load one revision of each table in `brought`, rows and ledger."""
        with self.connect() as connection:
            for table, records in brought.items():
                rows = [self.stored(TABLES[table], record, batch, revision) for record in records]
                if rows:
                    connection.register("incoming", pa.Table.from_pylist(rows))
                    connection.execute(f"insert into raw.{table} by name select * from incoming")
                entry = [table, batch, revision, len(rows), 0, LOADED_AT, "test"]
                connection.execute("insert into raw._batches values (?, ?, ?, ?, ?, ?, ?)", entry)

    def stored(self, table: Table, record: Record, batch: date, revision: int) -> Record:
        """The row of raw that holds `record`, which is noted as loaded."""
        cursor = next((record[name] for name in table.cursors if record[name] is not None), None)
        accounting = {"_batch": batch, "_revision": revision, "_cursor": cursor, "_version": version_of(record)}
        self.loaded[table.name].append(record | accounting)
        return as_stored(table, record) | accounting | {"_part": "part-0"}

    def build(self, as_of: date, *, mark: bool = True, full_refresh: bool = False) -> dbt.BuildReport:
        """Build, and mark what was built, as the flow does."""
        report = dbt.build(home=self.home, environment=self.environment, as_of=as_of, full_refresh=full_refresh)
        if mark:
            self.mark(as_of)
        return report

    def run(self, as_of: date, *, mark: bool = True, full_refresh: bool = False) -> None:
        """Build the models without their tests, which take most of a build."""
        command, variables = ["run", *(["--full-refresh"] if full_refresh else [])], {"as_of": as_of.isoformat()}
        dbt.run_dbt(command, home=self.home, environment=self.environment, variables=variables)
        if mark:
            self.mark(as_of)

    def mark(self, as_of: date) -> None:
        with self.connect() as connection:
            connection.execute(
                "insert into raw._built "
                "select \"table\", batch, revision, $as_of, $at, 'test' from raw._batches "
                'anti join raw._built using ("table", batch, revision) where batch < $as_of',
                {"as_of": as_of, "at": LOADED_AT},
            )

    def rows(self, relation: str, columns: str = "*") -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(f"select {columns} from {relation} order by 1").fetchall()

    def current(self, table: str, as_of: date) -> dict[int, Record]:
        """The current record per key, by the definition and without SQL."""
        key, found = TABLES[table].key, {}
        for record in self.loaded[table]:
            if record["_batch"] < as_of:
                other = found.get(record[key])
                found[record[key]] = record if other is None else max(record, other, key=rank)
        return found


def rank(record: Record) -> tuple[bool, Any, date, int]:
    return record["_cursor"] is not None, record["_cursor"], record["_batch"], record["_version"]


class Shop:
    """A tiny shop for a few days, every record consistent with the others; made from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.keys: dict[str, int] = defaultdict(int)
        self.customers: list[Record] = []
        self.products: list[Record] = []
        self.orders: list[Record] = []

    def key(self, table: str) -> int:
        self.keys[table] += 1
        return self.keys[table]

    def instant(self, on: date) -> datetime:
        return datetime.combine(on, time()) + timedelta(microseconds=self.random.randrange(86_400_000_000))

    def record(self, table: str, at: datetime | None, **values: Any) -> Record:
        """A record with a filler in every column that is not given."""
        declared = TABLES[table]
        fillers: Mapping[Type, Any] = {
            Type.INTEGER: 30, Type.TEXT: f"{table} text", Type.BOOLEAN: True, Type.DATE: OPENING, Type.INSTANT: at,
            Type.MONEY: Decimal("1000.00"), Type.WEIGHT: Decimal("1.500"),
        }  # fmt: skip
        made = {column.name: fillers[column.type] for column in declared.columns}
        return made | dict.fromkeys(declared.cursors, at) | values

    def opening(self) -> dict[str, list[Record]]:
        at = datetime.combine(OPENING, time())
        categories = [self.record("categories", at, category_id=n) for n in (1, 2)]
        subcategories = [self.record("subcategories", at, subcategory_id=n, category_id=1 + n % 2) for n in (1, 2, 3)]
        return {"categories": categories, "subcategories": subcategories}

    def customer(self, on: date) -> Record:
        customer = self.record("customers", self.instant(on), customer_id=self.key("customers"), email=None)
        self.customers.append(customer)
        return customer

    def product(self, on: date) -> Record:
        cost = Decimal(self.random.randrange(100, 90_000)) / 100
        product = self.record(
            "products", self.instant(on), product_id=self.key("products"), category_id=2, subcategory_id=1,
            unit_cost=cost, sale_price=cost + 3, base_price=cost + 5,
        )  # fmt: skip
        self.products.append(product)
        return product

    def order(self, on: date) -> dict[str, list[Record]]:
        """An order with its items and a purchase event."""
        at, order_id, customer = self.instant(on), self.key("orders"), self.random.choice(self.customers)
        sold = self.random.sample(self.products, self.random.randint(1, 3))
        items = [self.item(at, order_id, product) for product in sold]
        shipping = Decimal(self.random.randrange(0, 2_000)) / 100
        total = shipping + sum(item["total_price"] for item in items)
        order = self.record(
            "orders", at, order_id=order_id, customer_id=customer["customer_id"], status="Pending", total_amount=total,
            shipping_cost=shipping, shipping_address=self.random.choice(ADDRESSES), payment_method="PayPal",
        )  # fmt: skip
        self.orders.append(order)
        events = self.session(at, order_id, customer, sold)
        review = self.record(
            "reviews", at, review_id=self.key("reviews"), product_id=sold[0]["product_id"], order_id=order_id,
            customer_id=customer["customer_id"], review_score=self.random.randint(1, 5),
        )  # fmt: skip
        return {"orders": [order], "order_items": items, "interactions": events, "reviews": [review]}

    def session(self, at: datetime, order_id: int, customer: Record, sold: list[Record]) -> list[Record]:
        """The events of the session that ends in the order: for each item a view, a way into the cart, a purchase."""
        steps = [("view", timedelta(minutes=9)), ("cart_add", timedelta(minutes=5)), ("purchase", timedelta())]
        return [
            self.record(
                "interactions", at - before, event_id=self.key("interactions"), customer_id=customer["customer_id"],
                product_id=product["product_id"], event_type=kind, session_id=f"session {order_id}",
                device_type="mobile" if order_id % 2 else "desktop",
            )
            for kind, before in steps
            for product in sold
        ]  # fmt: skip

    def afterthought(self, order: Record) -> Record:
        """A late event of an order's session, half a day after the order: the session now counts on the next day."""
        return self.record(
            "interactions", order["order_date"] + timedelta(hours=12), event_id=self.key("interactions"),
            customer_id=order["customer_id"], product_id=None, event_type="search", device_type=None,
            session_id=f"session {order['order_id']}",
        )  # fmt: skip

    def item(self, at: datetime, order_id: int, product: Record) -> Record:
        quantity = self.random.randint(1, 3)
        return self.record(
            "order_items", at, order_item_id=self.key("order_items"), order_id=order_id,
            product_id=product["product_id"], quantity=quantity, unit_price=product["sale_price"],
            total_price=quantity * product["sale_price"],
        )  # fmt: skip

    def change(self, record: Record, on: date, **values: Any) -> Record:
        record.update(values | {"updated_at": self.instant(on)})
        return dict(record)

    def batch(self, on: date) -> dict[str, list[Record]]:
        """What a day brings to each table: new records, and changes of old ones."""
        brought: dict[str, list[Record]] = defaultdict(list)
        for _ in range(3):
            brought["customers"].append(dict(self.customer(on)))
            brought["products"].append(dict(self.product(on)))
        for order in self.random.sample(self.orders, min(8, len(self.orders))):
            status = self.random.choice(["Shipped", "Delivered", "Cancelled", "Returned"])
            brought["orders"].append(self.change(order, on, status=status))
        for customer in self.random.sample(self.customers, 2):
            brought["customers"].append(self.change(customer, on, city=f"City {on}"))
        for product in self.random.sample(self.products, 2):
            brought["products"].append(self.change(product, on, stock_quantity=self.random.randint(0, 9)))
        for product in self.random.sample(self.products, 1):
            cost = product["unit_cost"] - Decimal("0.10")
            brought["products"].append(self.change(product, on, unit_cost=cost))
        evenings = [order for order in self.orders if order["order_date"].date() < on - timedelta(3)]
        evenings = [order for order in evenings if order["order_date"].hour >= 12]
        brought["interactions"].extend(self.afterthought(order) for order in evenings[-1:])
        for _ in range(6):
            for table, records in self.order(on).items():
                brought[table].extend(dict(record) for record in records)
        return brought


def load_day(warehouse: Warehouse, batch: date, brought: Mapping[str, list[Record]]) -> None:
    warehouse.load(batch, 1, {table: brought.get(table, []) for table in TABLES})


def sales_by_date(warehouse: Warehouse, as_of: date) -> list[tuple[Any, ...]]:
    """fct_sales_by_date by Python alone."""
    orders, items = warehouse.current("orders", as_of), warehouse.current("order_items", as_of)
    placed = defaultdict(list)
    for order in orders.values():
        placed[order["order_date"].date()].append(order)
    lines = defaultdict(list)
    for item in items.values():
        lines[item["order_id"]].append(item)

    def sales(found: list[Record], *excluded: str) -> Decimal:
        counted = [order for order in found if order["status"] not in excluded]
        return sum((line["total_price"] for order in counted for line in lines[order["order_id"]]), Decimal("0.00"))

    rows = []
    for number in range((as_of - min(placed)).days):
        on = min(placed) + timedelta(number)
        found = placed[on]
        kept = [order for order in found if order["status"] != "Cancelled"]
        statuses = [order["status"] for order in found]
        units = sum(line["quantity"] for order in kept for line in lines[order["order_id"]])
        shipping = sum((order["shipping_cost"] for order in kept), Decimal("0.00"))
        customers = len({order["customer_id"] for order in found})
        counts = len(found), statuses.count("Cancelled"), statuses.count("Returned"), customers, units
        rows.append((on, *counts, sales(found, "Cancelled"), sales(found, "Cancelled", "Returned"), shipping))
    return rows


RELATIONS = """
    select table_schema || '.' || table_name from information_schema.tables
    where table_schema in ('staging', 'intermediate', 'marts')
"""


def models(warehouse: Warehouse) -> list[str]:
    """Every model, by schema and name."""
    with warehouse.connect() as connection:
        return sorted(name for (name,) in connection.execute(RELATIONS).fetchall())


def assert_current(warehouse: Warehouse, as_of: date) -> None:
    """Staging holds exactly the current records, column for column, and the sales are Python's."""
    for table in TABLES.values():
        names = [column.name for column in table.columns] + ["_cursor", "_batch", "_revision", "_version"]
        records = warehouse.current(table.name, as_of)
        expected = [tuple(records[key][name] for name in names) for key in sorted(records)]
        assert warehouse.rows(f"staging.stg_{table.name}") == expected, table.name
    columns = (
        "order_date, orders, cancelled_orders, returned_orders, customers, units, gross_revenue, net_revenue, shipping"
    )
    assert warehouse.rows("marts.fct_sales_by_date", columns=columns) == sales_by_date(warehouse, as_of)


def assert_like_full_refresh(warehouse: Warehouse, as_of: date) -> None:
    incremental = {model: warehouse.rows(model) for model in models(warehouse)}
    warehouse.run(as_of, full_refresh=True)
    for model, rows in incremental.items():
        assert rows == warehouse.rows(model), model


@dataclass(frozen=True)
class Built:
    """Ten days of a shop, built once for all tests, with a copy of the file to go back to."""

    shop: Shop
    warehouse: Warehouse
    saved: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dbt")
    shop, warehouse = Shop(seed=7), Warehouse(folder / "stack").create()
    for number in range(1, 11):
        brought = shop.batch(day(number))
        load_day(warehouse, day(number), (shop.opening() if number == 1 else {}) | brought)
    warehouse.build(day(11))
    return Built(shop, warehouse, Path(copyfile(warehouse.path, folder / "saved.duckdb")))


@pytest.fixture
def warehouse(built: Built) -> Warehouse:
    """The built warehouse, to change at will; always at the same path, so that dbt need not parse anew."""
    copyfile(built.saved, built.warehouse.path)
    return Warehouse(built.warehouse.home, deepcopy(built.warehouse.loaded))


@pytest.fixture
def tomorrow(built: Built) -> Shop:
    """The shop as it was on the tenth day, to go on with."""
    return deepcopy(built.shop)


def test_first_build_is_right(warehouse: Warehouse) -> None:
    assert_current(warehouse, day(11))


def test_increments_equal_a_full_refresh(warehouse: Warehouse, tomorrow: Shop) -> None:
    load_day(warehouse, day(11), tomorrow.batch(day(11)))
    twelve = tomorrow.batch(day(12))
    late = twelve["orders"][:8]
    load_day(warehouse, day(12), twelve | {"orders": twelve["orders"][8:]})
    load_day(warehouse, day(13), tomorrow.batch(day(13)))
    warehouse.run(day(14), mark=False)  # killed before it was marked

    load_day(warehouse, day(14), tomorrow.batch(day(14)))
    warehouse.load(day(12), 2, {"orders": late})
    sixteen, fifteen = tomorrow.batch(day(16)), tomorrow.batch(day(15))
    load_day(warehouse, day(16), sixteen)
    warehouse.run(day(17))
    assert_current(warehouse, day(17))

    load_day(warehouse, day(15), fifteen)
    load_day(warehouse, day(17), tomorrow.batch(day(17)))
    warehouse.build(day(17))
    assert_current(warehouse, day(17))

    moves = item_moves(tomorrow, warehouse)
    moves[0]["customers"] = undated_customers(tomorrow)
    load_day(warehouse, day(18), tomorrow.batch(day(18)))  # loaded, but after the cut
    for revision, brought in enumerate(moves, start=2):
        warehouse.load(day(17), revision, brought)
        warehouse.run(day(18))
    assert_current(warehouse, day(18))
    assert_like_full_refresh(warehouse, day(18))


def item_moves(shop: Shop, warehouse: Warehouse) -> list[dict[str, list[Record]]]:
    """Two revisions in which items change and their orders do not.

    First a price is shifted between two items of an order, and an order of two gifts is placed; then its first gift,
    which bears the shipping, moves to another order, so that the second must bear it.
    """
    lines = defaultdict(list)
    for item in warehouse.current("order_items", day(18)).values():
        lines[item["order_id"]].append(item)
    pair = next(items for items in lines.values() if len(items) > 1)
    names = [column.name for column in TABLES["order_items"].columns]
    shifted = [
        shop.change({name: item[name] for name in names}, day(18), total_price=item["total_price"] + by)
        for item, by in zip(pair, (Decimal("1.01"), Decimal("-1.01")), strict=False)
    ]
    placed = shop.order(day(17))
    free = {"unit_price": Decimal("0.00"), "total_price": Decimal("0.00")}
    gifts = [placed["order_items"][0] | free | {"order_item_id": shop.key("order_items")} for _ in range(2)]
    order = placed["orders"][0] | {"total_amount": Decimal("7.77"), "shipping_cost": Decimal("7.77")}
    events = shop.session(order["order_date"], order["order_id"], order, gifts)
    moved = shop.change(dict(gifts[0]), day(19), order_id=pair[0]["order_id"])
    return [{"orders": [order], "order_items": [*shifted, *gifts], "interactions": events}, {"order_items": [moved]}]


def undated_customers(shop: Shop) -> list[Record]:
    """A known customer and a new one from a producer that dates nothing."""
    undated = {"created_at": None, "updated_at": None, "last_login": None}
    return [shop.customers[0] | undated, shop.customers[0] | undated | {"customer_id": shop.key("customers")}]


def test_broken_identity_fails_every_sales_mart_and_is_made_good(warehouse: Warehouse, tomorrow: Shop) -> None:
    eleven = tomorrow.batch(day(11))
    order = eleven["orders"][-1]
    wrong = order | {"total_amount": order["total_amount"] + Decimal("0.01")}
    load_day(warehouse, day(11), eleven | {"orders": [*eleven["orders"][:-1], wrong]})
    with pytest.raises(TransformError) as failure:
        warehouse.build(day(12))
    assert "test revenue_reconciles_fct_order_details_order_id: Got 1 result, configured to fail if != 0" in str(
        failure.value
    )

    warehouse.load(day(11), 2, {"orders": [tomorrow.change(order, day(12))]})
    warehouse.build(day(12))
    assert_current(warehouse, day(12))


def test_day_tests_what_it_made_and_a_full_test_everything(warehouse: Warehouse, tomorrow: Shop) -> None:
    strange = tomorrow.afterthought(tomorrow.orders[0]) | {"event_type": "teleport"}
    load_day(warehouse, day(11), {"interactions": [strange]})
    chosen, reason = ["--select", "stg_interactions"], "accepted_values_stg_interactions_event_type"
    with pytest.raises(TransformError, match=reason):
        run(warehouse, "build", *chosen, as_of="2025-01-12")
    warehouse.mark(day(12))  # as if it had been made by an earlier day
    run(warehouse, "build", *chosen, as_of="2025-01-12")
    with pytest.raises(TransformError, match=reason):
        run(warehouse, "test", *chosen, as_of="2025-01-12")


@pytest.mark.parametrize("mart", ["fct_sales_by_date", "fct_customer_orders", "fct_order_details"])
def test_each_sales_mart_reconciles_by_itself(warehouse: Warehouse, mart: str) -> None:
    with warehouse.connect() as connection:
        connection.execute(f"update marts.{mart} set shipping = shipping + 0.01 where gross_revenue > 0")
    with pytest.raises(TransformError, match=f"revenue_reconciles_{mart}"):
        run(warehouse, "test", "--select", mart)


def run(warehouse: Warehouse, *command: str, target: str | None = None, **variables: object) -> dbt.BuildReport:
    variables = {"as_of": "2025-01-11"} | variables
    home = warehouse.home / (target or "")  # a target of its own keeps a cache of its own
    return dbt.run_dbt(command, home=home, environment=warehouse.environment, variables=variables, target=target)


def test_failure_names_the_model_and_the_reason(
    warehouse: Warehouse, tomorrow: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    warehouse.load(day(11), 1, {"orders": [dict(tomorrow.orders[0])]})
    with warehouse.connect() as connection:
        connection.execute("update raw.orders set order_date = 'yesterday' where _batch = '2025-01-11'")
    seen: list[dbt.NodeResult] = []
    with pytest.raises(TransformError) as failure:
        dbt.build(
            home=warehouse.home,
            environment=warehouse.environment,
            as_of=day(12),
            select=["stg_orders+"],
            on_node=seen.append,
        )
    message = str(failure.value)
    assert 'model stg_orders: Conversion Error: invalid timestamp field format: "yesterday"' in message
    assert "nodes skipped" in message
    assert "select" not in message.lower()
    assert {"fct_order_details", "dim_customers"} < {node.name for node in seen if node.status == "skipped"}
    assert capfd.readouterr() == ("", "")
    assert_released(warehouse)


@pytest.mark.parametrize(
    ("command", "variables", "reason"),
    [
        (["build"], {"as_of": "yesterday"}, "yesterday"),
        (["build", "--select", "nothing_like_it"], {}, "does not match any enabled nodes"),
        (["build", "--no-such-option"], {}, "No such option"),
    ],
)
def test_what_dbt_cannot_run_is_one_clear_error(
    warehouse: Warehouse, command: list[str], variables: dict[str, object], reason: str
) -> None:
    with pytest.raises(TransformError, match=reason):
        run(warehouse, *command, **variables)


def test_project_that_cannot_be_read(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    copytree(dbt.PROJECT, project)
    (project / "models" / "broken.sql").write_text("select * from {{ ref('no_such_model') }}")
    monkeypatch.setattr(dbt, "PROJECT", project)
    with pytest.raises(TransformError, match=r"dbt build failed: .*broken.* depends on a node named 'no_such_model'"):
        run(warehouse, "build")


def test_missing_setting_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(TransformError, match="ECOMMERCE_DUCKDB_PATH"):
        dbt.run_dbt(["build"], home=warehouse.home, environment={}, variables={})


def test_as_of_defaults_to_the_newest_day_of_all_tables(warehouse: Warehouse, tomorrow: Shop) -> None:
    load_day(warehouse, day(11), tomorrow.batch(day(11)))
    warehouse.load(day(12), 1, {"customers": tomorrow.batch(day(12))["customers"]})
    run(warehouse, "build", "--select", "stg_customers", as_of=None)
    assert len(warehouse.rows("staging.stg_customers")) == len(warehouse.current("customers", day(12)))
    assert len(warehouse.current("customers", day(12))) < len(warehouse.current("customers", day(13)))

    with warehouse.connect() as connection:
        connection.execute("delete from raw._batches where \"table\" = 'reviews'")
    with pytest.raises(TransformError, match=r"raw\.reviews was never loaded"):
        run(warehouse, "build", "--select", "stg_customers", as_of=None)


def test_run_leaves_nothing_behind(warehouse: Warehouse, capfd: pytest.CaptureFixture[str]) -> None:
    environment, files = dict(os.environ), project_files()
    report = warehouse.build(day(11))
    assert len(report.passed) == len(report.nodes)
    assert capfd.readouterr() == ("", "")
    assert dict(os.environ) == environment
    assert not set(warehouse.environment) & set(environment)
    assert project_files() == files
    assert "[WARN" not in (warehouse.home / "dbt" / "logs" / "dbt.log").read_text()
    assert_released(warehouse)


def assert_released(warehouse: Warehouse) -> None:
    """Another process can write the file, which DuckDB allows to one process at a time."""
    writes = f"import duckdb; duckdb.connect({str(warehouse.path)!r}).execute('create table free (x int)')"
    subprocess.run([sys.executable, "-c", writes], check=True)


def project_files() -> set[Path]:
    return set(dbt.PROJECT.rglob("*"))


def test_developers_target_builds_all_under_its_own_schemas(warehouse: Warehouse, tomorrow: Shop) -> None:
    chosen = ["build", "--select", "+dim_products"]
    run(warehouse, *chosen, target="dev")
    load_day(warehouse, day(11), tomorrow.batch(day(11)))
    run(warehouse, *chosen, as_of="2025-01-12")
    warehouse.mark(day(12))
    run(warehouse, *chosen, target="dev", as_of="2025-01-12")
    for model in ("staging.stg_products", "marts.dim_products"):
        assert warehouse.rows(f"dev_{model}") == warehouse.rows(model)


def test_docs_are_one_file_that_knows_the_tables(warehouse: Warehouse) -> None:
    page = dbt.docs_generate(home=warehouse.home, environment=warehouse.environment, as_of=day(11))
    assert page.is_relative_to(warehouse.home)
    assert "fct_sales_by_date" in page.read_text()


def declared(path: str) -> Any:
    return yaml.safe_load((dbt.PROJECT / "models" / path).read_text())


def test_tables_sources_and_staging_models_agree(warehouse: Warehouse) -> None:
    sources = {table["name"]: table["columns"] for table in declared("staging/_sources.yml")["sources"][0]["tables"]}
    assert set(sources) == {*TABLES, "_batches", "_built"}
    with warehouse.connect() as connection:
        for table in TABLES.values():
            raw = {column.name: raw_type(table, column.name) for column in table.columns} | ACCOUNTING
            assert types(sources[table.name]) == lowered(raw)
            staged = {column.name: SQL_TYPES[column.type] for column in table.columns}
            kept = {name: kind for name, kind in ACCOUNTING.items() if name != "_part"}
            model = declared(f"staging/stg_{table.name}.yml")["models"][0]
            assert types(model["columns"]) == lowered(staged | kept)
            described = connection.execute(f"describe staging.stg_{table.name}").fetchall()
            assert {name: kind.lower() for name, kind, *_ in described} == lowered(staged | kept)


def types(columns: list[dict[str, str]]) -> dict[str, str]:
    return lowered({column["name"]: column["data_type"] for column in columns})


def lowered(kinds: Mapping[str, str]) -> dict[str, str]:
    return {name: kind.lower().replace(" ", "") for name, kind in kinds.items()}


DESIGNED = """
    education_types marital_statuses order_statuses payment_methods
    addresses brands locations categories_enriched subcategories_enriched customers_enriched products_enriched
    reviews_enriched customer_lifetimes customer_rfm orders order_items customer_interactions sessions
    dim_customers dim_products dim_categories dim_locations dim_dates dim_customers_history dim_products_history
    fct_customer_activity fct_customer_orders fct_customer_reviews fct_cohort_retention
    fct_order_details fct_sales_by_date fct_sales_by_product fct_sales_by_region fct_product_performance
    fct_product_interactions fct_conversion_funnel fct_basket_affinity fct_inventory_position
    product_hierarchy_sankey customer_journey_sankey
"""


def test_every_model_is_documented_and_keyed(warehouse: Warehouse) -> None:
    manifest = json.loads((warehouse.home / "dbt" / "target" / "manifest.json").read_text())
    tests = defaultdict(set)
    for node in manifest["nodes"].values():
        if node["resource_type"] == "test":
            tests[node.get("attached_node")].add(node.get("test_metadata", {}).get("name"))
    models = {key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    assert {model["name"] for model in models.values()} == {*DESIGNED.split(), *(f"stg_{table}" for table in TABLES)}
    for key, model in models.items():
        assert model["description"].startswith("One row per "), key
        assert all(column["description"] for column in model["columns"].values()), key
        assert {"unique", "not_null"} <= tests[key], key
        if model["schema"] == "marts":
            assert model["contract"]["enforced"], key
            assert "holds" in tests[key], key


def test_one_table_that_was_not_loaded_lately_is_stale(warehouse: Warehouse) -> None:
    command = ("source", "freshness")
    with warehouse.connect() as database:
        database.execute("update raw._batches set loaded_at = now() at time zone 'UTC'")
    assert {node.status for node in run(warehouse, *command).nodes} == {"pass"}
    with warehouse.connect() as database:
        database.execute("update raw._batches set loaded_at = loaded_at - interval 3 days where \"table\" = 'orders'")
    with pytest.raises(TransformError, match="orders") as stale:
        run(warehouse, *command)
    assert [node.name for node in stale.value.nodes if node.status == "error"] == ["orders"]

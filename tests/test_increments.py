"""What increments owe a full refresh where records are corrected late, and what marts say of records that lack much."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from tasks import dbt
from tasks.errors import TransformError
from tests.test_dbt import Record, Shop, Warehouse, day, load_day, models, run
from tests.test_dialect import ENVIRONMENT

Rows = list[tuple[Any, ...]]

UNKNOWN = -1
CENT = Decimal("0.01")


def at(number: int, hour: int = 12) -> datetime:
    return datetime.combine(day(number), time(hour))


@dataclass(frozen=True)
class Told:
    """The story's end: its warehouse, every model as increments made it, and the orders after the second day."""

    warehouse: Warehouse
    incremental: Mapping[str, Rows]
    waited: Rows


def event(shop: Shop, key: int, when: datetime | None, session: str, known: datetime | None = None) -> Record:
    """A search of customer 1, known to the shop when it happened or at `known`."""
    return shop.record(
        "interactions", known or when, event_id=key, customer_id=1, product_id=None, event_type="search",
        event_date=when, device_type="mobile", session_id=session,
    )  # fmt: skip


def placed(shop: Shop, key: int, when: datetime, price: str, **values: Any) -> dict[str, list[Record]]:
    """An order of one item, with the session that ends in it."""
    item = values.pop("item", {})
    line = {"order_item_id": key, "order_id": key, "product_id": 1, "quantity": 1} | item
    items = [shop.record("order_items", when, **line, unit_price=Decimal(price), total_price=Decimal(price))]
    order = {"customer_id": 1, "status": "Pending", "shipping_address": None} | values
    total = {"total_amount": Decimal(price) + 1, "shipping_cost": Decimal(1)}
    orders = [shop.record("orders", when, order_id=key, **total) | order]
    bought = {"event_type": "purchase", "customer_id": order["customer_id"], "product_id": line["product_id"]}
    return {
        "orders": orders,
        "order_items": items,
        "interactions": [event(shop, key, when, f"session {key}") | bought],
    }


def together(*brought: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    tables = {table for one in brought for table in one}
    return {table: [record for one in brought for record in one.get(table, [])] for table in tables}


def product(shop: Shop, key: int, when: datetime, **values: Any) -> Record:
    prices = {"unit_cost": Decimal(1), "sale_price": Decimal(2), "base_price": Decimal(3)}
    return shop.record("products", when, product_id=key, category_id=2, subcategory_id=1, **prices) | values


def tenth(shop: Shop) -> dict[str, list[Record]]:
    """What the last of the opening days brings: all that the days after it will correct, and records that lack much."""
    when = at(10)
    named = [
        shop.record("customers", when, customer_id=901, signup_date=date(2024, 12, 1), city="Austin", state=" texas"),
        *(shop.record("customers", when, customer_id=key, signup_date=day(9)) for key in (902, 903, 904)),
    ]
    products = [
        product(shop, 951, when, category_id=None, subcategory_id=None),
        product(shop, 952, when, created_at=None),
        product(shop, 953, when),
        product(shop, 954, when, created_at=at(-365)),
    ]
    events = [
        *(event(shop, 9001, at(10), "moves back"), event(shop, 9011, at(8), "moves back")),
        *(event(shop, 9002, at(9), "gives"), event(shop, 9012, at(2), "gives")),
        *(event(shop, 9003, at(1), "cookie"), event(shop, 9004, None, "undated", at(10))),
    ]
    return together(
        {"customers": named, "products": products, "interactions": events},
        placed(shop, 911, when, "10.00", customer_id=None),
        placed(shop, 912, when, "11.00", status="Lost"),
        placed(shop, 913, when, "12.00", status=None, item={"product_id": 952, "quantity": 3}),
        placed(shop, 914, when, "13.00", item={"product_id": 951}),
        placed(shop, 915, at(9), "14.00", order_date=None),
        placed(shop, 916, when, "15.00", order_date=at(365)),
        placed(shop, 917, at(9), "148.76", customer_id=903),
        placed(shop, 918, when, "148.77", customer_id=903),
        placed(shop, 919, at(9), "16.00", customer_id=904),
        placed(shop, 920, when, "17.00", customer_id=904, status="Cancelled"),
        placed(shop, 923, when, "20.00", item={"product_id": None}),
    )


def eleventh(shop: Shop, before: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """Corrections, news of old sessions, and an order that was placed five seconds after the feed's midnight."""
    customers = {record["customer_id"]: record for record in before["customers"]}
    changed = [
        shop.change(dict(customers[901]), day(11), signup_date=day(9)),
        shop.change(dict(customers[902]), day(11), last_login=at(11)),
    ]
    events = [
        event(shop, 9001, at(7), "moves back", at(11)),
        event(shop, 9002, at(9), "takes", at(11)),
        *(event(shop, 9013, at(11), "cookie"), event(shop, 9014, None, "undated", at(11))),
        event(shop, 9015, at(12, 0) + timedelta(seconds=5), "ahead", at(11, 23)),
    ]
    late = placed(shop, 921, at(12, 0) + timedelta(seconds=5), "18.00")
    return together(
        {"customers": changed, "interactions": events, "orders": late["orders"]},
        placed(shop, 922, at(11), "19.00", customer_id=None),
        placed(shop, 924, at(11), "21.00", item={"product_id": None, "quantity": 2}),
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Ten days built whole, two more built as increments, then everything built anew."""
    shop, warehouse = Shop(seed=11), Warehouse(tmp_path_factory.mktemp("increments") / "stack").create()
    for number in range(1, 10):
        load_day(warehouse, day(number), together(shop.opening() if number == 1 else {}, shop.batch(day(number))))
    before = tenth(shop)
    load_day(warehouse, day(10), before)
    warehouse.run(day(11))

    load_day(warehouse, day(11), eleventh(shop, before))
    with warehouse.connect() as connection:
        connection.execute("update raw.customers set signup_date = signup_date || 'T09:30Z' where customer_id = 902")
    warehouse.run(day(12))
    waited = warehouse.rows("marts.fct_customer_orders", "order_id")

    late = placed(shop, 921, at(12, 0) + timedelta(seconds=5), "18.00")
    load_day(warehouse, day(12), late | {"orders": []})
    warehouse.run(day(13))
    incremental = {model: warehouse.rows(model) for model in models(warehouse)}
    warehouse.run(day(13), full_refresh=True)
    return Told(warehouse, incremental, waited)


def test_increments_equal_a_full_refresh(told: Told) -> None:
    differ = {model: rows for model, rows in told.incremental.items() if rows != told.warehouse.rows(model)}
    assert differ == {}


def test_records_that_lack_much_pass_every_test(told: Told) -> None:
    report = run(told.warehouse, "test", as_of=day(13).isoformat())
    unknown = {"accepted_values_stg_orders_status", "relationships_orders_order_status"}
    assert {node.name.split("__")[0] for node in report.warned} >= unknown
    assert [node.name for node in report.failed] == []


def test_calendar_begins_with_what_is_known_now(told: Told) -> None:
    days = [row[0] for row in told.incremental["marts.fct_sales_by_date"]]
    assert days == [day(number) for number in range(1, 13)]


def test_session_is_one_however_long_it_lasts(told: Told) -> None:
    sessions = {row[0]: row[3:7] for row in told.incremental["intermediate.sessions"]}
    assert sessions["cookie"] == (day(11), at(1), at(11), 2)
    assert sessions["moves back"] == (day(8), at(7), at(8), 2)
    assert (sessions["gives"], sessions["takes"]) == ((day(2), at(2), at(2), 1), (day(9), at(9), at(9), 1))
    assert "undated" not in sessions


def test_event_is_never_later_than_its_record(told: Told) -> None:
    sessions = {row[0]: row[3:7] for row in told.incremental["intermediate.sessions"]}
    assert sessions["ahead"] == (day(11), at(11, 23), at(11, 23), 1)


def test_order_that_is_placed_after_the_cut_waits_for_its_day(told: Told) -> None:
    orders = {row[0]: row[1] for row in told.warehouse.rows("marts.fct_customer_orders", "order_id, order_date")}
    assert set(orders) - {row[0] for row in told.waited} == {921}
    assert orders[921] == day(12)
    assert (orders[915], orders[916]) == (day(9), day(10))  # without a date, and with one that lies ahead


def test_ratios_are_rounded_as_money_is(told: Told) -> None:
    found = told.warehouse.rows(
        "marts.dim_customers", "customer_id, gross_revenue, orders - cancelled_orders, average_order_value"
    )
    assert (903, Decimal("297.53"), 2, Decimal("148.77")) in found
    for _, revenue, orders, average in found:
        assert average == ((revenue / orders).quantize(CENT, ROUND_HALF_UP) if orders else None)


def test_one_set_of_orders_makes_recency_and_segment(told: Told) -> None:
    columns = "customer_id, recency_days, frequency, last_order_date, lifetime_value = profit"
    found = {row[0]: row[1:] for row in told.warehouse.rows("marts.dim_customers", columns)}
    assert found[904] == (3, 1, day(9), True)
    assert found[902] == (None, 0, None, True)


def test_what_is_unknown_has_a_member_in_its_dimension(told: Told) -> None:
    customers = told.warehouse.rows("marts.dim_customers", "customer_id, orders, gross_revenue, rfm_segment")
    categories = told.warehouse.rows("marts.dim_categories", "category_id, category_name, products, gross_revenue")
    assert customers[0] == (UNKNOWN, 2, Decimal("29.00"), "Unknown")
    assert categories[0] == (UNKNOWN, "No category", 1, Decimal("13.00") + Decimal("41.00"))
    products = told.warehouse.rows("marts.dim_products", "product_id, product_name, category_name, review_count")
    sales = told.warehouse.rows("marts.fct_product_performance", "product_id, orders, units, gross_revenue")
    assert products[0] == (UNKNOWN, "No product", "No category", 0)
    assert sales[0] == (UNKNOWN, 2, 3, Decimal("41.00"))


def test_velocity_is_one_whatever_a_status_or_launch_says(told: Told) -> None:
    velocities = [
        dict(told.warehouse.rows(f"marts.{mart}", "product_id, daily_velocity"))[952]
        for mart in ("fct_inventory_position", "fct_product_performance")
    ]
    assert velocities == [Decimal("0.1000")] * 2


def test_product_that_is_new_is_no_overstock(told: Told) -> None:
    statuses = dict(told.warehouse.rows("marts.fct_inventory_position", "product_id, inventory_status"))
    assert (statuses[953], statuses[954]) == ("In stock", "Overstocked")


def test_date_that_is_spelled_otherwise_opens_no_version(told: Told) -> None:
    versions = told.warehouse.rows("marts.dim_customers_history", "customer_id, signup_date, is_current")
    assert [row for row in versions if row[0] == 902] == [(902, day(9), True)]


def test_region_is_found_however_the_state_is_spelled(told: Told) -> None:
    assert ("Austin", "South") in told.warehouse.rows("marts.dim_locations", "city, region")


def test_snowflake_replaces_rows_in_one_transaction(tmp_path: Path) -> None:
    sql = "{{ in_one_transaction('delete from t; insert into t select 1') }}"
    command = ["compile", "--inline", sql, "--no-introspect", "--no-populate-cache"]
    report = dbt.run_dbt(command, home=tmp_path, environment=ENVIRONMENT, variables={}, target="snowflake")
    (compiled,) = (report.target / "compiled").rglob("inline_query")
    said = " ".join(compiled.read_text().split())
    assert said == "begin; delete from t; insert into t select 1; commit;"


def test_cut_ends_where_no_table_lacks_a_day(tmp_path: Path) -> None:
    warehouse, shop = Warehouse(tmp_path / "stack").create(), Shop(seed=3)
    brought = {number: shop.batch(day(number)) for number in (1, 2, 3)}
    load_day(warehouse, day(1), together(shop.opening(), brought[1]))
    for number, failed in ((2, "orders"), (3, "customers")):
        tables = {table: records for table, records in brought[number].items() if table != failed}
        others = {table: [] for table in ("categories", "subcategories")}
        warehouse.load(day(number), 1, tables | others)
    run(warehouse, "build", "--select", "stg_products", as_of=None)
    assert len(warehouse.rows("staging.stg_products")) == len(warehouse.current("products", day(2)))
    chosen = ("build", "--select", "stg_orders", "stg_products")
    with pytest.raises(TransformError, match=r"stg_orders: .*raw\.orders lacks the batch of 2025-01-02"):
        run(warehouse, *chosen, as_of=day(3).isoformat())

"""A real shop in place of the simulated one: its own JSON, its own tables, its own columns."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from flows.transform import transform
from tasks.balance import IngestReport
from tasks.errors import ParameterError
from tasks.lake import paths
from tasks.source import embedded
from tasks.tables import TABLES

Records = Sequence[Mapping[str, Any]]

OPENING, THROUGH, NEXT = date(2024, 12, 1), date(2024, 12, 31), date(2025, 1, 1)

TABLES_OF_THE_SHOP = """
create table categories (
    category_id int primary key, category_name varchar(40), created_at timestamptz, updated_at timestamptz);
create table subcategories (
    subcategory_id int primary key, category_id int, subcategory_name text, created_at timestamp, updated_at timestamp);
create table order_items (
    order_item_id bigint primary key, order_id bigint, product_id int, quantity smallint, unit_price numeric,
    total_price numeric, warehouse_code text, created_at timestamptz, updated_at timestamptz);
create table interactions (
    event_id bigint primary key, customer_id int, event_type text, event_date timestamptz, device_type text,
    session_id uuid, created_at timestamptz);
insert into categories values (1, 'Tea', '2024-12-01', '2024-12-01');
insert into subcategories values (1, 1, 'Green tea', '2024-12-01', '2024-12-01');
insert into order_items values (1, 100, 7, 2, 9.5, 19, 'north-2', '2024-12-20T10:00+01', '2024-12-20T10:00+01');
insert into interactions values
    (1, 70, 'purchase', '2024-12-20T10:00+01', 'mobile', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2024-12-20T10:00+01');
"""
ITEMS_OF_THE_NEXT_DAY = """
insert into order_items values (2, 101, 7, 1, 9.5, 9.5, 'south-1', '2025-01-01T08:00Z', '2025-01-01T08:00Z');
"""


def order(number: int, placed: str, total: float, **more: Any) -> dict[str, Any]:
    """An order as that shop writes it: no payment, no addresses, and a channel that we do not know."""
    return {
        "order_id": number, "customer_id": 70, "order_date": placed, "status": "Delivered", "total_amount": total,
        "shipping_cost": 4.5, "updated_at": placed, "channel": {"name": "app", "version": 3}, **more,
    }  # fmt: skip


FEEDS: Mapping[str, Records] = {
    "customers": [{"customer_id": 70, "email": "mai@example.org", "signup_date": "2024-12-02", "loyalty_points": 120,
                   "created_at": "2024-12-02T08:00:00+01:00"}],
    "products": [{"product_id": 7, "category_id": 1, "subcategory_id": 1, "product_name": "Sencha", "base_price": 10,
                  "sale_price": 9.5, "created_at": "2024-12-02", "updated_at": "2024-12-02"}],
    "orders": [order(100, "2024-12-20T09:00:00Z", 23.5)],
    "reviews": [],
}  # fmt: skip


def deliver(stack: Stack, day: date, feeds: Mapping[str, Records]) -> None:
    """Put feeds into landing, as objects whose other members are named like columns of the tables."""
    for table, records in feeds.items():
        wrapper = {"status": "ok", "country": "JP", "metadata": {"producer": "tea shop", "count": len(records)}}
        feed = {**wrapper, "data": records}
        stack.open_lake().write(f"{paths.landing(table, day)}/{table}_export.json", json.dumps(feed, indent=2).encode())


def execute(stack: Stack, statements: str) -> None:
    with stack.open_source()._transaction("write by hand") as cursor:
        cursor.execute("set local timezone to 'UTC'")
        cursor.execute(statements)


def query(stack: Stack, statement: str) -> list[tuple[Any, ...]]:
    with stack.open_warehouse() as warehouse:
        return warehouse.query(statement)


@pytest.fixture(scope="module")
def tea_shop(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of a shop of its own make, with its history and one more day loaded and built."""
    folder: Path = tmp_path_factory.mktemp("tea") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOMMERCE_HOME", str(folder))
        patch.setenv("PREFECT_API_URL", prefect_url)
        stack = Stack.in_folder(folder)
        execute(stack, TABLES_OF_THE_SHOP)
        deliver(stack, THROUGH, FEEDS)
        assert_balanced(historical_load(OPENING, THROUGH, generate=False))
        execute(stack, ITEMS_OF_THE_NEXT_DAY)
        deliver(stack, NEXT, dict.fromkeys(FEEDS, ()) | {"orders": [order(101, "2025-01-01T08:00:00Z", 14.0)]})
        assert_balanced(daily_increment(NEXT, generate=False))
        transform()
        yield stack
        embedded.stop(folder / "postgres")


def assert_balanced(report: IngestReport) -> None:
    assert [line.table for line in report.tables] == list(TABLES)
    for line in report.tables:
        assert line.source == line.appended + line.known + line.quarantined
        assert line.quarantined == 0
        assert line.batch_rows == line.raw_rows


def test_raw_has_what_the_shop_wrote(tea_shop: Stack) -> None:
    assert query(tea_shop, "select order_id, order_date, total_amount::varchar, payment_method from raw.orders") == [
        (100, "2024-12-20T09:00:00Z", "23.50", None),
        (101, "2025-01-01T08:00:00Z", "14.00", None),
    ]
    items = "select order_item_id, quantity, total_price::varchar, _cursor::varchar from raw.order_items order by 1"
    assert query(tea_shop, items) == [
        (1, 2, "19.00", "2024-12-20 09:00:00"),
        (2, 1, "9.50", "2025-01-01 08:00:00"),
    ]
    assert query(tea_shop, "select product_id, session_id from raw.interactions") == [
        (None, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    ]
    assert query(tea_shop, "select subcategory_name, updated_at::varchar from raw.subcategories") == [
        ("Green tea", "2024-12-01 00:00:00")
    ]


def test_unknown_columns_are_text_in_raw(tea_shop: Stack) -> None:
    channels = [json.loads(channel) for (channel,) in query(tea_shop, "select channel from raw.orders")]
    assert channels == [{"name": "app", "version": 3}] * 2
    assert query(tea_shop, "select loyalty_points from raw.customers") == [("120",)]
    assert query(tea_shop, "select warehouse_code from raw.order_items order by 1") == [("north-2",), ("south-1",)]


def test_marts_are_built_without_the_missing_columns(tea_shop: Stack) -> None:
    facts = "select order_item_id, product_id, gross_revenue::varchar, shipping::varchar from marts.fct_order_details"
    assert query(tea_shop, f"{facts} order by 1") == [(1, 7, "19.00", "4.50"), (2, 7, "9.50", "4.50")]
    sales = "select sum(orders), sum(gross_revenue + shipping)::varchar from marts.fct_sales_by_date"
    assert query(tea_shop, sales) == [(2, "37.50")]
    assert query(tea_shop, "select email, orders, city from marts.dim_customers") == [("mai@example.org", 2, "Unknown")]
    assert query(tea_shop, "select product_name, brand, unit_cost from marts.dim_products") == [("Sencha", None, None)]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: daily_increment(NEXT + timedelta(1)), r"a real shop's data, .* use generate=False"),
        (lambda: historical_load(OPENING, THROUGH), r"holds a real shop since 2024-12-01, not the simulated shop"),
        (
            lambda: historical_load(OPENING, THROUGH, reset=True),
            r"more than a simulated shop, which reset=True does not",
        ),
    ],
    ids=["increment", "history", "reset"],
)
def test_simulation_keeps_off_a_real_shop(
    tea_shop: Stack, call: Any, reason: str, monkeypatch: pytest.MonkeyPatch, prefect_url: str
) -> None:
    monkeypatch.setenv("ECOMMERCE_HOME", tea_shop.workspace)
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    with pytest.raises(ParameterError, match=reason):
        call()
    assert query(tea_shop, "select count(*) from raw.orders") == [(2,)]

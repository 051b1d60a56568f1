"""The marts of sixteen months against the same numbers computed from raw in Python, window by window."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import duckdb
import pytest

from flows.historical_load import historical_load
from flows.transform import transform
from tasks.source import embedded
from tasks.tables import TABLES

START, THROUGH = date(2023, 9, 1), date(2024, 12, 31)
AS_OF = THROUGH + timedelta(1)
Row = dict[str, Any]


class Shop(NamedTuple):
    """The current records of raw by key, their texts cast, and the warehouse with the marts."""

    tables: Mapping[str, dict[int, Row]]
    warehouse: duckdb.DuckDBPyConnection

    def __getitem__(self, table: str) -> Iterable[Row]:
        return self.tables[table].values()

    def mart(self, relation: str, *key: str) -> dict[Any, Row]:
        found = self.warehouse.sql(f"select * from marts.{relation}")
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
        keyed = {row[key[0]] if len(key) == 1 else tuple(row[name] for name in key): row for row in rows}
        assert len(keyed) == len(rows)
        return keyed

    def kept(self, since: date = date.min) -> list[Row]:
        """Orders that net_revenue counts."""
        return [o for o in self["orders"] if o["status"] not in ("Cancelled", "Returned") and o["day"] >= since]

    def lines(self) -> list[Row]:
        """Order items with what the marts sum."""
        return [self._line(item) for item in self["order_items"]]

    def _line(self, item: Row) -> Row:
        order, product = self.tables["orders"][item["order_id"]], self.tables["products"][item["product_id"]]
        gross = item["total_price"] if order["status"] != "Cancelled" else Decimal(0)
        net = gross if order["status"] != "Returned" else Decimal(0)
        cost = item["quantity"] * product["unit_cost"] if net else Decimal(0)
        units = item["quantity"] if order["status"] != "Cancelled" else 0
        return item | {"order": order, "gross": gross, "net": net, "cost": cost, "units": units}


@pytest.fixture(scope="module")
def shop(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("months") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOMMERCE_HOME", str(home))
        patch.setenv("PREFECT_API_URL", prefect_url)
        historical_load(START, THROUGH, scale=0.03)
        embedded.stop(home / "postgres")
        transform()
    with duckdb.connect(home / "warehouse.duckdb", read_only=True) as warehouse:
        yield Shop({table: current(warehouse, table) for table in TABLES}, warehouse)


def current(warehouse: duckdb.DuckDBPyConnection, table: str) -> dict[int, Row]:
    """The records with the greatest (_cursor, _batch, _version) of each key."""
    found = warehouse.sql(f"select * from raw.{table} order by _cursor, _batch, _version")
    records = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    for record in records:
        if table == "orders":
            record["_placed"] = datetime.fromisoformat(record["order_date"]).replace(tzinfo=None)
            record["day"] = record["_placed"].date()
    return {record[TABLES[table].key]: record for record in records}


def rounded(value: Any, digits: int) -> Decimal:
    return Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def ratio(part: Any, whole: Any, digits: int = 4) -> Decimal | None:
    return rounded(Decimal(part) / Decimal(whole), digits) if whole else None


def summed(lines: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, Row]:
    """Distinct orders, and the sums of lines, by a key."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for line in lines:
        groups[key(line)].append(line)
    return {
        name: {
            "orders": len({line["order_id"] for line in group}),
            "units": sum(line["units"] for line in group),
            "gross_revenue": sum(line["gross"] for line in group),
            "net_revenue": sum(line["net"] for line in group),
            "cost": sum(line["cost"] for line in group),
            "profit": sum(line["net"] - line["cost"] for line in group),
        }
        for name, group in groups.items()
    }


def parts(rows: Mapping[Any, Row], *names: str) -> dict[Any, Row]:
    return {key: {name: row[name] for name in names} for key, row in rows.items()}


SUMS = ("orders", "units", "gross_revenue", "net_revenue", "cost", "profit")


def test_the_shop_is_long_and_varied_enough(shop: Shop) -> None:
    statuses = Counter(order["status"] for order in shop["orders"])
    assert min(statuses["Cancelled"], statuses["Returned"], statuses["Delivered"]) >= 10
    assert min(order["day"] for order in shop["orders"]) < AS_OF - timedelta(400)


def test_sales_by_product_and_day(shop: Shop) -> None:
    found = shop.mart("fct_sales_by_product", "order_date", "product_id")
    expected = summed(shop.lines(), lambda line: (line["order"]["day"], line["product_id"]))
    assert parts(found, *SUMS) == expected
    assert any(row["cost"] for row in expected.values())


def test_sales_by_date(shop: Shop) -> None:
    found = shop.mart("fct_sales_by_date", "order_date")
    expected = summed(shop.lines(), lambda line: line["order"]["day"])
    by_day: dict[date, list[Row]] = defaultdict(list)
    for order in shop["orders"]:
        by_day[order["day"]].append(order)
    sold = {day: row for day, row in found.items() if row["orders"]}
    assert parts(sold, *SUMS) == expected
    for day, orders in by_day.items():
        row = found[day]
        sold_orders = [order for order in orders if order["status"] != "Cancelled"]
        assert row["customers"] == len({order["customer_id"] for order in orders})
        assert row["shipping"] == sum(order["shipping_cost"] for order in sold_orders)
        assert row["average_order_value"] == ratio(row["gross_revenue"], len(sold_orders), 2)


def test_product_performance(shop: Shop) -> None:
    found = shop.mart("fct_product_performance", "product_id")
    sales = summed(shop.lines(), lambda line: line["product_id"])
    recent = [line for line in shop.lines() if line["order"]["day"] >= AS_OF - timedelta(30)]
    units_30d = {product: row["units"] for product, row in summed(recent, lambda line: line["product_id"]).items()}
    events = Counter((event["product_id"], event["event_type"]) for event in shop["interactions"])
    scores: dict[int, list[int]] = defaultdict(list)
    for review in shop["reviews"]:
        scores[review["product_id"]].append(review["review_score"])
    assert set(found) == {product["product_id"] for product in shop["products"]}
    for product, row in found.items():
        launched = date.fromisoformat(shop.tables["products"][product]["created_at"][:10])
        days = min((AS_OF - launched).days, 30)
        none = dict.fromkeys(SUMS, 0)
        assert {name: row[name] for name in SUMS} == sales.get(product, none)
        assert row["units_30d"] == units_30d.get(product, 0)
        assert row["daily_velocity"] == ratio(row["units_30d"], max(days, 1))
        assert [row["views"], row["cart_adds"], row["purchases"]] == [
            events[product, kind] for kind in ("view", "cart_add", "purchase")
        ]
        assert row["rating"] == ratio(sum(scores[product]), len(scores[product]), 2)
        assert row["review_count"] == len(scores[product])
    assert len({row["daily_velocity"] for row in found.values()}) > 2


def test_classes_of_products_share_out_the_revenue(shop: Shop) -> None:
    rows = sorted(shop.mart("fct_product_performance", "product_id").values(), key=lambda row: row["product_id"])
    ordered = sorted(rows, key=lambda row: row["gross_revenue"], reverse=True)
    total, before = sum(row["gross_revenue"] for row in rows), Decimal(0)
    for rank, row in enumerate(ordered, 1):
        share = "A" if before < total * Decimal("0.8") else "B" if before < total * Decimal("0.95") else "C"
        assert row["abc_class"] == (share if row["gross_revenue"] else "C")
        assert row["revenue_rank"] <= rank
        before += row["gross_revenue"]
    assert {row["abc_class"] for row in rows} == {"A", "B", "C"}


def test_customers_are_scored_by_the_orders_of_a_year(shop: Shop) -> None:
    revenue = {order: row["net_revenue"] for order, row in summed(shop.lines(), lambda line: line["order_id"]).items()}
    by_customer: dict[int, list[Row]] = defaultdict(list)
    for order in shop.kept(since=AS_OF - timedelta(365)):
        by_customer[order["customer_id"]].append(order)
    recency = {customer: max(order["day"] for order in orders) for customer, orders in by_customer.items()}
    frequency = {customer: len(orders) for customer, orders in by_customer.items()}
    value = {customer: sum(revenue[order["order_id"]] for order in orders) for customer, orders in by_customer.items()}
    found = {key: row for key, row in shop.mart("dim_customers", "customer_id").items() if row["frequency"]}
    assert set(found) == set(by_customer)
    for customer, row in found.items():
        assert row["recency_days"] == (THROUGH - recency[customer]).days
        assert (row["frequency"], row["monetary_value"]) == (frequency[customer], value[customer])
        scores = [fifth(measure, customer) for measure in (recency, frequency, value)]
        assert [row["recency_score"], row["frequency_score"], row["monetary_score"]] == scores
        assert row["rfm_segment"] == segment(scores[0], scores[1])
    assert len({row["rfm_segment"] for row in found.values()}) >= 5


def fifth(measure: Mapping[int, Any], customer: int) -> int:
    below = sum(value < measure[customer] for value in measure.values())
    return 1 + 5 * below // len(measure)


def segment(recency: int, frequency: int) -> str:
    if recency >= 4:
        return "Champions" if frequency >= 4 else "Loyal" if frequency == 3 else "Promising"
    if recency == 3:
        return "Loyal" if frequency >= 3 else "Occasional"
    return "At risk" if frequency >= 3 else "Hibernating"


def test_pairs_bought_together_in_90_days(shop: Shop) -> None:
    since = AS_OF - timedelta(90)
    orders = {o["order_id"] for o in shop["orders"] if o["status"] != "Cancelled" and o["day"] >= since}
    baskets: dict[int, set[int]] = defaultdict(set)
    for item in shop["order_items"]:
        if item["order_id"] in orders:
            baskets[item["order_id"]].add(item["product_id"])
    alone = Counter(product for basket in baskets.values() for product in basket)
    together = Counter(pair for basket in baskets.values() for pair in combinations(sorted(basket), 2))
    found = shop.mart("fct_basket_affinity", "product_id_a", "product_id_b")
    assert {pair: row["orders_together"] for pair, row in found.items()} == dict(together)
    for (a, b), row in found.items():
        pair, whole = together[a, b], len(orders)
        assert (row["orders_a"], row["orders_b"], row["orders"]) == (alone[a], alone[b], whole)
        assert row["support"] == ratio(pair, whole, 6)
        assert (row["confidence_a_to_b"], row["confidence_b_to_a"]) == (
            ratio(pair, alone[a], 6),
            ratio(pair, alone[b], 6),
        )
        assert row["lift"] == ratio(pair * whole, alone[a] * alone[b], 4)
    assert any(row["confidence_a_to_b"] != row["confidence_b_to_a"] for row in found.values())


def test_cohorts_are_of_the_month_of_the_first_order(shop: Shop) -> None:
    first: dict[int, date] = {}
    for order in sorted(shop["orders"], key=lambda order: order["day"]):
        first.setdefault(order["customer_id"], order["day"].replace(day=1))
    sizes = Counter(first.values())
    came: dict[tuple[date, int], set[int]] = defaultdict(set)
    placed: Counter[tuple[date, int]] = Counter()
    for order in shop["orders"]:
        cohort, month = first[order["customer_id"]], order["day"]
        cell = (cohort, 12 * (month.year - cohort.year) + month.month - cohort.month)
        came[cell].add(order["customer_id"])
        placed[cell] += 1
    found = shop.mart("fct_cohort_retention", "cohort_month", "months_since")
    assert {cell for cell, row in found.items() if row["customers"]} == set(came)
    for (cohort, months), row in found.items():
        customers = len(came[cohort, months])
        assert (row["cohort_size"], row["customers"], row["orders"]) == (
            sizes[cohort],
            customers,
            placed[cohort, months],
        )
        assert row["retention_rate"] == ratio(customers, sizes[cohort])
    assert any(0 < row["customers"] < row["orders"] for row in found.values())


def test_orders_of_a_customer_are_numbered(shop: Shop) -> None:
    found = shop.mart("fct_customer_orders", "order_id")
    by_customer: dict[int, list[Row]] = defaultdict(list)
    for order in sorted(shop["orders"], key=lambda order: order["order_date"]):
        by_customer[order["customer_id"]].append(order)
    for orders in by_customer.values():
        numbers = [found[order["order_id"]] for order in orders]
        assert [row["order_number"] for row in numbers] == list(range(1, len(orders) + 1))
        waits = [(b["day"] - a["day"]).days for a, b in pairwise(orders)]
        assert [row["days_since_previous"] for row in numbers] == [None, *waits]


def test_activity_and_funnel_count_sessions(shop: Shop) -> None:
    sessions: dict[str, list[Row]] = defaultdict(list)
    for event in shop["interactions"]:
        sessions[event["session_id"]].append(event)
    seconds: Counter[tuple[int, date]] = Counter()
    funnel: dict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    for events in sessions.values():
        began, ended = (edge(event["event_date"] for event in events) for edge in (min, max))
        whole = began.replace(microsecond=0), ended.replace(microsecond=0)
        seconds[events[0]["customer_id"], ended.date()] += int((whole[1] - whole[0]).total_seconds())
        counted = funnel[ended.date(), events[0]["device_type"]]
        counted["sessions"] += 1
        for kind, name in (("view", "views"), ("cart_add", "cart_adds"), ("purchase", "purchases")):
            number = sum(event["event_type"] == kind for event in events)
            counted[name] += number
            counted[f"sessions_with_{name}"] += bool(number)
    activity = shop.mart("fct_customer_activity", "customer_id", "activity_date")
    assert {key: row["seconds"] for key, row in activity.items()} == dict(seconds)
    found = shop.mart("fct_conversion_funnel", "session_date", "device_type")
    assert set(found) == set(funnel)
    for key, counts in funnel.items():
        assert {name: found[key][name] for name in counts} == dict(counts)
        assert found[key]["conversion_rate"] == ratio(counts["sessions_with_purchases"], counts["sessions"])


def test_customers_live_in_one_location(shop: Shop) -> None:
    lived = Counter((customer["city"], customer["state"]) for customer in shop["customers"])
    found = shop.mart("dim_locations", "city", "state")
    assert {place: row["customers"] for place, row in found.items() if row["customers"]} == dict(lived)


def test_stock_is_what_was_counted_less_what_was_sold_since(shop: Shop) -> None:
    found = shop.mart("fct_inventory_position", "product_id")
    sold: Counter[int] = Counter()
    for line in shop.lines():
        counted = shop.tables["products"][line["product_id"]]["_cursor"]
        if line["units"] and line["order"]["_placed"] > counted:
            sold[line["product_id"]] += line["quantity"]
    for product in shop["products"]:
        row, stock = found[product["product_id"]], product["stock_quantity"]
        assert row["units_since_count"] == sold[product["product_id"]]
        assert row["stock_on_hand"] == max(stock - row["units_since_count"], 0)
        assert row["stock_value"] == row["stock_on_hand"] * product["unit_cost"]
    assert any(sold.values())

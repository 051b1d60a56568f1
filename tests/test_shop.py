"""The simulated shop: what must hold of its records, over several seeds, scales, opening days and periods."""

import doctest
import hashlib
import importlib
import os
import pkgutil
import subprocess
import sys
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks.shop
from tasks.errors import ParameterError
from tasks.shop import random
from tasks.shop.people import EDUCATIONS
from tasks.shop.shop import Shop
from tasks.shop.vocabulary import CATEGORIES, NOUNS, OPENINGS, SUBCATEGORIES, VERDICTS, cities
from tasks.tables import TABLES, Type
from tasks.window import Window, midnight, plan_chunks

ROOT = Path(__file__).parent.parent
DAYS = timedelta(1)
REFERENCE = Shop(date(2023, 1, 1))
PERIOD = Window(date(2023, 1, 1), date(2025, 2, 1))

MARKETS = {
    "reference": (REFERENCE, PERIOD.end),
    "leap day": (Shop(date(2024, 2, 29), seed=7, scale=0.3), date(2025, 3, 2)),
    "tiny": (Shop(date(2022, 11, 20), seed=1, scale=0.02), date(2024, 6, 1)),
    "large": (Shop(date(2021, 12, 24), seed=2**40, scale=20), date(2022, 2, 3)),
    "before 1970": (Shop(date(1969, 11, 11), seed=-3, scale=0.1), date(1970, 4, 1)),
    "newborn": (Shop(date(2025, 5, 5), seed=3, scale=2), date(2025, 5, 12)),
}
SEEDS = (42, 2**40)
BUSINESSES = {
    "reference": MARKETS["reference"],
    "half": (Shop(PERIOD.start, seed=11, scale=0.5), PERIOD.end),
    "double": (Shop(PERIOD.start, seed=2**40, scale=2), PERIOD.end),
}


def everything(shop: Shop, as_of: date) -> dict[str, pa.Table]:
    return {name: shop.snapshot(name, Window(shop.start, as_of), as_of) for name in TABLES}


class Market:
    """A shop as of a day, in a database with a table of its own for each of the eight."""

    def __init__(self, shop: Shop, as_of: date) -> None:
        self.shop, self.as_of, self.tables = shop, as_of, everything(shop, as_of)
        self.database = duckdb.connect(config={"threads": 2})
        for name, records in self.tables.items():
            self.database.register(name, records)
        self.database.execute(
            "create view versions as select * from products; create view newest as "
            "select * from products qualify row_number() over (partition by product_id order by updated_at desc) = 1"
        )
        self.database.register("moods", moods())
        self.database.register("places", pa.table(dict(zip(("city", "state"), cities(), strict=True))))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.database.execute(query).fetchall()

    def number(self, query: str) -> float:
        return float(str(self.rows(query)[0][0]))


def moods() -> pa.Table:
    """Every opening and verdict that a review of a category may carry, by score."""
    return pa.Table.from_pylist(
        [
            {"category_id": category, "score": score, "opening": opening, "verdict": verdict}
            for category, name in enumerate(CATEGORIES, start=1)
            for score, openings in enumerate(OPENINGS, start=1)
            for opening in openings
            for verdict in VERDICTS[name][(0, 0, 1, 2, 2)[score - 1]]
        ]
    )


@pytest.fixture(scope="module", params=MARKETS)
def market(request: pytest.FixtureRequest) -> Market:
    return built(request.param)


_BUILT: dict[str, Market] = {}


def built(name: str) -> Market:
    if name not in _BUILT:
        _BUILT[name] = Market(*(MARKETS | BUSINESSES)[name])
    return _BUILT[name]


@pytest.fixture(scope="module", params=BUSINESSES)
def business(request: pytest.FixtureRequest) -> Market:
    """Two years of a shop, long enough to see its shape."""
    return built(request.param)


@pytest.fixture(scope="module")
def reference() -> Market:
    return built("reference")


# What must never be found. Each query selects the offenders.
OFFENDERS = {
    "session before sign-up": """
        select * from interactions join customers using (customer_id) where event_date <= customers.created_at""",
    "order before sign-up": """
        select * from orders join customers using (customer_id) where order_date <= customers.created_at""",
    "sign-up not on its date": "select * from customers where signup_date <> created_at::date",
    "change that is no login": "select * from customers where last_login <> updated_at or updated_at < created_at",
    "login before latest event": """
        select * from customers join (select customer_id, max(event_date) as latest from interactions group by all)
        using (customer_id) where last_login < latest""",
    "login before latest order": """
        select * from customers join (select customer_id, max(order_date) as latest from orders group by all)
        using (customer_id) where last_login < latest""",
    "event of a closed account": """
        select * from customers join interactions using (customer_id)
        where not is_active and event_date >= customers.updated_at""",
    "product not on sale when bought or looked at": """
        select * from (from interactions where product_id is not null) as happened
        asof left join products on happened.product_id = products.product_id and event_date >= products.updated_at
        where not coalesce(is_active, false)""",
    "price not that of the instant": """
        select * from order_items asof left join products
        on order_items.product_id = products.product_id and order_items.created_at >= products.updated_at
        where unit_price <> coalesce(sale_price, 0)""",
    "change of a product that has left": """
        select product_id from products group by all
        having max(updated_at) > min(updated_at) filter (where not is_active)
        or count(*) filter (where not is_active) > 1""",
    "launch not the first version": """
        select product_id from products group by product_id, created_at having min(updated_at) <> created_at""",
    "what never changes of a product": """
        select product_id from products group by all having count(distinct (category_id, subcategory_id, product_name,
        description, brand, sku, base_price, unit_cost, weight_kg, created_at)) > 1""",
    "version without a change": """
        select product_id, updated_at from products group by all having count(*) > 1""",
    "prices out of order": """
        select * from products where not (0 < unit_cost and unit_cost < sale_price and sale_price <= base_price)""",
    "stock or weight": "select * from products where stock_quantity < 0 or weight_kg <= 0",
    "SKU of two products": "select sku from products group by sku having count(distinct product_id) > 1",
    "category not the subcategory's": """
        select * from products join subcategories using (subcategory_id)
        where products.category_id <> subcategories.category_id""",
    "product older than its subcategory": """
        select * from products join subcategories using (subcategory_id)
        where products.created_at < subcategories.created_at""",
    "line total": "select * from order_items where total_price <> quantity * unit_price or quantity < 1",
    "order total": """
        select order_id from orders left join
        (select order_id, sum(total_price) as lines from order_items group by all) using (order_id)
        where total_amount <> coalesce(lines, -1) + shipping_cost or shipping_cost < 0""",
    "item not at its order's instant": """
        select * from order_items join orders using (order_id) where order_items.created_at <> order_date
        or order_items.updated_at <> order_date or orders.created_at <> order_date or orders.updated_at < order_date""",
    "product twice in an order": """
        select order_id, product_id from order_items group by all having count(*) > 1""",
    "two orders of a customer at once": """
        select customer_id, order_date from orders group by all having count(*) > 1""",
    "order ids out of time": """
        select * from (select order_date, lag(order_date) over (order by order_id) as earlier from orders)
        where order_date <= earlier""",
    "customer ids out of time": """
        select * from (select created_at, lag(created_at) over (order by customer_id) as earlier from customers)
        where created_at <= earlier""",
    "product ids out of time": """
        select * from (select created_at, lag(created_at) over (order by product_id) as earlier from newest)
        where created_at <= earlier""",
    "purchase that is no item, or item that is no purchase": """
        with sold as (
            select customer_id, order_date, product_id, order_id from order_items join orders using (order_id)),
        bought as (
            select customer_id, event_date, product_id, session_id from interactions where event_type = 'purchase')
        select * from sold full join bought on sold.customer_id = bought.customer_id
        and order_date = event_date and sold.product_id = bought.product_id
        where order_id is null or session_id is null""",
    "session with two orders, or order with two sessions": """
        with pairs as (
            select distinct session_id, order_id from interactions join orders
            on interactions.customer_id = orders.customer_id and event_date = order_date where event_type = 'purchase')
        select session_id from pairs group by all having count(*) > 1
        union all select order_id::varchar from pairs group by order_id having count(*) > 1""",
    "order without a session": """
        select order_id from orders anti join (from interactions where event_type = 'purchase') as bought
        on orders.customer_id = bought.customer_id and order_date = bought.event_date""",
    "session of two customers, devices, days or too long": """
        select session_id from interactions group by all having count(distinct customer_id) > 1
        or count(distinct device_type) > 1 or count(distinct event_date::date) > 1
        or max(event_date) - min(event_date) > interval 24 minutes""",
    "session id of two sessions": """
        select session_id from interactions group by all having count(distinct event_id >> 6) > 1""",
    "event not dated by itself": "select * from interactions where event_date <> created_at",
    "purchase without view and cart before": """
        select session_id, product_id from interactions where product_id is not null group by all
        having min(event_date) filter (where event_type = 'purchase') <=
            coalesce(max(event_date) filter (where event_type = 'cart_add'), '9999-01-01'::timestamp)
        or min(event_date) filter (where event_type = 'cart_add') <=
            coalesce(min(event_date) filter (where event_type = 'view'), '9999-01-01'::timestamp)
        or min(event_date) filter (where event_type = 'cart_remove') <=
            coalesce(min(event_date) filter (where event_type = 'cart_add'), '9999-01-01'::timestamp)""",
    "search with a product, or other event without": """
        select * from interactions where (event_type = 'search') <> (product_id is null)""",
    "unknown event": """
        select * from interactions where event_type not in ('view', 'search', 'cart_add', 'cart_remove', 'purchase')""",
    "e-mail address of two customers": "select email from customers group by all having count(*) > 1",
    "e-mail address not its owner's": """
        select * from customers where not regexp_full_match(email, '[a-z]+[.][a-z]+[0-9]+@[a-z.]+') or not starts_with(
        email, regexp_replace(lower(first_name), '[^a-z]', '', 'g') || '.' ||
        regexp_replace(lower(last_name), '[^a-z]', '', 'g') || customer_id || '@')""",
    "city not of its state": "select * from customers anti join places using (city, state)",
    "address not the customer's": """
        select * from orders join customers using (customer_id)
        where order_date = last_login and not ends_with(shipping_address, ', ' || city || ', ' || state)""",
    "address not street, city, state": """
        select * from orders where len(string_split(shipping_address, ', ')) <> 3
        or len(string_split(billing_address, ', ')) <> 3""",
    "student with a degree, or minor": """
        select * from customers where age < 18 or age > 100
        or (age < 22 and education not in ('High School', 'Some College'))""",
    "review of what was not bought": """
        select * from reviews anti join (select order_id, product_id, customer_id from order_items
        join orders using (order_id)) using (order_id, product_id, customer_id)""",
    "item reviewed twice": "select order_id, product_id from reviews group by all having count(*) > 1",
    "review before delivery or after return": """
        select * from reviews join orders using (order_id) where status not in ('Delivered', 'Returned')
        or (status = 'Delivered' and review_date <= orders.updated_at)
        or (status = 'Returned' and review_date >= orders.updated_at)
        or review_date < order_date + interval 1 day""",
    "review out of range": "select * from reviews where review_score not between 1 and 5 or helpful_votes < 0",
    "review text not of its score and category": """
        select * from reviews join newest using (product_id) anti join moods
        on moods.category_id = newest.category_id and review_score = score
        and starts_with(review_text, opening) and ends_with(review_text, ': ' || verdict || '.')""",
    "review text not of its product": """
        select * from reviews join newest using (product_id)
        where not contains(product_name, regexp_extract(review_text, '[.!] ([^:]+): ', 1))""",
    "unknown status": """
        select * from orders
        where status not in ('Pending', 'Processing', 'Shipped', 'Delivered', 'Returned', 'Cancelled')
        or (status = 'Pending') <> (updated_at = order_date)""",
}


@pytest.mark.parametrize("name", OFFENDERS)
def test_nothing_offends(market: Market, name: str) -> None:
    assert market.rows(f"select * from ({OFFENDERS[name]}) limit 3") == []


@pytest.mark.parametrize("name", TABLES)
def test_records_are_complete_sorted_and_over(market: Market, name: str) -> None:
    table, records = TABLES[name], market.tables[name]
    assert records.schema == table.shop_schema
    order = [(table.key, "ascending"), *([("updated_at", "ascending")] if name == "products" else [])]
    assert records.equals(records.sort_by(order))
    assert name == "products" or pc.count_distinct(records[table.key]).as_py() == records.num_rows
    for column in table.columns:
        assert column.nullable or records[column.name].null_count == 0, column.name
        if column.type is Type.INSTANT:
            latest, earliest = pc.max(records[column.name]).as_py(), pc.min(records[column.name]).as_py()
            assert latest is None or latest < midnight(market.as_of).replace(tzinfo=None)
            assert earliest is None or earliest >= midnight(market.shop.start).replace(tzinfo=None)


def orphans(tables: dict[str, pa.Table]) -> list[tuple[str, str]]:
    found = []
    for table in TABLES.values():
        for column, parent in table.parents.items():
            values = tables[table.name][column].drop_null()
            known = pc.is_in(values, value_set=tables[parent][TABLES[parent].key].combine_chunks())
            if not pc.all(known, min_count=0).as_py():
                found.append((table.name, column))
    return found


@pytest.mark.parametrize("days", [0, 1, 2, 3, 7, 33, 100, 250, 411])
@pytest.mark.parametrize(("seed", "scale"), [(42, 0.2), (5, 1)])
def test_every_child_has_its_parent_as_of_every_day(seed: int, scale: float, days: int) -> None:
    shop = Shop(date(2023, 9, 30), seed, scale)
    tables = everything(shop, shop.start + days * DAYS)
    assert orphans(tables) == []
    assert (tables["categories"].num_rows, tables["subcategories"].num_rows) == ((5, 25) if days else (0, 0))


@pytest.mark.parametrize(("seed", "scale"), [(9, 1), (2**40, 0.3), (-5, 4)])
def test_orders_follow_the_lifecycle(seed: int, scale: float) -> None:
    shop = Shop(date(2024, 3, 1), seed, scale)
    placed, seen = Window(date(2024, 5, 1), date(2024, 5, 15)), dict[int, list[tuple[str, object]]]()
    for day in range(60):
        as_of = placed.start + (1 + day) * DAYS
        orders = shop.snapshot("orders", Window(placed.start, as_of), as_of)
        taken = orders.filter(pc.field("order_date") < pa.scalar(midnight(placed.end).replace(tzinfo=None)))
        for order, status, updated in zip(
            *(taken[c].to_pylist() for c in ("order_id", "status", "updated_at")), strict=True
        ):
            states = seen.setdefault(order, [])
            if (status, updated) not in states:
                states.append((status, updated))
    followers = {
        "Pending": {"Processing", "Shipped", "Cancelled"},  # two steps may fall between two midnights
        "Processing": {"Shipped", "Delivered", "Cancelled"},
        "Shipped": {"Delivered"},
        "Delivered": {"Returned"},
    }
    steps = [(a, b) for states in seen.values() for a, b in pairwise(states)]
    assert {(a[0], b[0]) for a, b in steps if b[0] not in followers.get(a[0], set())} == set()
    assert all(a[1] < b[1] for a, b in steps)
    returns = [b[1] - a[1] for a, b in steps if b[0] == "Returned"]
    assert returns
    assert max(returns) <= 30 * DAYS
    ends = [states[-1][0] for states in seen.values()]
    assert set(ends) == {"Delivered", "Returned", "Cancelled"}
    assert 0.8 < ends.count("Delivered") / len(ends) < 0.95


# The equality: what is kept of increments is what one large load gives.


def current(pieces: list[pa.Table], name: str) -> pa.Table:
    """Of every key the record with the greatest cursor; one record per key and cursor, whatever the day it was seen."""
    table = TABLES[name]
    cursor = table.cursors[0]
    with duckdb.connect() as database:
        database.register("seen", pa.concat_tables(pieces))
        versions = database.sql("select distinct * from seen").to_arrow_table()
        keyed = versions.group_by([table.key, cursor]).aggregate([])
        assert keyed.num_rows == versions.num_rows, "a record differs although its cursor does not"
        database.register("versions", versions)
        newest = f"row_number() over (partition by {table.key} order by {cursor} desc) = 1"
        found = database.sql(f"select * from versions qualify {newest} order by {table.key}")
        return found.to_arrow_table().cast(table.shop_schema)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("gaps", [(1,) * 20, (1, 5, 1, 40, 1), (1, 1, 0, 3, 0, 1)], ids=["daily", "gaps", "repeated"])
@pytest.mark.parametrize(("seed", "scale"), [(4, 0.3), (2**40, 0.02), (-5, 1.5)])
def test_increments_equal_one_load(name: str, gaps: tuple[int, ...], seed: int, scale: float) -> None:
    shop, through = Shop(date(2023, 8, 1), seed, scale), date(2024, 1, 10)
    pieces = [shop.snapshot(name, Window(shop.start, through), through)]
    as_of = through
    for gap in gaps:
        start = min(as_of, as_of + (gap - 30) * DAYS)
        as_of += gap * DAYS
        pieces.append(shop.snapshot(name, Window(start, as_of), as_of))
    once = current([shop.snapshot(name, Window(shop.start, as_of), as_of)], name)
    assert current(pieces, name).equals(once)


DAY_NUMBERS = st.integers(0, 180)


@given(
    name=st.sampled_from(list(TABLES)), days=st.lists(DAY_NUMBERS, min_size=4, max_size=4), seed=st.integers(0, 2**63)
)
@settings(max_examples=60, deadline=None)
def test_a_window_is_the_sum_of_its_parts(name: str, days: list[int], seed: int) -> None:
    shop = Shop(date(2023, 10, 1), seed=seed, scale=0.1)
    first, middle, last, as_of = (shop.start + day * DAYS for day in sorted(days))
    parts = [shop.snapshot(name, Window(*days), as_of) for days in ((first, middle), (middle, last))]
    together = pa.concat_tables(parts)
    key = TABLES[name].key
    order = [(key, "ascending"), *([("updated_at", "ascending")] if name == "products" else [])]
    assert shop.snapshot(name, Window(first, last), as_of).equals(together.sort_by(order))
    cursor = pc.cast(together[TABLES[name].cursors[0]], pa.date32(), safe=False)
    assert pc.all(pc.and_(pc.greater_equal(cursor, first), pc.less(cursor, last)), min_count=0).as_py()


@pytest.mark.parametrize("name", TABLES)
def test_days_add_up(name: str) -> None:
    """Day by day, so that every midnight is a border once."""
    shop, window = Shop(date(2023, 10, 1), seed=8, scale=0.5), Window(date(2023, 10, 1), date(2024, 1, 20))
    days = [shop.snapshot(name, Window(day, day + DAYS), window.end) for day in window]
    order = [(TABLES[name].key, "ascending"), *([("updated_at", "ascending")] if name == "products" else [])]
    assert shop.snapshot(name, window, window.end).equals(pa.concat_tables(days).sort_by(order))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("seed", "scale"), [(6, 0.5), (2**40, 0.05)])
def test_a_record_never_depends_on_the_day_it_is_seen(name: str, seed: int, scale: float) -> None:
    """Records that have not changed for two years are the same, column for column."""
    shop, earlier, later = Shop(date(2021, 1, 1), seed, scale), date(2021, 9, 1), date(2023, 9, 1)
    window = Window(shop.start, earlier)
    before, after = (shop.snapshot(name, window, as_of) for as_of in (earlier, later))
    assert after.num_rows > 0
    with duckdb.connect() as database:
        database.register("before", before)
        database.register("after", after)
        assert database.execute("select * from after except all select * from before").fetchall() == []


@given(name=st.sampled_from(list(TABLES)), shares=st.integers(2, 9), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_shares_divide_the_keys(name: str, shares: int, seed: int) -> None:
    shop, window = Shop(date(2023, 10, 1), seed=seed, scale=0.2), Window(date(2023, 10, 1), date(2023, 12, 1))
    key = TABLES[name].key
    whole = shop.snapshot(name, window, window.end)
    for share in range(shares):
        piece = shop.snapshot(name, window, window.end, share, shares)
        remainders = whole[key].to_numpy() % shares
        assert piece.equals(whole.filter(pa.array(remainders == share)))


@pytest.mark.parametrize("name", TABLES)
def test_days_before_opening_and_after_as_of_are_empty(name: str) -> None:
    shop = Shop(date(2023, 1, 1), scale=0.1)
    assert shop.snapshot(name, Window(date(2020, 1, 1), shop.start), date(2023, 6, 1)).equals(
        TABLES[name].shop_schema.empty_table()
    )
    wide = shop.snapshot(name, Window(date(2020, 1, 1), date(2030, 1, 1)), date(2023, 4, 1))
    assert wide.equals(shop.snapshot(name, Window(shop.start, date(2023, 4, 1)), date(2023, 4, 1)))
    assert shop.counts(name, Window(date(2020, 1, 1), shop.start), shop.start) == {}


@pytest.mark.parametrize(("scale", "as_of"), [(0.05, date(2024, 6, 1)), (1.0, PERIOD.end), (12.0, date(2023, 6, 1))])
@pytest.mark.parametrize("name", TABLES)
def test_counts_are_near_enough_to_plan_with(name: str, scale: float, as_of: date) -> None:
    shop = Shop(date(2023, 1, 1), scale=scale)
    window = Window(shop.start, as_of)
    counts = shop.counts(name, window, as_of)
    limit = max(20, sum(counts.values()) // 5)
    for chunk in plan_chunks(name, counts, window, limit):
        rows = shop.snapshot(name, chunk.window, as_of, chunk.share, chunk.shares).num_rows
        assert rows <= 1.25 * limit + 20


def test_the_same_everywhere() -> None:
    """Every table, hashed in processes whose own hashing differs."""
    program = """
import hashlib
import os
from datetime import date
from tasks.shop.shop import Shop
from tasks.tables import TABLES
from tasks.window import Window
shop = Shop(date(2023, 11, 1), seed=11, scale=0.3)
window = Window(date(2023, 11, 1), date(2024, 1, 15))
for name in reversed(TABLES) if os.environ["PYTHONHASHSEED"] == "1" else TABLES:
    print(name, hashlib.sha256(repr(shop.snapshot(name, window, window.end).to_pylist()).encode()).hexdigest())
print(shop.identity())
"""
    printed = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        printed.append(sorted(done.stdout.splitlines()))
    assert printed[0] == printed[1]
    assert len(printed[0]) == 9


def test_other_parameters_make_another_shop() -> None:
    window, seen = Window(date(2023, 3, 1), date(2023, 4, 1)), set()
    for shop in (
        REFERENCE,
        Shop(date(2023, 1, 1), seed=43),
        Shop(date(2023, 1, 2)),
        Shop(date(2023, 1, 1), scale=1.01),
    ):
        orders = shop.snapshot("orders", window, window.end)
        seen.add((shop.identity(), hashlib.sha256(repr(orders.to_pylist()).encode()).hexdigest()))
    assert len({identity for identity, _ in seen}) == len({digest for _, digest in seen}) == 4
    assert REFERENCE.identity() == f"seed=42 scale=1.0 start=2023-01-01 version={REFERENCE.version}"
    assert Shop(date(2023, 1, 1), scale=1).identity() == REFERENCE.identity()


@pytest.mark.parametrize("scale", [0, -1, 1e-9, 1001, float("nan"), float("inf")])
def test_a_scale_that_cannot_be_made_is_refused(scale: float) -> None:
    with pytest.raises(ParameterError, match="scale"):
        Shop(date(2023, 1, 1), scale=scale)


# The shape of the business.


def test_sizes_follow_the_scale(business: Market) -> None:
    scale = business.shop.scale
    expected = {"customers": 4_000, "orders": 19_000, "order_items": 57_000, "reviews": 11_000, "interactions": 600_000}
    for name, rows in expected.items():
        assert business.tables[name].num_rows == pytest.approx(rows * scale, rel=0.04), name
    assert (business.tables["categories"].num_rows, business.tables["subcategories"].num_rows) == (5, 25)
    products = business.number("select count(distinct product_id) from products")
    assert products == pytest.approx(1_000 * scale**0.5, rel=0.02)
    sessions = business.number("select count(distinct session_id) from interactions")
    assert sessions == pytest.approx(190_000 * scale, rel=0.04)
    assert business.number("select count(*) / count(distinct product_id) from products") == pytest.approx(40, rel=0.2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["customers", "orders", "order_items", "reviews", "interactions"])
def test_counts_are_proportional_to_scale(name: str, seed: int) -> None:
    window = Window(date(2023, 1, 1), date(2023, 7, 1))
    small, large = (Shop(window.start, seed, scale).snapshot(name, window, window.end).num_rows for scale in (0.5, 4.0))
    assert large / small == pytest.approx(8, rel=0.08)


@pytest.mark.parametrize("seed", SEEDS)
def test_products_grow_with_the_square_root_of_the_scale(seed: int) -> None:
    window = Window(date(2023, 1, 1), date(2023, 1, 3))
    small, large = (
        pc.count_distinct(
            Shop(window.start, seed, scale).snapshot("products", window, window.end)["product_id"]
        ).as_py()
        for scale in (1.0, 16.0)
    )
    assert large / small == pytest.approx(4, rel=0.02)


def test_volume_follows_the_calendar(business: Market) -> None:
    daily = "(select order_date::date as day, count(*) as n from orders group by all)"
    usual = business.number(f"select median(n) from {daily} where month(day) in (9, 10) and year(day) = 2024")
    assert business.number(f"select n from {daily} where day = date '2024-11-29'") > 2 * usual
    assert business.number(f"select avg(n) from {daily} where day between '2024-12-15' and '2024-12-21'") > 1.4 * usual
    assert business.number(f"select n from {daily} where day = date '2024-12-25'") < 0.8 * usual
    weekend, weekday = (
        business.number(f"select avg(n) from {daily} where month(day) < 11 and isodow(day) {days}")
        for days in ("> 5", "< 5")
    )
    assert 1.08 < weekend / weekday < 1.35
    years = [business.number(f"select sum(n) from {daily} where year(day) = {year}") for year in (2023, 2024)]
    assert 1.2 < years[1] / years[0] < 2
    evening, night = (
        business.number(f"select count(*) from interactions where hour(event_date) between {hours}")
        for hours in ("19 and 21", "2 and 4")
    )
    assert evening > 8 * night


def test_line_values_do_not_follow_the_calendar(business: Market) -> None:
    average = "select avg(total_price) from order_items where {} "
    usual = business.number(average.format("month(created_at) < 11"))
    assert business.number(average.format("month(created_at) >= 11")) == pytest.approx(usual, rel=0.12)


def test_few_products_bring_most_revenue(business: Market) -> None:
    share = """
        with revenue as (select product_id, sum(total_price) as r from order_items group by all),
        ranked as (select r, row_number() over (order by r desc) as place from revenue),
        catalogue as (select count(distinct product_id) as n from products)
        select sum(r) filter (where place <= 0.2 * n) / sum(r) from ranked, catalogue"""
    assert 0.6 < business.number(share) < 0.95
    units = share.replace("sum(total_price)", "sum(quantity)")
    assert 0.5 < business.number(units) < 0.9


def test_most_customers_buy_rarely_and_few_often(business: Market) -> None:
    bought = (
        "(select customer_id, count(order_id) as n from customers left join orders using (customer_id) group by all)"
    )
    assert business.number(f"select median(n) from {bought}") <= 3
    assert 0.03 < business.number(f"select avg((n = 0)::int) from {bought}") < 0.4
    assert business.number(f"select quantile_cont(n, 0.98) from {bought}") > 15
    assert business.number(f"select max(n) from {bought}") < 200
    assert 0.05 < business.number("select avg((not is_active)::int) from customers") < 0.4


def test_demographics_hang_together(business: Market) -> None:
    by_degree = business.rows(
        f"""select avg(annual_income) from customers where age between 35 and 64
        group by education order by list_position({list(EDUCATIONS)}, education)"""
    )
    assert by_degree == sorted(by_degree)
    assert len(by_degree) == 5
    young, old = (
        business.number(
            f"select avg((preferred_channel in ('Mobile App', 'Social Media'))::int) from customers where {ages}"
        )
        for ages in ("age < 30", "age > 60")
    )
    assert young > 2 * old
    single, widowed = (
        business.number(f"select avg(age) from customers where marital_status = '{status}'")
        for status in ("Single", "Widowed")
    )
    assert widowed - single > 15
    assert business.number("select min(annual_income) from customers") > 10_000
    assert business.number("select max(annual_income) from customers") < 400_000


def test_spend_follows_income_and_stays_plausible(business: Market) -> None:
    spent = "(select annual_income as income, customer_id, total_amount from orders join customers using (customer_id))"
    poor, rich = (
        business.number(f"select avg(total_amount) from {spent} where income {incomes}")
        for incomes in ("< 35000", "> 110000")
    )
    assert 1.3 < rich / poor < 4
    assert 60 < business.number("select median(total_amount) from orders") < 300
    assert business.number("select max(total_amount) from orders") < 30_000
    yearly = f"(select sum(total_amount) / 2.08 / any_value(income) as part from {spent} group by customer_id)"
    assert business.number(f"select quantile_cont(part, 0.99) from {yearly}") < 0.5


def test_prices_fit_their_subcategory(market: Market) -> None:
    ranges = {kind.name: kind.dollars for kind in SUBCATEGORIES}
    for number, low, high in market.rows(
        "select subcategory_id, min(base_price), max(base_price) from products group by all"
    ):
        least, most = ranges[SUBCATEGORIES[int(str(number)) - 1].name]
        assert least <= float(str(low)) <= float(str(high)) < most
    phones, stands = ranges["Smartphones"], ranges["Phone Accessories"]
    assert stands[1] <= phones[0] * 0.7, "a phone at the largest discount costs more than any accessory"


@pytest.mark.parametrize("seed", SEEDS)
def test_stock_scales_with_demand(seed: int) -> None:
    window = Window(date(2023, 6, 1), date(2023, 7, 1))
    small, large = (
        pc.mean(Shop(date(2023, 1, 1), seed, scale).snapshot("products", window, window.end)["stock_quantity"]).as_py()
        for scale in (1.0, 64.0)
    )
    assert large > 3 * small


def test_stock_follows_popularity(business: Market) -> None:
    assert (
        business.number("""select corr(stock, sold) from
        (select product_id, avg(stock_quantity) as stock from products group by all)
        join (select product_id, sum(quantity) as sold from order_items group by all) using (product_id)""")
        > 0.7
    )


def test_reviews_are_mostly_good_and_mostly_verified(business: Market) -> None:
    assert 0.6 < business.number("select avg((review_score >= 4)::int) from reviews") < 0.85
    assert 0.03 < business.number("select avg((review_score = 1)::int) from reviews") < 0.15
    assert 0.9 < business.number("select avg(verified_purchase::int) from reviews") < 1
    unhappy, usual = (
        business.number(f"select avg(review_score) from reviews join orders using (order_id) where status = '{status}'")
        for status in ("Returned", "Delivered")
    )
    assert unhappy < usual - 1


def test_names_are_changed_rarely(business: Market) -> None:
    for name, renamed in (("categories", 1), ("subcategories", 2)):
        assert business.number(f"select count(*) from {name} where updated_at > created_at") == renamed


def test_every_noun_is_in_use(reference: Market) -> None:
    names = " ".join(reference.tables["products"]["product_name"].to_pylist())
    assert [noun for noun in NOUNS if noun not in names] == []


# What it costs: hashes are counted instead of seconds.


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of values of every hash that is asked for."""
    sizes: list[int] = []
    real = random.bits

    def counted(seed: int, stream: str, ids: random.Ints) -> random.Bits:
        sizes.append(len(ids))
        return real(seed, stream, ids)

    monkeypatch.setattr(random, "bits", counted)
    return sizes


@pytest.mark.parametrize("name", ["customers", "orders", "order_items", "reviews", "interactions"])
def test_a_day_costs_a_day(name: str, hashed: list[int]) -> None:
    shop, costs = Shop(date(2005, 1, 1), scale=0.5), []
    for age in (4_000, 7_500):  # growth has ended, so that both windows are alike in volume
        as_of = date((shop.start + age * DAYS).year, 6, 1)
        hashed.clear()
        records = shop.snapshot(name, Window(as_of - 30 * DAYS, as_of), as_of)
        costs.append(sum(hashed) / records.num_rows)
    assert costs[1] < 1.15 * costs[0]


def test_hashes_are_evenly_spread() -> None:
    values = random.bits(1, "test", np.arange(200_000))
    assert len(np.unique(values)) == len(values)
    for part in (values, random.lower(values)):
        counted = np.bincount(random.below(part, 100), minlength=100)
        assert counted.min() > 1_750
        assert counted.max() < 2_250
    assert abs(np.corrcoef(random.below(values, 1000), random.below(random.lower(values), 1000))[0, 1]) < 0.01


def test_examples_in_docstrings() -> None:
    modules = [
        importlib.import_module(f"tasks.shop.{found.name}") for found in pkgutil.iter_modules(tasks.shop.__path__)
    ]
    results = [doctest.testmod(module) for module in modules]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 10

"""What the shop report tells, read from the marts: every number is a sum over rows of one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

YEAR = timedelta(days=365)
BEST = 10
"""How many products the report names."""

Query = Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]]
"""A warehouse's `query`: the rows of a statement whose parameters are bound to question marks."""


class Total(NamedTuple):
    """Sums over a range of days; revenue is gross, without the orders that were cancelled."""

    orders: int
    cancelled: int
    revenue: Decimal

    @property
    def order_value(self) -> Decimal:
        """Revenue per order that was not cancelled; 0 without any."""
        return self.revenue / max(self.orders - self.cancelled, 1)


class Month(NamedTuple):
    """One calendar month (UTC), by its first day."""

    start: date
    orders: int
    revenue: Decimal


class CategoryMonth(NamedTuple):
    """What one category brought in one month."""

    category: str
    start: date
    revenue: Decimal


class Hour(NamedTuple):
    """Orders of one hour (UTC, 0 to 23) of one weekday (1 = Monday)."""

    weekday: int
    hour: int
    orders: int


class Funnel(NamedTuple):
    """Sessions, and how many of them held a view, a product put into the cart, a purchase."""

    sessions: int
    views: int
    cart_adds: int
    purchases: int


class Cohort(NamedTuple):
    """Of the `size` customers who first ordered in the month `start`, those who ordered `months` later."""

    start: date
    months: int
    size: int
    customers: int


class Product(NamedTuple):
    """One product's sales."""

    name: str
    category: str
    units: int
    revenue: Decimal


@dataclass(frozen=True)
class Sales:
    """The shop up to `as_of` (exclusive): months and cohorts since its opening, the rest since `since`.

    `before` are the sums over as many days before `since`, None if the shop was not open through all of them.
    """

    as_of: date
    since: date
    total: Total
    before: Total | None
    months: tuple[Month, ...]
    categories: tuple[CategoryMonth, ...]
    hours: tuple[Hour, ...]
    funnel: Funnel
    cohorts: tuple[Cohort, ...]
    products: tuple[Product, ...]

    def is_whole(self, month: date) -> bool:
        """Whether the month that begins on that day is over."""
        return next_month(month) <= self.as_of


def next_month(start: date) -> date:
    """The first day of the month after the one that begins on `start`."""
    return (start + timedelta(days=31)).replace(day=1)


_OPENING = "select min(date_day) from marts.dim_dates"

_TOTAL = """
select coalesce(sum(orders), 0), coalesce(sum(cancelled_orders), 0), coalesce(sum(gross_revenue), 0)
from marts.fct_sales_by_date where order_date >= ? and order_date < ?
"""
_MONTHS = """
select month_start, sum(orders), sum(gross_revenue)
from marts.fct_sales_by_date inner join marts.dim_dates on order_date = date_day
group by month_start order by month_start
"""
_CATEGORIES = """
select coalesce(category_name, 'Unknown'), month_start, sum(sales.gross_revenue)
from marts.fct_sales_by_product as sales
inner join marts.dim_dates on order_date = date_day
left join marts.dim_products as products on sales.product_id = products.product_id
group by 1, 2 order by 1, 2
"""
_HOURS = """
select weekday, extract(hour from ordered_at), count(*)
from marts.fct_customer_orders inner join marts.dim_dates on order_date = date_day
where order_date >= ? group by 1, 2 order by 1, 2
"""
_FUNNEL = """
select
    coalesce(sum(sessions), 0), coalesce(sum(sessions_with_views), 0),
    coalesce(sum(sessions_with_cart_adds), 0), coalesce(sum(sessions_with_purchases), 0)
from marts.fct_conversion_funnel where session_date >= ?
"""
_COHORTS = """
select cohort_month, months_since, cohort_size, customers
from marts.fct_cohort_retention order by cohort_month, months_since
"""
_PRODUCTS = """
select
    coalesce(max(product_name), 'Unknown'), coalesce(max(category_name), 'Unknown'),
    sum(sales.units), sum(sales.gross_revenue) as revenue
from marts.fct_sales_by_product as sales
left join marts.dim_products as products on sales.product_id = products.product_id
where order_date >= ? group by sales.product_id order by revenue desc, sales.product_id limit ?
"""


def read_sales(query: Query, as_of: date) -> Sales:
    """Read the report's numbers from marts that were built as of `as_of`."""
    ((opening,),) = query(_OPENING, ())
    opening = opening or as_of
    since = max(opening, as_of - YEAR)
    return Sales(
        as_of,
        since,
        total=_total(query, since, as_of),
        before=_total(query, since - YEAR, since) if opening <= since - YEAR else None,
        months=tuple(Month(start, int(orders), revenue) for start, orders, revenue in query(_MONTHS, ())),
        categories=tuple(CategoryMonth(*row) for row in query(_CATEGORIES, ())),
        hours=tuple(Hour(*map(int, row)) for row in query(_HOURS, (since,))),
        funnel=Funnel(*map(int, query(_FUNNEL, (since,))[0])),
        cohorts=tuple(Cohort(row[0], *map(int, row[1:])) for row in query(_COHORTS, ())),
        products=tuple(Product(row[0], row[1], int(row[2]), row[3]) for row in query(_PRODUCTS, (since, BEST))),
    )


def _total(query: Query, start: date, end: date) -> Total:
    ((orders, cancelled, revenue),) = query(_TOTAL, (start, end))
    return Total(int(orders), int(cancelled), Decimal(revenue))

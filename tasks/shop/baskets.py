"""Baskets: what each order holds. The one source of order items, order totals and purchase events."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from tasks.shop.goods import changes_at, make_goods, pick_products, sale_prices
from tasks.shop.people import tiers
from tasks.shop.random import Ints, Tickets, deal_by, tickets
from tasks.shop.sessions import Sessions
from tasks.shop.world import World

LINE_BITS = 4
MOST_LINES = 8
CHEAP, MIDDLING = 3_000, 10_000
"""Cents below which a product is often, and sometimes, bought by the pair."""


@dataclass(frozen=True, eq=False)
class Baskets:
    """Lines of orders, ascending by order and line.

    `rows` are positions of the orders asked for, `lines` numbers within the order (with gaps), `prices` cents a unit.
    """

    rows: Ints
    lines: Ints
    products: Ints
    quantities: Ints
    prices: Ints

    @property
    def per_order(self) -> Ints:
        """The number of lines of each order; every order has one at least."""
        return np.bincount(self.rows)

    @property
    def subtotals(self) -> Ints:
        """Cents per order."""
        first = np.flatnonzero(np.diff(self.rows, prepend=-1))
        return np.add.reduceat(self.quantities * self.prices, first) if len(first) else first


@cache
def _line_counts() -> tuple[Tickets, ...]:
    by_tier = (
        (31, 26, 19, 11, 7, 3, 2, 1),
        (23, 24, 20, 14, 9, 6, 3, 1),
        (17, 21, 22, 16, 11, 7, 4, 2),
        (13, 18, 21, 17, 13, 9, 6, 3),
    )
    return tuple(tickets((0, *weights)) for weights in by_tier)


@cache
def _quantities() -> tuple[Tickets, ...]:
    by_price = ((66, 24, 7, 3), (84, 13, 3), (97, 3))
    return tuple(tickets((0, *weights)) for weights in by_price)


@cache
def _leanings() -> tuple[Tickets, ...]:
    """By tier, whether the cheaper (0), the first (1) or the dearer (2) of two products is taken."""
    return tickets((55, 45, 0)), tickets((15, 80, 5)), tickets((0, 70, 30)), tickets((0, 45, 55))


def fill_baskets(world: World, orders: Ints, sessions: Sessions) -> Baskets:
    """The baskets of orders, each placed in the session at the same position."""
    tier = tiers(world, sessions.customers)
    wanted = deal_by(world.bits("basket.lines", orders), _line_counts(), tier)
    rows = np.repeat(np.arange(len(orders)), wanted)
    lines = np.arange(len(rows)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    keys = orders[rows] << LINE_BITS | lines
    products = _choices(world, keys, tier[rows], sessions, rows)
    kept = np.flatnonzero(~_repeated(rows, products))
    rows, lines, products, keys = rows[kept], lines[kept], products[kept], keys[kept]
    prices = sale_prices(world, products, changes_at(world, products, sessions.instants[rows]))
    dearness = (prices >= CHEAP).astype(np.int64) + (prices >= MIDDLING)
    quantities = deal_by(world.bits("basket.quantity", keys), _quantities(), dearness)
    return Baskets(rows, lines, products, quantities, prices)


def _choices(world: World, keys: Ints, tier: Ints, sessions: Sessions, rows: Ints) -> Ints:
    """One of two popular products, by how much the customer can spend."""
    days, instants = sessions.days[rows], sessions.instants[rows]
    first = pick_products(world, "basket.first", keys, days, instants)
    second = pick_products(world, "basket.second", keys, days, instants)
    leaning = deal_by(world.bits("basket.leaning", keys), _leanings(), tier) - 1
    prices = make_goods(world).prices
    return np.where((prices[second - 1] - prices[first - 1]) * leaning > 0, second, first)


def _repeated(rows: Ints, products: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether an earlier line of the same order has the product."""
    repeated = np.zeros(len(rows), np.bool_)
    for back in range(1, MOST_LINES):
        repeated[back:] |= (rows[back:] == rows[:-back]) & (products[back:] == products[:-back])
    return repeated

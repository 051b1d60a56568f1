"""What the shop sells: the fixed side of every product, its changes over time, and which product is picked."""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from tasks.shop.calendar import DAY, NEVER
from tasks.shop.popularity import TICKET_BITS, popular, rotation
from tasks.shop.random import Ints, Tickets, below, deal, lower, micros, tickets
from tasks.shop.vocabulary import SUBCATEGORIES
from tasks.shop.world import World

PERIOD_DAYS = 15
PERIOD = PERIOD_DAYS * DAY
SHORTEST_LIFE, LONGEST_LIFE = 8, 80
"""Lives, in changes of PERIOD_DAYS each."""
ENDING_PERCENT = 30
EVERGREEN_PART = 6
CHANGE_BITS = 16
DISCOUNTS = np.array((0, 0, 0, 5, 10, 10, 15, 20, 25, 30))
ENDINGS = np.array((0, 49, 95, 99))
DOLLARS = np.array([kind.dollars for kind in SUBCATEGORIES])
GRAMS = np.array([kind.grams for kind in SUBCATEGORIES])


@dataclass(frozen=True, eq=False)
class Goods:
    """Arrays by product_id - 1 of every product launched so far.

    `kinds` are positions in SUBCATEGORIES; `launches` and `ends` (NEVER for most) instants in microseconds; `lives` the
    number of the change that takes the product out of sale; `prices` (base) and `costs` cents, `weights` grams.
    """

    kinds: Ints
    launches: Ints
    lives: Ints
    ends: Ints
    prices: Ints
    costs: Ints
    weights: Ints


@lru_cache(maxsize=4)
def make_goods(world: World) -> Goods:
    """Everything launched up to the world's `as_of`: a few thousand products at most scales, made in a millisecond."""
    ids = np.arange(1, world.products.totals[-1] + 1)
    kinds = deal(world.bits("product.kind", ids), _kinds())
    launches = world.products.instants(ids, world.products.days(ids))
    lives = _lives(world, ids)
    ending = np.flatnonzero(lives < NEVER)
    ends = np.full(len(ids), NEVER)
    ends[ending] = launches[ending] + _elapsed(world, ids[ending], lives[ending])
    prices = _prices(world, ids, kinds)
    costs = prices * (32 + below(world.bits("product.cost", ids), 31)) // 100
    weights = _between(world, "product.weight", ids, GRAMS[kinds])
    return Goods(kinds, launches, lives, ends, prices, costs, weights)


@cache
def _kinds() -> Tickets:
    return tickets([kind.launches for kind in SUBCATEGORIES], 4096)


def _between(world: World, stream: str, ids: Ints, limits: Ints) -> Ints:
    """Numbers in [lowest, highest), the lower ones more often: the smaller of two draws."""
    hashes = world.bits(stream, ids)
    room = limits[:, 1] - limits[:, 0]
    drawn: Ints = np.minimum(below(hashes, room), below(lower(hashes), room))
    return limits[:, 0] + drawn


def _prices(world: World, ids: Ints, kinds: Ints) -> Ints:
    endings = ENDINGS[below(world.bits("product.ending", ids), len(ENDINGS))]
    cents: Ints = _between(world, "product.price", ids, DOLLARS[kinds]) * 100 + endings
    return cents


def _lives(world: World, ids: Ints) -> Ints:
    hashes = world.bits("product.life", ids)
    ending = (below(hashes, 100) < ENDING_PERCENT) & (ids > evergreen(world))
    return np.where(ending, SHORTEST_LIFE + below(lower(hashes), LONGEST_LIFE - SHORTEST_LIFE), NEVER)


def evergreen(world: World) -> int:
    """How many of the first products stay on sale for ever."""
    return max(1, int(world.products.totals[1]) // EVERGREEN_PART)


def _elapsed(world: World, products: Ints, changes: Ints) -> Ints:
    """Microseconds from launch to the change of that number; the launch is number 0.

    Change k comes at k periods and a part of one, so that the change in force is found without looking at the others.
    """
    late = micros(world.bits("product.change", products << CHANGE_BITS | changes), PERIOD_DAYS * 86_400)
    elapsed: Ints = changes * PERIOD + np.where(changes == 0, 0, late)
    return elapsed


def changed_at(world: World, products: Ints, changes: Ints) -> Ints:
    """The instant of each product's change of that number."""
    return make_goods(world).launches[products - 1] + _elapsed(world, products, changes)


def changes_at(world: World, products: Ints, instants: Ints) -> Ints:
    """The number of the change in force for each product at each instant, between its launch and its end."""
    passed = instants - make_goods(world).launches[products - 1]
    changes = passed // PERIOD
    return changes - (_elapsed(world, products, changes) > passed)


def sale_prices(world: World, products: Ints, changes: Ints) -> Ints:
    """Cents that each product costs from its change of that number on; the full price at launch."""
    hashes = world.bits("product.discount", products << CHANGE_BITS | changes)
    percent = np.where(changes == 0, 0, DISCOUNTS[below(hashes, len(DISCOUNTS))])
    prices = make_goods(world).prices[products - 1]
    return prices - prices * percent // 100


def pick_products(world: World, stream: str, ids: Ints, days: Ints, instants: Ints) -> Ints:
    """For each id a product launched before the day and on sale at the instant, popular ones more often."""
    hashes = world.bits(stream, ids)
    counts = world.products.totals[days]
    tickets = lower(hashes)
    picked = popular(tickets, below(hashes, counts), counts, rotation(world, "product.rotation"))
    lasting = below(tickets << TICKET_BITS, evergreen(world))
    return 1 + np.where(make_goods(world).ends[picked] > instants, picked, lasting)

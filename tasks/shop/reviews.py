"""Reviews: about one in five delivered items gets one, some days after delivery. They never change.

One of them:

>>> from datetime import date
>>> from tasks.shop.shop import Shop
>>> january = Window(date(2023, 1, 1), date(2023, 2, 1))
>>> records = Shop(date(2023, 1, 1)).snapshot("reviews", january, january.end)
>>> for column, value in records.slice(2, 1).to_pylist()[0].items():
...     print(f"{column}: {value}")
review_id: 32
product_id: 340
order_id: 2
customer_id: 66
review_score: 2
review_text: Only partly happy. Silk Scarf: came apart after the first wash.
review_date: 2023-01-22 02:18:23.551635
helpful_votes: 3
verified_purchase: True
created_at: 2023-01-22 02:18:23.551635
updated_at: 2023-01-22 02:18:23.551635
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from tasks.shop.baskets import fill_baskets
from tasks.shop.calendar import NEVER
from tasks.shop.columns import Values, instants, joined, labels, record_table, texts, whole
from tasks.shop.goods import make_goods
from tasks.shop.order_items import item_ids
from tasks.shop.orders import DELIVERY_DAYS, make_lifecycle
from tasks.shop.products import CATEGORY_OF_KIND, nouns
from tasks.shop.random import Ints, Tickets, below, deal, deal_by, lower, micros, tickets
from tasks.shop.sessions import make_sessions, order_sessions, orders_placed
from tasks.shop.vocabulary import CATEGORIES, OPENINGS, VERDICTS
from tasks.shop.world import World, in_share, micros_of
from tasks.window import Window

REVIEWED_PERCENT = 21
REVIEWS_PER_1000_SESSIONS = 58
VERIFIED_PERCENT = 97
SHORTEST_WAIT, LONGEST_WAIT = 86_400, 20 * 86_400
"""Seconds from delivery to review."""
REACH_DAYS = DELIVERY_DAYS + 21
USUAL_DAYS = 17
"""Days from order to review: at most, and usually."""
UNHAPPY = 3
MOOD_OF_SCORE = np.array((0, 0, 1, 2, 2))


@dataclass(frozen=True, eq=False)
class _Reviews:
    """Arrays by review: its id, the order with its customer, the product, the instant, and whether it is sent back."""

    keys: Ints
    orders: Ints
    customers: Ints
    products: Ints
    written: Ints
    sent_back: Ints


def snapshot(world: World, window: Window, share: int, shares: int) -> pa.Table:
    """The reviews written in `window`, by review_id."""
    found = _reviews(world, window, share, shares)
    scores = _scores(world, found)
    votes, posted = world.bits("review.votes", found.keys), instants(found.written)
    return record_table(
        "reviews",
        {
            "review_id": whole(found.keys),
            "product_id": whole(found.products),
            "order_id": whole(found.orders),
            "customer_id": whole(found.customers),
            "review_score": whole(scores + 1),
            "review_text": _texts(world, found, scores),
            "review_date": posted,
            "helpful_votes": whole(below(votes, 9) * below(lower(votes), 9) // 5),
            "verified_purchase": pa.array(below(world.bits("review.verified", found.keys), 100) < VERIFIED_PERCENT),
            "created_at": posted,
            "updated_at": posted,
        },
    )


def counts(world: World, window: Window) -> Ints:
    """About how many reviews were written on each day of `window`."""
    return world.volume(window, REVIEWS_PER_1000_SESSIONS, USUAL_DAYS)


@cache
def _score_tables() -> tuple[Tickets, ...]:
    """Scores from 0 to 4, for products from poor to very good, and for what is sent back later."""
    poor, usual, good, unhappy = (12, 14, 20, 30, 24), (4, 6, 13, 34, 43), (2, 3, 8, 30, 57), (40, 30, 18, 8, 4)
    return tuple(tickets(weights) for weights in (poor, usual, good, unhappy))


@cache
def _levels() -> Tickets:
    return tickets((15, 50, 35))


def _written(world: World, keys: Ints, delivered: Ints) -> Ints:
    """The instant at which each item would be reviewed, NEVER for most."""
    waits = SHORTEST_WAIT * 1_000_000 + micros(world.bits("review.wait", keys), LONGEST_WAIT - SHORTEST_WAIT)
    reviewed = (below(world.bits("review.exists", keys), 100) < REVIEWED_PERCENT) & (delivered < NEVER)
    return np.where(reviewed, delivered + waits, NEVER)


def _reviews(world: World, window: Window, share: int, shares: int) -> _Reviews:
    orders = orders_placed(world, world.stretched(window, REACH_DAYS))
    sessions = make_sessions(world, order_sessions(world, orders))
    baskets = fill_baskets(world, orders, sessions)
    keys = item_ids(orders[baskets.rows], baskets.lines)
    lifecycle = make_lifecycle(world, orders, sessions.instants)
    written, returned = _written(world, keys, lifecycle.delivered[baskets.rows]), lifecycle.returned[baskets.rows]
    first, last = micros_of(window)
    taken = np.flatnonzero((written >= first) & (written < last) & (written < returned))
    taken = taken[in_share(keys[taken], share, shares)]
    rows = baskets.rows[taken]
    sent_back = (returned[taken] < NEVER).astype(np.int64)
    return _Reviews(
        keys[taken], orders[rows], sessions.customers[rows], baskets.products[taken], written[taken], sent_back
    )


def _scores(world: World, found: _Reviews) -> Ints:
    """Scores from 0 to 4: a product has its level, and what is about to be sent back displeases."""
    level = deal(world.bits("product.quality", found.products), _levels())
    table = np.where(found.sent_back == 1, UNHAPPY, level)
    return deal_by(world.bits("review.score", found.keys), _score_tables(), table)


def _texts(world: World, found: _Reviews, scores: Ints) -> Values:
    """ "Happy with it. Phone Stand: works perfectly out of the box." """
    hashes = world.bits("review.text", found.keys)
    openings = texts([opening for score in OPENINGS for opening in score])
    verdicts = texts([verdict for category in CATEGORIES for mood in VERDICTS[category] for verdict in mood])
    category = CATEGORY_OF_KIND[make_goods(world).kinds[found.products - 1]]
    opening = labels(openings, scores * 4 + below(hashes, 4))
    verdict = labels(verdicts, category * 9 + MOOD_OF_SCORE[scores] * 3 + below(lower(hashes), 3))
    return joined(opening, " ", nouns(world, found.products), ": ", verdict, ".")

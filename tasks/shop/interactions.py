"""Interactions: what happens in sessions: views, searches, carts and purchases.

A session opens with one of a few patterns. In a session that ends in an order, every item is then viewed and put into
the cart, and all are purchased in the session's last instant, which is the order's.

One of them:

>>> from datetime import date
>>> from tasks.shop.shop import Shop
>>> january = Window(date(2023, 1, 1), date(2023, 2, 1))
>>> records = Shop(date(2023, 1, 1)).snapshot("interactions", january, january.end)
>>> for column, value in records.slice(2, 1).to_pylist()[0].items():
...     print(f"{column}: {value}")
event_id: 129
customer_id: 449
product_id: 548
event_type: cart_add
event_date: 2023-01-02 01:27:25.589648
device_type: mobile
session_id: bfb4262e1addfb20
created_at: 2023-01-02 01:27:25.589648
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from tasks.shop.baskets import Baskets, fill_baskets
from tasks.shop.columns import hexadecimal, instants, labels, record_table, texts, whole
from tasks.shop.goods import pick_products
from tasks.shop.random import Ints, Tickets, below, deal, lower, tickets
from tasks.shop.sessions import Sessions, in_blocks, make_sessions, order_sessions, orders_of
from tasks.shop.world import World, in_share
from tasks.window import Window

EVENT_BITS = 6
DIGIT_BITS = 3
SESSIONS_AT_ONCE = 1 << 15
"""Sessions made at once: their 100,000 events in arrays of 0.8 MB stay within a processor's cache."""
EVENT_TYPES = ("view", "search", "cart_add", "cart_remove", "purchase")
VIEW, SEARCH, ADD, PURCHASE = 0, 1, 2, 4
DEVICES = ("mobile", "desktop", "tablet")
DEVICE_WEIGHTS = (56, 36, 8)
OWN_DEVICE_PERCENT = 75
PATTERNS = {
    "V1": 52,
    "V1 V2": 50,
    "S0 V1": 38,
    "V1 V2 V3": 26,
    "S0 V1 V2": 22,
    "V1 A1": 15,
    "V1 V2 A2": 10,
    "V1 A1 R1": 8,
    "S0": 7,
    "S0 V1 A1 V2": 7,
    "V1 V2 V3 V4": 9,
    "S0 V1 V2 V3 V4": 6,
    "V1 A1 V2 A2 R1": 6,
}
"""How often sessions begin with which events; the digit tells the session's products apart."""
LEAST_GAP, MOST_GAP = 12_000_000, 60_000_000
"""Microseconds between the events of a session: 21 steps of a minute keep the longest session below 24 minutes."""
EVENTS_PER_1000_SESSIONS = 3_180


@dataclass(frozen=True, eq=False)
class _Patterns:
    """The patterns one after the other: where each starts, how long it is, its events and their product's digit."""

    drawn: Tickets
    starts: Ints
    lengths: Ints
    types: Ints
    digits: Ints


@dataclass(frozen=True, eq=False)
class _Visits:
    """Sessions with the pattern that each opens with, the number of events in it, and the number of items it buys."""

    sessions: Sessions
    patterns: Ints
    lengths: Ints
    items: Ints


@dataclass(frozen=True, eq=False)
class _Events:
    """Arrays by event, ascending by session: position of its session, number in it, type, product_id (0 for none)."""

    rows: Ints
    numbers: Ints
    types: Ints
    products: Ints

    def take(self, positions: Ints) -> "_Events":
        """The events at those positions, in their order."""
        return _Events(*(array[positions] for array in (self.rows, self.numbers, self.types, self.products)))


def snapshot(world: World, window: Window, share: int, shares: int) -> pa.Table:
    """The events of the sessions in `window`, by event_id."""
    blocks = in_blocks(world.sessions.ids(window), SESSIONS_AT_ONCE)
    return pa.concat_tables([_block(world, numbers, share, shares) for numbers in blocks]).combine_chunks()


def counts(world: World, window: Window) -> Ints:
    """About how many events happen on each day of `window`."""
    return world.volume(window, EVENTS_PER_1000_SESSIONS)


@cache
def _patterns() -> _Patterns:
    events = [pattern.split() for pattern in PATTERNS]
    flat = [event for pattern in events for event in pattern]
    lengths = np.array([len(pattern) for pattern in events])
    return _Patterns(
        tickets(tuple(PATTERNS.values())),
        np.cumsum(lengths) - lengths,
        lengths,
        np.array(["VSAR".index(event[0]) for event in flat]),
        np.array([int(event[1]) for event in flat]),
    )


@cache
def _device_tickets() -> Tickets:
    return tickets(DEVICE_WEIGHTS)


def _block(world: World, numbers: Ints, share: int, shares: int) -> pa.Table:
    sessions = make_sessions(world, numbers)
    orders = orders_of(numbers)
    ordering = np.flatnonzero(order_sessions(world, orders) == numbers)
    baskets = fill_baskets(world, orders[ordering], sessions.take(ordering))
    items = np.zeros_like(numbers)
    items[ordering] = baskets.per_order
    patterns = deal(world.bits("session.pattern", numbers), _patterns().drawn)
    visits = _Visits(sessions, patterns, _patterns().lengths[patterns], items)
    events = _events(world, visits, baskets)
    if shares > 1:
        events = events.take(in_share(_keys(visits, events), share, shares))
    return _records(world, visits, events)


def _keys(visits: _Visits, events: _Events) -> Ints:
    return visits.sessions.numbers[events.rows] << EVENT_BITS | events.numbers


def _events(world: World, visits: _Visits, baskets: Baskets) -> _Events:
    """The events of every session's pattern and, after those, of its order."""
    counts = visits.lengths + 3 * visits.items
    starts = np.cumsum(counts) - counts
    rows = np.repeat(np.arange(len(counts)), counts)
    numbers = np.arange(len(rows)) - starts[rows]
    types, products = np.empty_like(rows), np.empty_like(rows)
    opening = np.flatnonzero(numbers < visits.lengths[rows])
    types[opening], products[opening] = _opening(world, visits, rows[opening], numbers[opening])
    places = _places(baskets, starts + visits.lengths, visits.items)
    for place, event in zip(places, (VIEW, ADD, PURCHASE), strict=True):
        types[place], products[place] = event, baskets.products
    return _Events(rows, numbers, types, products)


def _opening(world: World, visits: _Visits, rows: Ints, numbers: Ints) -> tuple[Ints, Ints]:
    """Types and products of the events that open sessions."""
    known, sessions = _patterns(), visits.sessions
    step = known.starts[visits.patterns][rows] + numbers
    types = known.types[step]
    keys = sessions.numbers[rows] << DIGIT_BITS | known.digits[step]
    products = pick_products(world, "session.product", keys, sessions.days[rows], sessions.instants[rows])
    return types, np.where(types == SEARCH, 0, products)


def _places(baskets: Baskets, starts: Ints, items: Ints) -> tuple[Ints, Ints, Ints]:
    """Where each item's view, its way into the cart and its purchase stand among the events.

    `starts` are where the order's part of each session starts: views and carts in turn, then the purchases.
    """
    per_order = items[items > 0]
    bought = np.repeat(per_order, per_order)
    rank = np.arange(len(baskets.rows)) - np.repeat(np.cumsum(per_order) - per_order, per_order)
    start = np.repeat(starts[items > 0], per_order)
    return start + 2 * rank, start + 2 * rank + 1, start + 2 * bought + rank


def _instants(world: World, visits: _Visits, events: _Events, keys: Ints) -> Ints:
    """The session's last instant for its purchases, or else its last event; the others precede it step by step."""
    gaps = LEAST_GAP + below(world.bits("session.gap", visits.sessions.numbers), MOST_GAP - LEAST_GAP)
    last = visits.lengths + 2 * visits.items - (visits.items == 0)
    left = np.maximum(last[events.rows] - events.numbers, 0)
    gap = gaps[events.rows]
    early: Ints = left * gap - np.where(left > 0, below(world.bits("event.instant", keys), gap), 0)
    return visits.sessions.instants[events.rows] - early


def _devices(world: World, sessions: Sessions) -> Ints:
    """Positions in DEVICES: mostly the customer's own, else any."""
    hashes = world.bits("session.device", sessions.numbers)
    own = deal(world.bits("customer.device", sessions.customers), _device_tickets())
    return np.where(below(lower(hashes), 100) < OWN_DEVICE_PERCENT, own, deal(hashes, _device_tickets()))


def _records(world: World, visits: _Visits, events: _Events) -> pa.Table:
    keys, sessions = _keys(visits, events), visits.sessions
    happened = instants(_instants(world, visits, events, keys))
    return record_table(
        "interactions",
        {
            "event_id": whole(keys),
            "customer_id": whole(sessions.customers[events.rows]),
            "product_id": pa.array(events.products, mask=events.types == SEARCH),
            "event_type": labels(texts(EVENT_TYPES), events.types),
            "event_date": happened,
            "device_type": labels(texts(DEVICES), _devices(world, sessions)[events.rows]),
            "session_id": hexadecimal(world.bits("session.id", sessions.numbers)[events.rows]),
            "created_at": happened,
        },
    )

"""Orders: Pending, Processing, Shipped, Delivered; some Cancelled on the way, some Returned afterwards.

One of them:

>>> from datetime import date
>>> from tasks.shop.shop import Shop
>>> january = Window(date(2023, 1, 1), date(2023, 2, 1))
>>> records = Shop(date(2023, 1, 1)).snapshot("orders", january, january.end)
>>> for column, value in records.slice(2, 1).to_pylist()[0].items():
...     print(f"{column}: {value}")
order_id: 3
customer_id: 552
order_date: 2023-01-02 10:09:28.025409
status: Cancelled
total_amount: 91.49
shipping_cost: 0.00
payment_method: Debit Card
shipping_address: 801 Josepha Crescent, Provo, Utah
billing_address: 801 Josepha Crescent, Provo, Utah
created_at: 2023-01-02 10:09:28.025409
updated_at: 2023-01-03 10:44:05.041006
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from tasks.shop.addresses import addresses, city_numbers
from tasks.shop.baskets import fill_baskets
from tasks.shop.calendar import NEVER
from tasks.shop.columns import Values, instants, labels, money, record_table, texts, whole
from tasks.shop.customer_lives import residences
from tasks.shop.random import Ints, Tickets, below, deal, lower, micros, tickets
from tasks.shop.sessions import Sessions, make_sessions, order_sessions, orders_placed
from tasks.shop.world import World, in_share, micros_of, scaled_counts
from tasks.window import Window

STATUSES = ("Pending", "Processing", "Shipped", "Delivered", "Returned", "Cancelled")
STEPS = ((600, 20 * 3_600), (4 * 3_600, 3 * 86_400), (86_400, 7 * 86_400), (2 * 86_400, 29 * 86_400))
"""Least and most seconds to Processing, then to Shipped, to Delivered and to Returned."""
LAG_DAYS = 41
DELIVERY_DAYS = 12
"""Days after which an order no longer changes, and after which it is delivered, if it ever is."""
FATES = (226, 6, 5, 19)
"""Of 256 orders, those delivered for good, cancelled while Pending, cancelled while Processing, returned."""
CANCELLED_EARLY, CANCELLED_LATE, COMES_BACK = 1, 2, 3

PAYMENT_METHODS = ("Credit Card", "Debit Card", "PayPal", "Apple Pay", "Google Pay", "Bank Transfer")
PAYMENT_WEIGHTS = (38, 24, 18, 9, 7, 4)
HABIT_PERCENT = 80
FREE_SHIPPING = 7_500
SHIPPING = np.array((499, 599, 699, 999))
"""Cents, by carrier, for an order below FREE_SHIPPING."""
ELSEWHERE_PERCENT = 8
OTHER_HOUSE = 1 << 52


@dataclass(frozen=True, eq=False)
class Lifecycle:
    """The instant (microseconds, NEVER if it does not come) at which each order enters each status.

    An order leaves Pending for Processing or Cancelled, Processing for Shipped or Cancelled.
    """

    placed: Ints
    processing: Ints
    shipped: Ints
    delivered: Ints
    returned: Ints
    cancelled: Ints

    def latest(self, closing: int) -> tuple[Ints, Ints]:
        """Position in STATUSES, and instant, of each order's last change before `closing`."""
        status, updated = np.zeros(len(self.placed), np.int64), self.placed
        later = (self.processing, self.shipped, self.delivered, self.returned, self.cancelled)
        for number, reached in enumerate(later, start=1):
            happened = reached < closing
            status, updated = np.where(happened, number, status), np.where(happened, reached, updated)
        return status, updated


@cache
def _fates() -> Tickets:
    return tickets(FATES)


@cache
def _payments() -> Tickets:
    return tickets(PAYMENT_WEIGHTS)


def make_lifecycle(world: World, orders: Ints, placed: Ints) -> Lifecycle:
    """What becomes of orders placed at these instants (microseconds)."""
    fate = deal(world.bits("order.fate", orders), _fates())
    reached = [placed]
    for step, (least, most) in enumerate(STEPS):
        waits = least * 1_000_000 + micros(world.bits(f"order.step{step}", orders), most - least)
        reached.append(reached[-1] + waits)
    _, processing, shipped, delivered, returned = reached
    early, late = fate == CANCELLED_EARLY, fate == CANCELLED_LATE
    return Lifecycle(
        placed,
        np.where(early, NEVER, processing),
        np.where(early | late, NEVER, shipped),
        np.where(early | late, NEVER, delivered),
        np.where(fate == COMES_BACK, returned, NEVER),
        np.where(early, processing, np.where(late, shipped, NEVER)),
    )


def snapshot(world: World, window: Window, share: int, shares: int) -> pa.Table:
    """The orders whose last change falls in `window`, by order_id."""
    orders, status, updated = _changed(world, window, share, shares)
    sessions = make_sessions(world, order_sessions(world, orders))
    subtotals = fill_baskets(world, orders, sessions).subtotals
    carriers = below(world.bits("order.carrier", orders), len(SHIPPING))
    shipping = np.where(subtotals >= FREE_SHIPPING, 0, SHIPPING[carriers])
    methods = _payment_methods(world, orders, sessions.customers)
    shipped_to, billed_to = _addresses(world, orders, sessions)
    placed = instants(sessions.instants)
    return record_table(
        "orders",
        {
            "order_id": whole(orders),
            "customer_id": whole(sessions.customers),
            "order_date": placed,
            "status": labels(texts(STATUSES), status),
            "total_amount": money(subtotals + shipping),
            "shipping_cost": money(shipping),
            "payment_method": labels(texts(PAYMENT_METHODS), methods),
            "shipping_address": shipped_to,
            "billing_address": billed_to,
            "created_at": placed,
            "updated_at": instants(updated),
        },
    )


def counts(world: World, window: Window) -> Ints:
    """About how many orders each day of `window` changed last, from the shop at scale 1 at most."""
    sample = world.sample()
    _, _, updated = _changed(sample, window, 0, 1)
    return scaled_counts(world, sample, window, updated)


def _changed(world: World, window: Window, share: int, shares: int) -> tuple[Ints, Ints, Ints]:
    """order_id, status and instant of the last change of the orders for which that falls in `window`."""
    first, last = micros_of(window)
    orders = orders_placed(world, world.stretched(window, LAG_DAYS))
    orders = orders[in_share(orders, share, shares)]
    numbers = order_sessions(world, orders)
    placed = world.sessions.instants(numbers, world.sessions.days(numbers))
    status, updated = make_lifecycle(world, orders, placed).latest(world.closing)
    inside = (updated >= first) & (updated < last)
    return orders[inside], status[inside], updated[inside]


def _payment_methods(world: World, orders: Ints, customers: Ints) -> Ints:
    """Positions in PAYMENT_METHODS: mostly the customer's own, else any."""
    hashes = world.bits("order.payment", orders)
    habits = deal(world.bits("customer.payment", customers), _payments())
    return np.where(below(lower(hashes), 100) < HABIT_PERCENT, habits, deal(hashes, _payments()))


def _addresses(world: World, orders: Ints, sessions: Sessions) -> tuple[Values, Values]:
    """Where each order is sent: the customer's address at that instant; and billed: mostly there too."""
    residence = residences(world, sessions.customers, sessions.instants)
    city = city_numbers(world, residence)
    elsewhere = below(world.bits("order.billing", orders), 100) < ELSEWHERE_PERCENT
    shipped_to = addresses(world, residence, city)
    return shipped_to, addresses(world, np.where(elsewhere, residence | OTHER_HOUSE, residence), city)

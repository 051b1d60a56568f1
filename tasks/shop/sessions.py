"""Sessions: the spine of the shop. Each belongs to one customer; one in ten ends in an order.

Sessions are numbered from 1 in the order of their last instant. That instant is the customer's login and, in a session
that ends in an order, the order's. Of the sessions 1-10 one places order 1, of 11-20 one places order 2, and so on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.shop.customer_lives import closings, loyal
from tasks.shop.popularity import popular, rotation
from tasks.shop.random import Ints, below, lower
from tasks.shop.world import World
from tasks.window import Window

SESSIONS_PER_ORDER = 10
BLOCK = 1 << 17
"""Sessions made at once where many are: 17 arrays of 1 MiB, and no measurable gain above."""


@dataclass(frozen=True, eq=False)
class Sessions:
    """Arrays of one length: session number, day of the shop's life, last instant (microseconds) and customer_id."""

    numbers: Ints
    days: Ints
    instants: Ints
    customers: Ints

    def take(self, positions: Ints) -> "Sessions":
        """The sessions at these positions."""
        return Sessions(*(array[positions] for array in (self.numbers, self.days, self.instants, self.customers)))


def make_sessions(world: World, numbers: Ints) -> Sessions:
    """The sessions of these numbers."""
    days = world.sessions.days(numbers)
    instants = world.sessions.instants(numbers, days)
    return Sessions(numbers, days, instants, _customers(world, numbers, days, instants))


def in_blocks(numbers: Ints, size: int = BLOCK) -> Iterator[Ints]:
    """The numbers in runs of at most `size`; at least one run, which may be empty."""
    return (numbers[first : first + size] for first in range(0, max(len(numbers), 1), size))


def _customers(world: World, numbers: Ints, days: Ints, instants: Ints) -> Ints:
    """Customers who signed up before the day and have not closed their account; recent ones come more often."""
    counts = world.customers.totals[days]
    spots, slots = world.bits("session.customer", numbers), world.bits("session.slot", numbers)
    anyone = below(spots, counts)
    recent = counts - 1 - below(lower(spots), anyone + 1)
    spot = np.where(slots & 3 == 0, anyone, recent)
    picked = 1 + popular(slots, spot, counts, rotation(world, "session.rotation"))
    faithful = 1 + below(lower(slots), loyal(world))
    return np.where(closings(world, picked) > instants, picked, faithful)


def order_sessions(world: World, orders: Ints) -> Ints:
    """The number of the session that places each order."""
    return (orders - 1) * SESSIONS_PER_ORDER + 1 + below(world.bits("order.session", orders), SESSIONS_PER_ORDER)


def orders_of(numbers: Ints) -> Ints:
    """The order that each session places if it places any."""
    return (numbers - 1) // SESSIONS_PER_ORDER + 1


def orders_placed(world: World, window: Window) -> Ints:
    """The order_ids placed in `window`, ascending."""
    totals, start = world.sessions.totals, world.start
    before, until = (int(totals[max((day - start).days, 0)]) for day in (window.start, window.end))
    orders = np.arange(before // SESSIONS_PER_ORDER + 1, -(-until // SESSIONS_PER_ORDER) + 1)
    numbers = order_sessions(world, orders)
    return orders[(numbers > before) & (numbers <= until)]

"""When a customer's account is closed, and where the customer lives; what sessions, orders and customers share."""

import numpy as np

from tasks.shop.calendar import DAY, NEVER
from tasks.shop.random import Ints, below, lower, micros
from tasks.shop.world import World

SHORTEST_DAYS, LONGEST_DAYS = 60, 730
CLOSING_PERCENT = 35
LOYAL_PART = 4


def loyal(world: World) -> int:
    """How many of the first customers never close their account."""
    return max(1, int(world.customers.totals[1]) // LOYAL_PART)


def closings(world: World, customers: Ints) -> Ints:
    """The instant at which each account is closed, NEVER for most; at most 731 days after the day of sign-up."""
    hashes = world.bits("customer.closing", customers)
    leaving = np.flatnonzero((below(hashes, 100) < CLOSING_PERCENT) & (customers > loyal(world)))
    chosen = lower(hashes[leaving])
    stay = SHORTEST_DAYS + below(chosen, LONGEST_DAYS - SHORTEST_DAYS)
    day = world.customers.days(customers[leaving]) + stay
    result = np.full(len(customers), NEVER)
    result[leaving] = (
        world.opening + day * DAY + micros(world.bits("customer.closing.time", customers[leaving]), 86_400)
    )
    return result


def residences(world: World, customers: Ints, instants: Ints) -> Ints:
    """An address number that changes whenever the customer moves, every three to twenty years."""
    hashes = world.bits("customer.move", customers)
    period = 1_000 + below(hashes, 6_000)
    moves = (world.days(instants) + below(lower(hashes), period)) // period
    return customers << 12 | moves

"""Addresses: "street, city, state", by the address number that a residence gives."""

from functools import cache

import numpy as np

from tasks.shop.columns import Values, joined, labels, text
from tasks.shop.random import Ints, Tickets, below, deal, deal_by, lower, tickets
from tasks.shop.vocabulary import cities, large_cities, streets
from tasks.shop.world import World

LOCATION_TYPES = ("Urban", "Suburban", "Rural")


@cache
def _cities() -> Tickets:
    """Large cities own more than half of the tickets, the largest the most."""
    large, every = large_cities(), len(cities()[0])
    return tickets([120 - 2 * place for place in range(large)] + [24] * (every - large), 4096)


@cache
def _location_types() -> tuple[Tickets, ...]:
    return tickets((30, 45, 25)), tickets((72, 25, 3))


def city_numbers(world: World, residence: Ints) -> Ints:
    """Positions in the pools of `cities()`."""
    return deal(world.bits("address.city", residence), _cities())


def location_types(world: World, residence: Ints, city: Ints) -> Ints:
    """Positions in LOCATION_TYPES: large cities are mostly urban."""
    large = (city < large_cities()).astype(np.int64)
    return deal_by(world.bits("address.location", residence), _location_types(), large)


def addresses(world: World, house: Ints, city: Ints) -> Values:
    """One text per house, in the city at that position of the pools."""
    hashes = world.bits("address.street", house)
    pool, (names, states) = streets(), cities()
    street = joined(text(1 + below(lower(hashes), 2_400)), " ", labels(pool, below(hashes, len(pool))))
    return joined(street, ", ", labels(names, city), ", ", labels(states, city))

"""Skewed picks in constant time: a few members of every block of 32 own most of the tickets."""

import numpy as np

from tasks.shop.random import Bits, Ints, below, tickets
from tasks.shop.world import World

BLOCK_BITS = 5
BLOCK = 1 << BLOCK_BITS
SHARES = (
    300,
    170,
    110,
    78,
    58,
    45,
    36,
    30,
    25,
    21,
    18,
    16,
    14,
    12,
    11,
    10,
    *(9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1),
)
TICKET_BITS = np.uint64(10)
TICKETS = tickets(SHARES, 1 << int(TICKET_BITS))
OWNED = np.bincount(TICKETS, minlength=BLOCK)
ROTATIONS = 1 << 10
"""Blocks after which the places of favourites repeat."""


def rotation(world: World, stream: str) -> Ints:
    """Where in each block the favourite stands."""
    return below(world.bits(stream, np.arange(ROTATIONS)), BLOCK)


def popular(hashes: Bits, spots: Ints, counts: Ints, turned: Ints) -> Ints:
    """From uniform `spots` (each below its count), the member of the spot's block that a ticket names.

    In a last, incomplete block the ticket may name nobody; then the spot itself is taken. Uses the hashes' upper bits.
    """
    blocks = spots >> BLOCK_BITS
    slots = TICKETS[hashes >> (np.uint64(64) - TICKET_BITS)]
    members = (blocks << BLOCK_BITS) | ((slots + turned[blocks & (ROTATIONS - 1)]) & (BLOCK - 1))
    return np.where(members < counts, members, spots)


def tickets_owned(members: Ints, turned: Ints) -> Ints:
    """Of 1024 tickets of its block, those that each member (from 0) owns."""
    owned: Ints = OWNED[(members - turned[(members >> BLOCK_BITS) & (ROTATIONS - 1)]) & (BLOCK - 1)]
    return owned

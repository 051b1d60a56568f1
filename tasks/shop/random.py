"""Randomness by address: a value is a hash of (seed, stream, id), so that any record can be made alone, in any order.

From hash to value there are only integers and tables: the same values on every machine.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Bits: TypeAlias = NDArray[np.uint64]
Tickets: TypeAlias = NDArray[np.int16]

HALF = np.uint64(32)
"""Bits in half a hash."""


@lru_cache(maxsize=512)
def salt(seed: int, stream: str) -> int:
    """Where the stream of that name begins in the 64-bit space of addresses."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest(), "little")


def bits(seed: int, stream: str, ids: Ints) -> Bits:
    """One hash of 64 bits per id, different ids of a stream never sharing one.

    The finaliser is that of MurmurHash3 (Appleby, public domain).

    >>> [hex(value) for value in bits(42, "docs", np.arange(2))]
    ['0x6c7f0ff14a5a8b0b', '0xad9f9064e4811114']
    """
    x = ids.astype(np.uint64)
    x += np.uint64(salt(seed, stream))
    x ^= x >> 33
    x *= np.uint64(0xFF51AFD7ED558CCD)
    x ^= x >> 33
    x *= np.uint64(0xC4CEB9FE1A85EC53)
    x ^= x >> 33
    return x


def lower(hashes: Bits) -> Bits:
    """The lower half of each hash in the place of the upper one, for a second draw from the same hashes."""
    return hashes << HALF


def below(hashes: Bits, limit: int | Ints) -> Ints:
    """Integers in [0, limit), from the upper half of each hash. `limit` is at most 2**32."""
    bound = np.uint64(limit) if isinstance(limit, int) else limit.view(np.uint64)
    return (((hashes >> HALF) * bound) >> HALF).view(np.int64)


def micros(hashes: Bits, seconds: int) -> Ints:
    """Microseconds in [0, seconds * 1e6): whole seconds from the upper half of each hash, the rest from the lower."""
    return below(hashes, seconds) * 1_000_000 + below(lower(hashes), 1_000_000)


def tickets(weights: Sequence[int], size: int = 256) -> Tickets:
    """A table of `size` (a power of two) tickets, in which each index owns its weight's part.

    >>> tickets((3, 1), 8).tolist()
    [0, 0, 0, 0, 0, 0, 1, 1]
    """
    ends = np.cumsum(np.array(weights, np.int64)) * size // sum(weights)
    return np.repeat(np.arange(len(weights), dtype=np.int16), np.diff(ends, prepend=0))


def deal(hashes: Bits, table: Tickets) -> Ints:
    """One ticket per hash, drawn with its upper bits."""
    drawn: Ints = table[hashes >> np.uint64(65 - len(table).bit_length())].astype(np.int64)
    return drawn


def deal_by(hashes: Bits, tables: Sequence[Tickets], which: Ints) -> Ints:
    """One ticket per hash out of the table that `which` names; all tables have one size."""
    size = len(tables[0])
    drawn = (hashes >> np.uint64(65 - size.bit_length())).view(np.int64)
    dealt: Ints = np.concatenate(tables)[which * size + drawn].astype(np.int64)
    return dealt

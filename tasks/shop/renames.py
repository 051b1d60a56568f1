"""Names that change once in a shop's life."""

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.shop.calendar import DAY, HOUR
from tasks.shop.random import Ints
from tasks.shop.world import World, micros_of
from tasks.window import Window

TIME_OF_DAY = 9 * HOUR


def latest_names(
    world: World, window: Window, names: Sequence[str], renames: Mapping[int, tuple[int, str]]
) -> tuple[Ints, list[str], Ints]:
    """The ids (from 1, in the order of `names`) whose last change falls in `window`, their names and its instants.

    `renames` gives, by id, the day of the shop's life of the change, which comes at nine o'clock, and the new name.
    """
    first, last = micros_of(window)
    current = []
    for number, name in enumerate(names, start=1):
        day, renamed = renames.get(number, (0, name))
        changed = world.opening + day * DAY + TIME_OF_DAY
        done = number in renames and changed < world.closing
        current.append((number, renamed, changed) if done else (number, name, world.opening))
    found = [record for record in current if first <= record[2] < last]
    ids, updated = (np.array([record[place] for record in found], np.int64) for place in (0, 2))
    return ids, [name for _, name, _ in found], updated

"""Categories: there from the opening midnight on; one is renamed later."""

import numpy as np
import pyarrow as pa

from tasks.shop.columns import instants, labels, record_table, texts, whole
from tasks.shop.random import Ints
from tasks.shop.renames import latest_names
from tasks.shop.vocabulary import CATEGORIES
from tasks.shop.world import World, in_share, scaled_counts
from tasks.window import Window

RENAMES = {3: (420, "Home and Living")}
"""By category_id, the day of the shop's life on which it gets another name."""


def snapshot(world: World, window: Window, share: int, shares: int) -> pa.Table:
    """The categories whose last change falls in `window`, by category_id."""
    ids, names, updated = latest_names(world, window, CATEGORIES, RENAMES)
    taken = in_share(ids, share, shares)
    return record_table(
        "categories",
        {
            "category_id": whole(ids[taken]),
            "category_name": labels(texts(names), taken),
            "created_at": instants(np.full(len(taken), world.opening)),
            "updated_at": instants(updated[taken]),
        },
    )


def counts(world: World, window: Window) -> Ints:
    """How many categories each day of `window` changed last."""
    _, _, updated = latest_names(world, window, CATEGORIES, RENAMES)
    return scaled_counts(world, world, window, updated)

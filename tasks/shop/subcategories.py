"""Subcategories: there from the opening midnight on; a few are renamed later.

One of them:

>>> from datetime import date
>>> from tasks.shop.shop import Shop
>>> january = Window(date(2023, 1, 1), date(2023, 2, 1))
>>> records = Shop(date(2023, 1, 1)).snapshot("subcategories", january, january.end)
>>> for column, value in records.slice(2, 1).to_pylist()[0].items():
...     print(f"{column}: {value}")
subcategory_id: 3
category_id: 1
subcategory_name: Headphones
created_at: 2023-01-01 00:00:00
updated_at: 2023-01-01 00:00:00
"""

import numpy as np
import pyarrow as pa

from tasks.shop.columns import instants, labels, record_table, texts, whole
from tasks.shop.products import CATEGORY_OF_KIND
from tasks.shop.random import Ints
from tasks.shop.renames import latest_names
from tasks.shop.vocabulary import SUBCATEGORIES
from tasks.shop.world import World, in_share, scaled_counts
from tasks.window import Window

NAMES = tuple(kind.name for kind in SUBCATEGORIES)
RENAMES = {3: (190, "Headphones and Earbuds"), 14: (510, "Small Appliances"), 19: (770, "Bottles and Mugs")}
"""By subcategory_id, the day of the shop's life on which it gets another name."""


def snapshot(world: World, window: Window, share: int, shares: int) -> pa.Table:
    """The subcategories whose last change falls in `window`, by subcategory_id."""
    ids, names, updated = latest_names(world, window, NAMES, RENAMES)
    taken = in_share(ids, share, shares)
    return record_table(
        "subcategories",
        {
            "subcategory_id": whole(ids[taken]),
            "category_id": whole(CATEGORY_OF_KIND[ids[taken] - 1] + 1),
            "subcategory_name": labels(texts(names), taken),
            "created_at": instants(np.full(len(taken), world.opening)),
            "updated_at": instants(updated[taken]),
        },
    )


def counts(world: World, window: Window) -> Ints:
    """How many subcategories each day of `window` changed last."""
    _, _, updated = latest_names(world, window, NAMES, RENAMES)
    return scaled_counts(world, world, window, updated)

"""Categories: there from the opening midnight on; one is renamed later.

One of them:

>>> from datetime import date
>>> from tasks.shop.shop import Shop
>>> january = Window(date(2023, 1, 1), date(2023, 2, 1))
>>> records = Shop(date(2023, 1, 1)).snapshot("categories", january, january.end)
>>> for column, value in records.slice(2, 1).to_pylist()[0].items():
...     print(f"{column}: {value}")
category_id: 3
category_name: Home and Kitchen
created_at: 2023-01-01 00:00:00
updated_at: 2023-01-01 00:00:00
"""

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

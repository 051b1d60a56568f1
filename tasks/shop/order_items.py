"""Order items: what an order holds, at the price of its instant. They never change.

One of them:

>>> from datetime import date
>>> from tasks.shop.shop import Shop
>>> january = Window(date(2023, 1, 1), date(2023, 2, 1))
>>> records = Shop(date(2023, 1, 1)).snapshot("order_items", january, january.end)
>>> for column, value in records.slice(2, 1).to_pylist()[0].items():
...     print(f"{column}: {value}")
order_item_id: 18
order_id: 1
product_id: 256
quantity: 1
unit_price: 120.00
total_price: 120.00
created_at: 2023-01-02 06:40:08.231673
updated_at: 2023-01-02 06:40:08.231673
"""

import pyarrow as pa

from tasks.shop.baskets import LINE_BITS, fill_baskets
from tasks.shop.columns import instants, money, record_table, whole
from tasks.shop.random import Ints
from tasks.shop.sessions import make_sessions, order_sessions, orders_placed
from tasks.shop.world import World, in_share
from tasks.window import Window

ITEMS_PER_1000_SESSIONS = 300


def snapshot(world: World, window: Window, share: int, shares: int) -> pa.Table:
    """The items of the orders placed in `window`, by order_item_id."""
    orders = orders_placed(world, window)
    sessions = make_sessions(world, order_sessions(world, orders))
    baskets = fill_baskets(world, orders, sessions)
    keys = item_ids(orders[baskets.rows], baskets.lines)
    taken = in_share(keys, share, shares)
    rows, quantities, prices = (array[taken] for array in (baskets.rows, baskets.quantities, baskets.prices))
    placed = instants(sessions.instants[rows])
    return record_table(
        "order_items",
        {
            "order_item_id": whole(keys[taken]),
            "order_id": whole(orders[rows]),
            "product_id": whole(baskets.products[taken]),
            "quantity": whole(quantities),
            "unit_price": money(prices),
            "total_price": money(quantities * prices),
            "created_at": placed,
            "updated_at": placed,
        },
    )


def counts(world: World, window: Window) -> Ints:
    """About how many items were ordered on each day of `window`."""
    return world.volume(window, ITEMS_PER_1000_SESSIONS)


def item_ids(orders: Ints, lines: Ints) -> Ints:
    """The id of a line of an order, which its review shares."""
    return orders << LINE_BITS | lines

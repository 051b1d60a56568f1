"""Products: a change log. Every launch, change of price or stock, and end of sale is a version of its own.

One of them:

>>> from datetime import date
>>> from tasks.shop.shop import Shop
>>> january = Window(date(2023, 1, 1), date(2023, 2, 1))
>>> records = Shop(date(2023, 1, 1)).snapshot("products", january, january.end)
>>> for column, value in records.slice(2, 1).to_pylist()[0].items():
...     print(f"{column}: {value}")
product_id: 1
category_id: 4
subcategory_id: 20
product_name: Kidd & Co Natural Foam Roller Mini
description: The Natural Foam Roller by Kidd & Co, for all weathers.
brand: Kidd & Co
sku: SPO-YOG-000001
base_price: 39.99
sale_price: 36.00
unit_cost: 19.99
stock_quantity: 7
weight_kg: 2.262
is_active: True
created_at: 2023-01-01 00:28:45.845138
updated_at: 2023-01-31 23:08:01.505935
"""

import numpy as np
import pyarrow as pa

from tasks.shop.columns import Values, instants, joined, labels, money, record_table, text, texts, weight, whole
from tasks.shop.goods import CHANGE_BITS, PERIOD, PERIOD_DAYS, changed_at, make_goods, sale_prices
from tasks.shop.popularity import BLOCK, rotation, tickets_owned
from tasks.shop.random import Ints, below, lower
from tasks.shop.sessions import SESSIONS_PER_ORDER
from tasks.shop.vocabulary import ADJECTIVES, CATEGORIES, LINES, MATERIALS, NOUNS, SUBCATEGORIES, brands
from tasks.shop.world import World, in_share, micros_of
from tasks.window import Window

UNITS_PER_ORDER = 4
CATEGORY_OF_KIND = np.array([CATEGORIES.index(kind.category) for kind in SUBCATEGORIES])


def snapshot(world: World, window: Window, share: int, shares: int) -> pa.Table:
    """Every version that came into force in `window`, by (product_id, updated_at)."""
    ids, changes, changed = _versions(world, window, share, shares)
    goods, place = make_goods(world), ids - 1
    products, inverse = np.unique(ids, return_inverse=True)
    prose = {name: column.take(whole(inverse)) for name, column in _prose(world, products).items()}
    kinds = goods.kinds[place]
    return record_table(
        "products",
        prose
        | {
            "product_id": whole(ids),
            "category_id": whole(CATEGORY_OF_KIND[kinds] + 1),
            "subcategory_id": whole(kinds + 1),
            "base_price": money(goods.prices[place]),
            "sale_price": money(sale_prices(world, ids, changes)),
            "unit_cost": money(goods.costs[place]),
            "stock_quantity": whole(_stock(world, ids, changes, changed)),
            "weight_kg": weight(goods.weights[place]),
            "is_active": pa.array(changes < goods.lives[place]),
            "created_at": instants(goods.launches[place]),
            "updated_at": instants(changed),
        },
    )


def counts(world: World, window: Window) -> Ints:
    """About how many versions each day of `window` has: launches, and one change per product and period."""
    totals = world.products.totals
    days = np.array([(day - world.start).days for day in window])
    versions: Ints = totals[days + 1] - totals[days] + totals[days] // PERIOD_DAYS
    return versions


def _versions(world: World, window: Window, share: int, shares: int) -> tuple[Ints, Ints, Ints]:
    """product_id, number and instant of the changes in `window`."""
    first, last = micros_of(window)
    goods = make_goods(world)
    launched = np.flatnonzero((goods.launches < last) & (goods.ends >= first)) + 1
    launched = launched[in_share(launched, share, shares)]
    launch, life = goods.launches[launched - 1], goods.lives[launched - 1]
    lowest = np.maximum((first - launch) // PERIOD, 0)
    number = np.minimum((last - launch) // PERIOD, life) - lowest + 1
    ids = np.repeat(launched, number)
    changes = np.arange(len(ids)) - np.repeat(np.cumsum(number) - number - lowest, number)
    changed = changed_at(world, ids, changes)
    inside = (changed >= first) & (changed < last)
    return ids[inside], changes[inside], changed[inside]


def _stock(world: World, ids: Ints, changes: Ints, changed: Ints) -> Ints:
    """Units in stock: what two to four periods sell, by the day's volume and the product's popularity, and some."""
    days = np.maximum(world.days(changed), 1)
    sessions = world.sessions.totals[days + 1] - world.sessions.totals[days]
    blocks = -(-world.products.totals[days] // BLOCK)
    sold = sessions * PERIOD_DAYS * UNITS_PER_ORDER // SESSIONS_PER_ORDER
    owned = tickets_owned(ids - 1, rotation(world, "product.rotation"))
    hashes = world.bits("product.stock", ids << CHANGE_BITS | changes)
    stock: Ints = sold * owned * (150 + below(hashes, 300)) // (102_400 * blocks) + 2 + below(lower(hashes), 10)
    return stock


def _prose(world: World, ids: Ints) -> dict[str, Values]:
    """The texts of products, a row per id."""
    kinds = make_goods(world).kinds[ids - 1]
    hashes = world.bits("product.words", ids)
    material = world.bits("product.material", ids)
    makers = brands()
    brand = labels(makers, below(hashes, len(makers)))
    adjective = labels(texts(ADJECTIVES), below(lower(hashes), len(ADJECTIVES)))
    noun = nouns(world, ids)
    line = labels(texts(LINES), below(lower(material), len(LINES)))
    materials = texts([words for category in CATEGORIES for words in MATERIALS[category]])
    detail = labels(materials, CATEGORY_OF_KIND[kinds] * 4 + below(material, 4))
    return {
        "product_name": joined(brand, " ", adjective, " ", noun, line),
        "description": joined("The ", adjective, " ", noun, " by ", brand, ", ", detail, "."),
        "brand": brand,
        "sku": joined(labels(texts(_codes()), kinds), "-", pa.compute.utf8_lpad(text(ids), 6, "0")),
    }


def nouns(world: World, ids: Ints) -> Values:
    """What each product is: "Phone Stand"."""
    kinds = make_goods(world).kinds[ids - 1]
    return labels(texts(NOUNS), kinds * 3 + below(world.bits("product.noun", ids), 3))


def _codes() -> list[str]:
    """The beginning of every SKU, by subcategory: "ELE-SMA"."""
    return [f"{kind.category[:3]}-{kind.name[:3]}".upper() for kind in SUBCATEGORIES]

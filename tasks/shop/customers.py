"""Customers: they sign up, log in (every session is a login), move, marry, and some close their account.

One of them:

>>> from datetime import date
>>> from tasks.shop.shop import Shop
>>> january = Window(date(2023, 1, 1), date(2023, 2, 1))
>>> records = Shop(date(2023, 1, 1)).snapshot("customers", january, january.end)
>>> for column, value in records.slice(2, 1).to_pylist()[0].items():
...     print(f"{column}: {value}")
customer_id: 3
email: trent.fitzgerald3@mail.example.com
first_name: Trent
last_name: Fitzgerald
age: 52
gender: Male
annual_income: 109200.00
marital_status: Married
education: Bachelor
location_type: Urban
city: Eugene
state: Oregon
country: United States
signup_date: 2023-01-01
last_login: 2023-01-01 00:39:45.513518
preferred_channel: Website
is_active: True
created_at: 2023-01-01 00:39:45.513518
updated_at: 2023-01-01 00:39:45.513518
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.shop.addresses import LOCATION_TYPES, city_numbers, location_types
from tasks.shop.calendar import DAY, NEVER
from tasks.shop.columns import Values, dates, instants, joined, labels, money, record_table, text, texts, whole
from tasks.shop.customer_lives import LONGEST_DAYS, closings, residences
from tasks.shop.people import (
    CHANNELS,
    EDUCATIONS,
    MARITAL,
    ages,
    bands,
    channels,
    educations,
    incomes,
    marital_statuses,
)
from tasks.shop.random import Ints, below, lower
from tasks.shop.sessions import in_blocks, make_sessions
from tasks.shop.vocabulary import COUNTRY, DOMAINS, GENDERS, cities, first_names, last_names
from tasks.shop.world import World, in_share, micros_of, scaled_counts
from tasks.window import Window

GENDER_STARTS = np.array((50, 98))
"""Of 100 customers, the first number that is not female, and the first that is neither."""


def snapshot(world: World, window: Window, share: int, shares: int) -> pa.Table:
    """The customers whose last change falls in `window`, by customer_id."""
    ids, updated = _changed(world, window)
    taken = in_share(ids, share, shares)
    ids, updated = ids[taken], updated[taken]
    signed = world.customers.instants(ids, world.customers.days(ids))
    changed = instants(updated)
    created = instants(signed)
    return record_table(
        "customers",
        _names(world, ids)
        | _demographics(world, ids, (updated - signed) // DAY)
        | _place(world, ids, updated)
        | {
            "customer_id": whole(ids),
            "signup_date": dates(signed),
            "last_login": changed,
            "is_active": pa.array(updated < closings(world, ids)),
            "created_at": created,
            "updated_at": changed,
        },
    )


def counts(world: World, window: Window) -> Ints:
    """About how many customers each day of `window` changed last, from the shop at scale 1 at most."""
    sample = world.sample()
    _, updated = _changed(sample, window)
    return scaled_counts(world, sample, window, updated)


def _changed(world: World, window: Window) -> tuple[Ints, Ints]:
    """customer_id and instant of the last change of the customers for which that falls in `window`.

    A change is a sign-up, a session or the closing of the account, so only what happened from the window's start to
    `as_of` is looked at, and the sign-ups whose account can still have been open.
    """
    first, last = micros_of(window)
    latest = np.full(world.customers.totals[-1] + 1, -NEVER)
    signed = world.customers.ids(window)
    latest[signed] = world.customers.instants(signed, world.customers.days(signed))
    since = Window(window.start, world.as_of)
    for numbers in in_blocks(world.sessions.ids(since)):
        sessions = make_sessions(world, numbers)
        latest[sessions.customers] = sessions.instants
    leaving = world.customers.ids(world.stretched(since, LONGEST_DAYS + 1))
    closed = closings(world, leaving)
    gone = closed < world.closing
    latest[leaving[gone]] = closed[gone]
    ids = np.flatnonzero((latest >= first) & (latest < last))
    return ids, latest[ids]


def _names(world: World, ids: Ints) -> dict[str, Values]:
    """Gender, name, and an e-mail address made of the name and the id."""
    hashes, drawn = world.bits("customer.name", ids), world.bits("customer.gender", ids)
    gender = np.searchsorted(GENDER_STARTS, below(drawn, 100), side="right")
    firsts, starts = first_names()
    lasts = last_names()
    pool = np.where(gender < 2, gender, below(lower(drawn), 2))
    sizes = np.diff(starts)
    first = labels(firsts, np.array(starts)[pool] + below(hashes, sizes[pool]))
    last = labels(lasts, below(lower(hashes), len(lasts)))
    mailbox = joined(_ascii(first), ".", _ascii(last), text(ids))
    domain = labels(texts(DOMAINS), below(world.bits("customer.domain", ids), len(DOMAINS)))
    return {
        "first_name": first,
        "last_name": last,
        "gender": labels(texts(GENDERS), gender),
        "email": joined(mailbox, "@", domain),
    }


def _ascii(names: Values) -> Values:
    return pc.replace_substring_regex(pc.utf8_lower(names), "[^a-z]", "")


def _demographics(world: World, ids: Ints, days_since_signup: Ints) -> dict[str, Values]:
    years = ages(world, ids)
    band = bands(years)
    return {
        "age": whole(years),
        "annual_income": money(incomes(world, ids)),
        "education": labels(texts(EDUCATIONS), educations(world, ids, band)),
        "marital_status": labels(texts(MARITAL), marital_statuses(world, ids, band, days_since_signup)),
        "preferred_channel": labels(texts(CHANNELS), channels(world, ids, band, days_since_signup)),
    }


def _place(world: World, ids: Ints, updated: Ints) -> dict[str, Values]:
    """Where each customer lives as of the change."""
    residence = residences(world, ids, updated)
    city = city_numbers(world, residence)
    names, states = cities()
    return {
        "location_type": labels(texts(LOCATION_TYPES), location_types(world, residence, city)),
        "city": labels(names, city),
        "state": labels(states, city),
        "country": labels(texts([COUNTRY]), np.zeros_like(ids)),
    }

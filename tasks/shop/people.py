"""Who the customers are: demographics that hang together, each a function of the customer alone."""

from functools import cache

import numpy as np

from tasks.shop.random import Ints, Tickets, below, deal, deal_by, lower, tickets
from tasks.shop.world import World

YOUNGEST = 18
AGE_WEIGHTS = (*range(20, 62, 3), *range(62, 20, -1), *(18, 16, 14, 12, 10, 8, 6))
BAND_STARTS = np.array((22, 26, 35, 50, 65))
"""Ages at which the second of six bands and those after it begin."""
EDUCATIONS = ("High School", "Some College", "Bachelor", "Master", "Doctorate")
MARITAL = ("Single", "Married", "Divorced", "Widowed")
CHANNELS = ("Mobile App", "Website", "Email", "Social Media")
INCOME = np.array(
    (
        (22_000, 28_000, 34_000, 42_000, 45_000, 30_000),
        (24_000, 32_000, 41_000, 52_000, 55_000, 36_000),
        (30_000, 43_000, 58_000, 78_000, 84_000, 52_000),
        (36_000, 48_000, 70_000, 98_000, 108_000, 66_000),
        (40_000, 52_000, 82_000, 122_000, 136_000, 84_000),
    )
)
"""Dollars a year in the middle, by education and age band."""
TIER_STARTS = np.array((4_000_000, 7_000_000, 11_000_000))
"""Yearly income in cents at which the second spending tier and those after it begin."""


@cache
def _ages() -> Tickets:
    return tickets(AGE_WEIGHTS, 4096)


@cache
def _educations() -> tuple[Tickets, ...]:
    students, graduates = (56, 44, 0, 0, 0), (30, 32, 35, 3, 0)
    older = ((25, 24, 34, 14, 3), (26, 24, 32, 14, 4), (32, 25, 27, 12, 4), (42, 24, 21, 10, 3))
    return tuple(tickets(weights) for weights in (students, graduates, *older))


@cache
def _marital() -> tuple[Tickets, ...]:
    younger = ((97, 3, 0, 0), (86, 13, 1, 0), (50, 45, 5, 0))
    older = ((24, 60, 15, 1), (14, 61, 20, 5), (8, 55, 15, 22))
    return tuple(tickets(weights) for weights in (*younger, *older))


@cache
def _channels() -> tuple[Tickets, ...]:
    younger = ((52, 14, 3, 31), (52, 18, 5, 25), (46, 28, 9, 17))
    older = ((33, 42, 17, 8), (19, 50, 27, 4), (9, 52, 37, 2))
    return tuple(tickets(weights) for weights in (*younger, *older))


def ages(world: World, customers: Ints) -> Ints:
    """Years of age at sign-up."""
    return YOUNGEST + deal(world.bits("customer.age", customers), _ages())


def bands(years: Ints) -> Ints:
    """The age band, 0 to 5."""
    return np.searchsorted(BAND_STARTS, years, side="right")


def educations(world: World, customers: Ints, band: Ints) -> Ints:
    """Positions in EDUCATIONS."""
    return deal_by(world.bits("customer.education", customers), _educations(), band)


def incomes(world: World, customers: Ints) -> Ints:
    """Cents a year, in whole hundreds of dollars: by education and age, from 60% to 160% of the middle."""
    band = bands(ages(world, customers))
    hashes = world.bits("customer.income", customers)
    percent = 60 + below(hashes, 51) + below(lower(hashes), 51)
    cents: Ints = INCOME[educations(world, customers, band), band] * percent // 10_000 * 10_000
    return cents


def tiers(world: World, customers: Ints) -> Ints:
    """Spending tier by income, 0 to 3."""
    return np.searchsorted(TIER_STARTS, incomes(world, customers), side="right")


def marital_statuses(world: World, customers: Ints, band: Ints, days_since_signup: Ints) -> Ints:
    """Positions in MARITAL. Some who sign up single marry within the years that follow."""
    hashes = world.bits("customer.marital", customers)
    status = deal_by(hashes, _marital(), band)
    wedding = below(lower(hashes), 6_000)
    return np.where((status == 0) & (wedding < days_since_signup), 1, status)


def channels(world: World, customers: Ints, band: Ints, days_since_signup: Ints) -> Ints:
    """Positions in CHANNELS; some change their mind once a year."""
    habits = deal_by(world.bits("customer.channel", customers), _channels(), band)
    moods = world.bits("customer.channel.year", customers << 8 | days_since_signup // 365)
    return np.where(below(lower(moods), 100) < 15, deal_by(moods, _channels(), band), habits)

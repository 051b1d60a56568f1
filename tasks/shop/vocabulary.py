"""The words of the shop: pools of names, places and goods, from mimesis with a fixed seed or written here.

A pool is a pyarrow array of texts; hashes pick positions in it. Pools are built when first asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from mimesis import Generic, Locale
from mimesis.enums import Gender

from tasks.shop.columns import Values, texts

POOL_SEED = 20_230_101
GENDERS = ("Female", "Male", "Non-binary")
DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "post.example.org")
COUNTRY = "United States"

LARGE_CITIES = """
New York, New York; Los Angeles, California; Chicago, Illinois; Houston, Texas; Phoenix, Arizona
Philadelphia, Pennsylvania; San Antonio, Texas; San Diego, California; Dallas, Texas; Austin, Texas
Jacksonville, Florida; San Jose, California; Fort Worth, Texas; Columbus, Ohio; Charlotte, North Carolina
Indianapolis, Indiana; San Francisco, California; Seattle, Washington; Denver, Colorado; Oklahoma City, Oklahoma
Nashville, Tennessee; Boston, Massachusetts; Portland, Oregon; Las Vegas, Nevada; Detroit, Michigan
Memphis, Tennessee; Louisville, Kentucky; Baltimore, Maryland; Milwaukee, Wisconsin; Albuquerque, New Mexico
Kansas City, Missouri; Atlanta, Georgia; Miami, Florida; Omaha, Nebraska; Minneapolis, Minnesota
New Orleans, Louisiana
"""
SMALL_CITIES = """
Boise, Idaho; Spokane, Washington; Tacoma, Washington; Eugene, Oregon; Salem, Oregon; Reno, Nevada; Provo, Utah
Salt Lake City, Utah; Fort Collins, Colorado; Boulder, Colorado; Santa Fe, New Mexico; Tucson, Arizona; Mesa, Arizona
Fresno, California; Sacramento, California; Santa Cruz, California; Honolulu, Hawaii; Anchorage, Alaska
Billings, Montana; Missoula, Montana; Cheyenne, Wyoming; Fargo, North Dakota; Sioux Falls, South Dakota
Lincoln, Nebraska; Wichita, Kansas; Topeka, Kansas; Tulsa, Oklahoma; Norman, Oklahoma; El Paso, Texas; Lubbock, Texas
Waco, Texas; Des Moines, Iowa; Cedar Rapids, Iowa; Madison, Wisconsin; Green Bay, Wisconsin; Duluth, Minnesota
Saint Paul, Minnesota; Rockford, Illinois; Peoria, Illinois; Springfield, Missouri; Columbia, Missouri
Little Rock, Arkansas; Fayetteville, Arkansas; Baton Rouge, Louisiana; Shreveport, Louisiana; Jackson, Mississippi
Birmingham, Alabama; Mobile, Alabama; Huntsville, Alabama; Savannah, Georgia; Athens, Georgia; Tampa, Florida
Orlando, Florida; Tallahassee, Florida; Charleston, South Carolina; Greenville, South Carolina
Raleigh, North Carolina; Durham, North Carolina; Asheville, North Carolina; Richmond, Virginia; Norfolk, Virginia
Charleston, West Virginia; Lexington, Kentucky; Knoxville, Tennessee; Chattanooga, Tennessee; Cincinnati, Ohio
Dayton, Ohio; Toledo, Ohio; Fort Wayne, Indiana; South Bend, Indiana; Grand Rapids, Michigan; Ann Arbor, Michigan
Lansing, Michigan; Pittsburgh, Pennsylvania; Erie, Pennsylvania; Scranton, Pennsylvania; Wilmington, Delaware
Annapolis, Maryland; Newark, New Jersey; Trenton, New Jersey; Buffalo, New York; Rochester, New York; Albany, New York
Syracuse, New York; Hartford, Connecticut; New Haven, Connecticut; Providence, Rhode Island; Worcester, Massachusetts
Lowell, Massachusetts; Manchester, New Hampshire; Burlington, Vermont; Portland, Maine; Bangor, Maine
"""


@dataclass(frozen=True)
class Subcategory:
    """One kind of goods: its dollars and grams as [lowest, highest), how often it is launched, what it is called."""

    category: str
    name: str
    dollars: tuple[int, int]
    grams: tuple[int, int]
    launches: int
    nouns: tuple[str, str, str]


SUBCATEGORIES = (
    Subcategory("Electronics", "Smartphones", (249, 1199), (140, 240), 4, ("Smartphone", "5G Phone", "Compact Phone")),
    Subcategory("Electronics", "Laptops", (449, 1999), (900, 2900), 3, ("Laptop", "Ultrabook", "Notebook")),
    Subcategory("Electronics", "Headphones", (19, 329), (30, 350), 6, ("Headphones", "Earbuds", "Headset")),
    Subcategory(
        "Electronics", "Phone Accessories", (5, 69), (20, 300), 9, ("Phone Stand", "Phone Case", "Wall Charger")
    ),
    Subcategory("Electronics", "Smart Home", (15, 199), (60, 900), 5, ("Smart Plug", "Smart Bulb", "Thermostat")),
    Subcategory("Clothing", "Shirts", (9, 59), (120, 350), 9, ("T-Shirt", "Polo Shirt", "Linen Shirt")),
    Subcategory("Clothing", "Jeans", (29, 119), (450, 900), 6, ("Slim Jeans", "Straight Jeans", "Cropped Jeans")),
    Subcategory("Clothing", "Jackets", (49, 279), (400, 1800), 4, ("Rain Jacket", "Down Jacket", "Denim Jacket")),
    Subcategory("Clothing", "Shoes", (39, 199), (400, 1400), 6, ("Sneakers", "Boots", "Loafers")),
    Subcategory("Clothing", "Belts and Scarves", (9, 69), (80, 400), 5, ("Leather Belt", "Wool Scarf", "Silk Scarf")),
    Subcategory("Home and Kitchen", "Cookware", (15, 199), (400, 4500), 5, ("Frying Pan", "Stock Pot", "Baking Tray")),
    Subcategory(
        "Home and Kitchen", "Furniture", (59, 699), (3000, 40000), 3, ("Bookshelf", "Side Table", "Desk Chair")
    ),
    Subcategory("Home and Kitchen", "Bedding", (19, 179), (500, 4000), 5, ("Duvet", "Pillow", "Sheet Set")),
    Subcategory("Home and Kitchen", "Appliances", (25, 299), (900, 9000), 4, ("Kettle", "Toaster", "Blender")),
    Subcategory(
        "Home and Kitchen", "Lighting", (12, 149), (300, 4000), 5, ("Desk Lamp", "Floor Lamp", "Pendant Light")
    ),
    Subcategory(
        "Sports and Outdoors", "Fitness", (9, 249), (300, 20000), 5, ("Dumbbell Set", "Kettlebell", "Jump Rope")
    ),
    Subcategory("Sports and Outdoors", "Camping", (15, 349), (200, 6000), 4, ("Tent", "Sleeping Bag", "Camp Stove")),
    Subcategory("Sports and Outdoors", "Cycling", (12, 249), (80, 2500), 4, ("Bike Helmet", "Bike Light", "Bike Pump")),
    Subcategory(
        "Sports and Outdoors", "Bottles", (8, 45), (90, 600), 6, ("Water Bottle", "Insulated Flask", "Travel Mug")
    ),
    Subcategory("Sports and Outdoors", "Yoga", (9, 99), (200, 3000), 4, ("Yoga Mat", "Yoga Block", "Foam Roller")),
    Subcategory("Beauty and Care", "Skin Care", (6, 89), (40, 400), 8, ("Face Cream", "Serum", "Sunscreen")),
    Subcategory("Beauty and Care", "Hair Care", (5, 59), (150, 900), 7, ("Shampoo", "Conditioner", "Hair Mask")),
    Subcategory("Beauty and Care", "Fragrances", (19, 149), (150, 500), 4, ("Eau de Parfum", "Cologne", "Body Mist")),
    Subcategory(
        "Beauty and Care", "Oral Care", (4, 119), (30, 500), 5, ("Electric Toothbrush", "Toothpaste", "Mouthwash")
    ),
    Subcategory("Beauty and Care", "Makeup", (5, 69), (10, 200), 6, ("Lipstick", "Mascara", "Foundation")),
)
CATEGORIES = tuple(dict.fromkeys(kind.category for kind in SUBCATEGORIES))
NOUNS = tuple(noun for kind in SUBCATEGORIES for noun in kind.nouns)
ADJECTIVES = (
    *("Classic", "Essential", "Everyday", "Premium", "Signature", "Compact", "Light", "Modern", "Original", "Pure"),
    *("Natural", "Urban", "Active", "Select", "Prime", "Bold", "Soft", "Bright", "Solid", "Fine"),
)
LINES = ("", " One", " Plus", " II", " Mini", " Studio", " Eco", " XL")
MATERIALS = {
    "Electronics": (
        "with a two-year warranty",
        "with fast charging",
        "with a recycled aluminum body",
        "with easy set-up",
    ),
    "Clothing": ("in organic cotton", "with a relaxed fit", "that keeps its color", "made to last"),
    "Home and Kitchen": (
        "that is easy to clean",
        "with a five-year warranty",
        "in a timeless design",
        "made of oak and steel",
    ),
    "Sports and Outdoors": (
        "for all weathers",
        "that packs small",
        "tested on long trips",
        "for beginners and experts",
    ),
    "Beauty and Care": ("for sensitive skin", "free of parabens", "with a fresh scent", "in a refillable pack"),
}
OPENINGS = (
    ("Very disappointed.", "Would not buy again.", "A waste of money.", "Not what I ordered it for."),
    ("Not great.", "I expected more.", "Below average.", "Only partly happy."),
    ("It is okay.", "Average.", "Neither good nor bad.", "Does the job."),
    ("Good value.", "Happy with it.", "Nearly perfect.", "Would recommend."),
    ("Excellent!", "Love it.", "Exactly what I wanted.", "Could not be happier."),
)
"""By score, from 1 to 5."""
VERDICTS = {
    "Electronics": (
        ("stopped working within a week", "does not hold a charge", "feels cheap and runs hot"),
        ("works, but the set-up took an hour", "is fine for the price, no more", "does what it says most of the time"),
        ("works perfectly out of the box", "is fast and well built", "looks and feels first class"),
    ),
    "Clothing": (
        ("came apart after the first wash", "does not fit at all", "looks nothing like the picture"),
        ("fits, but the fabric is thin", "runs a little small", "is comfortable, the color less so"),
        ("fits beautifully", "feels soft and well made", "still looks new after many washes"),
    ),
    "Home and Kitchen": (
        ("arrived with a crack", "broke on the second day", "is flimsy and hard to clean"),
        ("is a bit smaller than I thought", "works but marks easily", "is fine for occasional use"),
        ("is sturdy and easy to clean", "looks great in our home", "gets used every single day"),
    ),
    "Sports and Outdoors": (
        ("failed on the first trip", "leaks and smells of glue", "is not safe to use"),
        ("is alright for beginners", "is heavier than expected", "does its job on short trips"),
        ("held up in heavy rain", "is light and tough", "made training a pleasure"),
    ),
    "Beauty and Care": (
        ("irritated my skin", "has an awful smell", "does nothing at all"),
        ("is pleasant but does not last", "works slowly", "is nice, though the pack is small"),
        ("feels wonderful", "made a difference in days", "smells great and lasts"),
    ),
}
"""By category: what is said at scores of 1 and 2, at 3, and at 4 and 5."""


def _unique(make: Callable[[], str], draws: int) -> list[str]:
    return list(dict.fromkeys(make() for _ in range(draws)))


def _words() -> Generic:
    """A generator of its own for each pool, so that pools do not depend on the order in which they are asked for."""
    return Generic(locale=Locale.EN, seed=POOL_SEED)


@cache
def first_names() -> tuple[Values, tuple[int, ...]]:
    """Female names, then male names, and where each gender of GENDERS starts and the last ends."""
    words = _words()
    female = _unique(lambda: words.person.first_name(gender=Gender.FEMALE), 1_500)
    male = _unique(lambda: words.person.first_name(gender=Gender.MALE), 1_500)
    return texts(female + male), (0, len(female), len(female) + len(male))


@cache
def last_names() -> Values:
    """About a thousand family names."""
    person = _words().person
    return texts(_unique(person.last_name, 8_000))


@cache
def streets() -> Values:
    """Street names such as "Huron Crescent"."""
    address = _words().address
    return texts(_unique(lambda: f"{address.street_name()} {address.street_suffix()}", 2_000))


@cache
def brands() -> Values:
    """Invented makers of goods: a family name, some with a trade behind it."""
    person = _words().person
    names = _unique(person.last_name, 400)[:240]
    trades = ("", " & Co", "", " Works", " Home", "", " Supply", " Labs")
    return texts([name + trades[position % len(trades)] for position, name in enumerate(names)])


@cache
def cities() -> tuple[Values, Values]:
    """Cities and the state of each, the large ones first."""
    places = (f"{LARGE_CITIES};{SMALL_CITIES}").strip().replace("\n", ";").split(";")
    pairs = [place.strip().split(", ") for place in places if place.strip()]
    return texts([city for city, _ in pairs]), texts([state for _, state in pairs])


def large_cities() -> int:
    """How many of the cities are large."""
    return LARGE_CITIES.count(",")


def all_pools() -> tuple[Values, ...]:
    """Every pool that mimesis had a hand in, to tell one version of the shop from another."""
    return first_names()[0], last_names(), streets(), brands()

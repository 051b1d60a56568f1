"""The eight tables, declared once: columns, types, key, cursor, home and parents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

import pyarrow as pa


class Type(Enum):
    """What a column holds; the value is its Arrow type in the shop."""

    INTEGER = pa.int64()
    TEXT = pa.string()
    BOOLEAN = pa.bool_()
    DATE = pa.date32()
    INSTANT = pa.timestamp("us")
    MONEY = pa.decimal128(12, 2)
    WEIGHT = pa.decimal128(12, 3)


class Home(Enum):
    """The system that a table is written to by the shop."""

    JSON = "json"
    POSTGRES = "postgres"


@dataclass(frozen=True)
class Column:
    """One business column. `nullable` is what the shop may leave empty; another producer may leave any but the key."""

    name: str
    type: Type
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One entity of the shop. The first column is the key; `parents` maps a foreign key to the table it points to."""

    name: str
    home: Home
    columns: tuple[Column, ...]
    parents: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False

    @property
    def key(self) -> str:
        """The column that identifies a record; it is never NULL."""
        return self.columns[0].name

    @property
    def cursors(self) -> tuple[str, ...]:
        """The columns that date a record's last change, most telling first: the first that is not NULL counts."""
        names = {column.name for column in self.columns}
        return tuple(name for name in ("updated_at", "created_at") if name in names)

    @property
    def shop_schema(self) -> pa.Schema:
        """Arrow schema of what the shop makes: instants as UTC microseconds without a zone, money as decimals."""
        return pa.schema([(column.name, column.type.value) for column in self.columns])

    @property
    def history_schema(self) -> pa.Schema:
        """Arrow schema of the business columns in extracted, history and raw: what came as text stays text."""
        return pa.schema([(column.name, self._stored(column.type)) for column in self.columns])

    def _stored(self, kind: Type) -> pa.DataType:
        from_text = self.home is Home.JSON and kind in (Type.DATE, Type.INSTANT)
        return pa.string() if from_text else kind.value

    def column(self, name: str) -> Column | None:
        """The declared column of that name, or None for a column that only a feed knows."""
        return next((column for column in self.columns if column.name == name), None)


def _table(name: str, home: Home, columns: str, parents: dict[str, str] | None = None, *, whole: bool = False) -> Table:
    """Read a table from lines of `column TYPE`, where `TYPE?` may be NULL."""
    split = (line.split() for line in columns.strip().splitlines())
    parsed = tuple(Column(name, Type[kind.rstrip("?")], kind.endswith("?")) for name, kind in split)
    return Table(name, home, parsed, MappingProxyType(parents or {}), whole)


_ALL = (
    _table(
        "categories",
        Home.POSTGRES,
        """
        category_id INTEGER
        category_name TEXT
        created_at INSTANT
        updated_at INSTANT
        """,
        whole=True,
    ),
    _table(
        "subcategories",
        Home.POSTGRES,
        """
        subcategory_id INTEGER
        category_id INTEGER
        subcategory_name TEXT
        created_at INSTANT
        updated_at INSTANT
        """,
        {"category_id": "categories"},
        whole=True,
    ),
    _table(
        "customers",
        Home.JSON,
        """
        customer_id INTEGER
        email TEXT
        first_name TEXT
        last_name TEXT
        age INTEGER
        gender TEXT
        annual_income MONEY
        marital_status TEXT
        education TEXT
        location_type TEXT
        city TEXT
        state TEXT
        country TEXT
        signup_date DATE
        last_login INSTANT
        preferred_channel TEXT
        is_active BOOLEAN
        created_at INSTANT
        updated_at INSTANT
        """,
    ),
    _table(
        "products",
        Home.JSON,
        """
        product_id INTEGER
        category_id INTEGER
        subcategory_id INTEGER
        product_name TEXT
        description TEXT
        brand TEXT
        sku TEXT
        base_price MONEY
        sale_price MONEY
        unit_cost MONEY
        stock_quantity INTEGER
        weight_kg WEIGHT
        is_active BOOLEAN
        created_at INSTANT
        updated_at INSTANT
        """,
        {"category_id": "categories", "subcategory_id": "subcategories"},
    ),
    _table(
        "orders",
        Home.JSON,
        """
        order_id INTEGER
        customer_id INTEGER
        order_date INSTANT
        status TEXT
        total_amount MONEY
        shipping_cost MONEY
        payment_method TEXT
        shipping_address TEXT
        billing_address TEXT
        created_at INSTANT
        updated_at INSTANT
        """,
        {"customer_id": "customers"},
    ),
    _table(
        "order_items",
        Home.POSTGRES,
        """
        order_item_id INTEGER
        order_id INTEGER
        product_id INTEGER
        quantity INTEGER
        unit_price MONEY
        total_price MONEY
        created_at INSTANT
        updated_at INSTANT
        """,
        {"order_id": "orders", "product_id": "products"},
    ),
    _table(
        "reviews",
        Home.JSON,
        """
        review_id INTEGER
        product_id INTEGER
        order_id INTEGER
        customer_id INTEGER
        review_score INTEGER
        review_text TEXT
        review_date INSTANT
        helpful_votes INTEGER
        verified_purchase BOOLEAN
        created_at INSTANT
        updated_at INSTANT
        """,
        {"product_id": "products", "order_id": "orders", "customer_id": "customers"},
    ),
    _table(
        "interactions",
        Home.POSTGRES,
        """
        event_id INTEGER
        customer_id INTEGER
        product_id INTEGER?
        event_type TEXT
        event_date INSTANT
        device_type TEXT
        session_id TEXT
        created_at INSTANT
        """,
        {"customer_id": "customers", "product_id": "products"},
    ),
)

TABLES: Mapping[str, Table] = MappingProxyType({table.name: table for table in _ALL})
"""Every table by name; parents come before children."""


def enforced_parents(table: Table) -> Mapping[str, Table]:
    """The foreign keys of `table` that Postgres itself enforces, because the table they point to lives there too."""
    if table.home is not Home.POSTGRES:
        return {}
    parents = {column: TABLES[name] for column, name in table.parents.items()}
    return {column: parent for column, parent in parents.items() if parent.home is Home.POSTGRES}

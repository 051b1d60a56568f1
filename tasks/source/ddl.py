"""The shop's Postgres tables as SQL: what is created, and how rows are written."""

from psycopg2 import sql

from tasks.tables import TABLES, Column, Home, Table, Type, enforced_parents

POSTGRES_TABLES = tuple(table for table in TABLES.values() if table.home is Home.POSTGRES)
"""The tables that the shop keeps in Postgres; parents come before children."""

_INCOMING = sql.Identifier("pg_temp", "incoming")
"""The staging table of one upsert."""

_TYPES = {
    Type.INTEGER: "bigint",
    Type.TEXT: "text",
    Type.BOOLEAN: "boolean",
    Type.DATE: "date",
    Type.INSTANT: "timestamptz",
    Type.MONEY: "numeric(12, 2)",
    Type.WEIGHT: "numeric(12, 3)",
}


def names(columns: list[str]) -> sql.Composed:
    """Column names, quoted and separated by commas."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def cursor_expression(cursors: list[str]) -> sql.Composed:
    """The instant of a record's last change; queries repeat it as it stands in the index, so that they can use it."""
    return sql.SQL("coalesce({})").format(names(cursors))


def create_table(table: Table, schema: str) -> sql.Composed:
    """One table with its primary key, its NOT NULLs and the foreign keys whose parents are in Postgres too."""
    columns = [_column(column) for column in table.columns]
    key = sql.SQL("primary key ({})").format(sql.Identifier(table.key))
    return sql.SQL("create table if not exists {} ({})").format(
        sql.Identifier(schema, table.name), sql.SQL(", ").join([*columns, key, *_foreign_keys(table, schema)])
    )


def create_index(table: Table, schema: str) -> sql.Composed:
    """The index that lets the daily read follow the window, whatever the size of the table."""
    return sql.SQL("create index if not exists {} on {} (({}))").format(
        sql.Identifier(f"{table.name}_cursor"),
        sql.Identifier(schema, table.name),
        cursor_expression(list(table.cursors)),
    )


def any_between(table: Table, schema: str) -> sql.Composed:
    """Whether there is a row whose key lies between the bound `min` and `max`."""
    return sql.SQL("select exists (select 1 from {} where {} between %(min)s and %(max)s)").format(
        sql.Identifier(schema, table.name), sql.Identifier(table.key)
    )


def copy(table: Table, schema: str, columns: list[str]) -> sql.Composed:
    """Copy CSV straight into `table`."""
    return _copy(sql.Identifier(schema, table.name), columns)


def create_incoming(table: Table, schema: str) -> sql.Composed:
    """The staging table, for as long as the transaction lasts."""
    return sql.SQL("create temp table incoming (like {}) on commit drop").format(sql.Identifier(schema, table.name))


def copy_incoming(columns: list[str]) -> sql.Composed:
    """Copy CSV into the staging table."""
    return _copy(_INCOMING, columns)


def _copy(name: sql.Identifier, columns: list[str]) -> sql.Composed:
    return sql.SQL("copy {} ({}) from stdin (format csv)").format(name, names(columns))


def upsert(table: Table, schema: str, columns: list[str]) -> sql.Composed:
    """Move the staged rows into `table`; a row that is there gives way only to a later `updated_at`."""
    return sql.SQL("insert into {} as present ({}) select {} from {} on conflict ({}) do {}").format(
        sql.Identifier(schema, table.name),
        names(columns),
        names(columns),
        _INCOMING,
        sql.Identifier(table.key),
        _replacement(table, columns),
    )


def _replacement(table: Table, columns: list[str]) -> sql.Composable:
    if table.column("updated_at") is None:
        return sql.SQL("nothing")
    changed = [sql.Identifier(name) for name in columns if name != table.key]
    values = sql.SQL(", ").join(sql.SQL("{} = excluded.{}").format(name, name) for name in changed)
    return sql.SQL("update set {} where excluded.updated_at > present.updated_at").format(values)


def _column(column: Column) -> sql.Composed:
    null = "" if column.nullable else " not null"
    return sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(_TYPES[column.type] + null))


def _foreign_keys(table: Table, schema: str) -> list[sql.Composed]:
    return [
        sql.SQL("foreign key ({}) references {} ({})").format(
            sql.Identifier(column), sql.Identifier(schema, parent.name), sql.Identifier(parent.key)
        )
        for column, parent in enforced_parents(table).items()
    ]

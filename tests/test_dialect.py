"""Whatever the project sends to Snowflake is Snowflake's SQL: it parses in its dialect and calls its functions only."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlfluff
import sqlglot
from sqlglot import exp
from sqlglot.dialects.snowflake import Snowflake
from sqlglot.tokens import TokenType

from tasks import dbt
from tasks.lake.store import LocalLake
from tasks.tables import TABLES
from tasks.warehouse.snowflake import SnowflakeWarehouse
from tests.emulated import documented_account
from tests.s3_server import KEY, SECRET, S3Server
from tests.snowflake_server import received, served
from tests.test_load import AT, ITEMS, KEYS, NEXT, commit, keys
from tests.test_snowflake import in_bucket

ROOT = Path(__file__).parents[1]
FUNCTIONS = frozenset((ROOT / "tests" / "snowflake_functions.txt").read_text().split())
_WORDS = """
    in values as and or not over on using when then else case from join select exists where except union all by distinct
    insert qualify number decimal numeric varchar timestamp_ntz key group with any having
"""
SYNTAX = frozenset(_WORDS.split())
"""Words and types before a parenthesis that are no functions."""
_NODES = """
    Add Alias All Between Boolean CTE Column DPipe DataType DataTypeParam Distinct Div EQ Except From GT GTE Group
    Having Identifier In Is Join LT LTE Literal Mod Mul NEQ Neg Not Null Order Ordered Paren Placeholder Qualify Select
    Star Sub Subquery Table TableAlias Tuple Union Values Var Where Window WindowSpec With

    Alter Bracket ColumnDef Commit Copy CopyParameter Create Credentials Delete Drop IndexParameters Insert ListStage
    Merge Parameter PrimaryKey Properties Property Put Schema Transaction TransientProperty Update Use When Whens
"""
NODES = frozenset(_NODES.split())
"""What SQL may be made of, functions apart, in the words of the parser, which takes more than Snowflake does."""
_TYPES = "BIGINT BOOLEAN DATE DECIMAL INT TEXT TIMESTAMP TIMESTAMPNTZ TIMESTAMPTZ VARCHAR"
TYPES = frozenset(_TYPES.split())
DETAILS = {
    "Distinct": lambda node: node.args.get("on"),
    "Insert": lambda node: node.args.get("alternative") or node.args.get("overwrite"),
    "Join": lambda node: (
        node.kind in ("SEMI", "ANTI") or not (node.kind or node.args.get("on") or node.args.get("using"))
    ),
    "DataType": lambda node: node.this.name not in TYPES,
    "Interval": lambda node: not node.this.is_string,
}
"""What of a node, in the words of the parser, is not Snowflake's."""
PASSED = ("remove",)  # what the parser leaves as it is
ENVIRONMENT = {
    f"ECOMMERCE_SNOWFLAKE_{name}": "nowhere" for name in ("ACCOUNT", "USER", "ROLE", "WAREHOUSE", "DATABASE")
} | {
    "DBT_ENV_SECRET_SNOWFLAKE_PASSWORD": "nowhere",
    "ECOMMERCE_SNOWFLAKE_HOST": "127.0.0.1",
    "ECOMMERCE_SNOWFLAKE_PORT": "9",
}
"""Enough to compile with, and nothing to reach."""


def functions(statement: str) -> set[str]:
    """The names that a statement calls, in lower case."""
    tokens = [None, *Snowflake().tokenize(statement), None]
    called = set()
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token is None or after is None or after.token_type is not TokenType.L_PAREN:
            continue
        named = before is not None and before.token_type in (TokenType.DOT, TokenType.ALIAS)
        if not named and re.fullmatch(r"[A-Za-z_]\w*", token.text):
            called.add(token.text.lower())
    return called - SYNTAX


def constructs(parsed: Any) -> set[str]:
    """What a statement is made of, functions apart, that Snowflake does not know."""
    nodes = [node for node in parsed.walk() if not isinstance(node, exp.Func) or isinstance(node.parent, exp.Dot)]
    names = {type(node).__name__ for node in nodes}
    odd = {name for node in parsed.walk() if (name := type(node).__name__) in DETAILS and DETAILS[name](node)}
    return (names - NODES) | odd


def beginnings(statement: str) -> set[str]:
    """`from` at the begin of a query, and a comment after two slashes, which is a division elsewhere."""
    tokens = Snowflake().tokenize(statement)
    first = {TokenType.L_PAREN, TokenType.ALIAS, TokenType.UNION, TokenType.ALL, TokenType.EXCEPT, None}
    before = [None, *(token.token_type for token in tokens)]
    begins = any(
        token.token_type is TokenType.FROM and kind in first for kind, token in zip(before, tokens, strict=False)
    )
    slashes = "//" in re.sub(r"'[^']*'", "", statement)
    return {word for word, found in (("from", begins), ("//", slashes)) if found}


def unlike_snowflake(statement: str) -> set[str]:
    """What of a statement Snowflake does not know; ParseError if it is not in its grammar."""
    parsed: Any = sqlglot.parse_one(statement, read="snowflake")
    if isinstance(parsed, exp.Command | exp.Alias | exp.Column):  # no statement to the parser
        return {statement.split(None, 1)[0].lower()} - set(PASSED)
    return constructs(parsed) | beginnings(statement) | (functions(statement) - FUNCTIONS)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The project's models and tests, compiled for Snowflake with nothing to connect to: for all days, and for one."""
    home = tmp_path_factory.mktemp("compiled")
    ways: dict[str, tuple[list[str], dict[str, object]]] = {
        "all": (["--full-refresh"], {}),
        "day": ([], {"as_increment": True}),
    }
    texts = {}
    for way, (options, variables) in ways.items():
        report = dbt.run_dbt(
            ["compile", *options, "--no-introspect", "--no-populate-cache"],
            home=home,
            environment=ENVIRONMENT,
            variables=variables | {"as_of": date(2025, 1, 1).isoformat()},
            target="snowflake",
        )
        texts |= {f"{way}: {path.stem}": path.read_text() for path in (report.target / "compiled").rglob("*.sql")}
    return texts


@pytest.fixture(scope="module")
def loading(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Every statement of a check, of loads by PUT and by a stage, of a column added, a build noted and a reset."""
    lake = LocalLake(tmp_path_factory.mktemp("lake"))
    odd = KEYS.rename_columns(["order_item_id", "quo\"te's \\"])
    first, second = commit(lake, odd, keys(7)), commit(lake, keys(9), revision=2)
    url = in_bucket(s3, "dialect", lake, second)
    with served(s3.endpoint, {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}) as connection:
        with SnowflakeWarehouse(connection) as warehouse:
            warehouse.prepare(TABLES.values())
            warehouse.load(lake, ITEMS, first, "run", AT)
            warehouse.query(f"create stage raw.lake url = '{url}'")
        with SnowflakeWarehouse(connection, stage="raw.lake") as warehouse:
            warehouse.check()
            warehouse.load(lake, ITEMS, second, "run", AT)
            warehouse.mark_built(warehouse.unbuilt(NEXT), NEXT, "run", AT)
            warehouse.mark_built([], NEXT, "run", AT)
            warehouse.totals("order_items", [NEXT])
            assert warehouse.loaded_by("run", "order_items") == 7
            assert (warehouse.newest_cut(["order_items"]), warehouse.last_as_of()) == (NEXT, NEXT)
            warehouse.clear_built()
            warehouse.clear()
        yield received(connection)


def test_the_project_compiles_without_an_account(compiled: dict[str, str]) -> None:
    models = {path.stem for path in (ROOT / "dbt_project" / "models").rglob("*.sql")}
    assert {f"{way}: {model}" for way in ("all", "day") for model in models} <= compiled.keys()
    assert compiled["all: stg_orders"] != compiled["day: stg_orders"]


def test_compiled_models_are_snowflakes(compiled: dict[str, str]) -> None:
    found = {name: unlike_snowflake(text) for name, text in compiled.items()}
    assert {name: unknown for name, unknown in found.items() if unknown} == {}


def test_statements_of_the_loader_are_snowflakes(loading: list[str]) -> None:
    found = {statement: unlike_snowflake(statement) for statement in loading}
    assert {statement: unknown for statement, unknown in found.items() if unknown} == {}
    words = {statement.split(None, 1)[0] for statement in loading}
    assert words >= {"create", "alter", "begin", "merge", "put", "copy", "select", "update", "delete", "drop", "commit"}
    assert words >= {"use", "list", "remove"}
    assert [statement for statement in loading if "from '@raw.lake/" in statement]


FOREIGN = """
    select strftime(a, '%Y') from t
    select quantile_cont(a, 0.5) from t
    select * from range(3)
    select list_aggregate(a, 'x') from t
    select t.list_sum(x) from t
    select a.b.c(1) from t
    select struct_pack(a := 1)
    select timezone('UTC', a) from t
    select count(*) filter (where a > 1) from t
    select a::hugeint from t
    select cast(a as uuid) from t
    select a at time zone 'UTC' from t
    select date '2024-01-01' + interval 1 day
    from t select a
    select * from (from t)
    create or replace table t as from u
    insert or replace into t values (1)
    select distinct on (a) a from t
    select x[1:2] from t
    select a // 2 from t
    select columns('a') from t
    select a for a in t
    select a glob 'b' from t
    select * from t positional join u
    select a from t semi join u using (a)
    select a from t using sample 10%
    select a from t limit 10%
    pivot t on a using sum(b)
    summarize t
    create or replace macro f(a) as a
"""


@pytest.mark.parametrize("statement", [line.strip() for line in FOREIGN.splitlines() if line.strip()])
def test_what_only_duckdb_knows_is_found(statement: str) -> None:
    assert unlike_snowflake(statement)


def test_what_is_no_sql_is_found() -> None:
    with pytest.raises(sqlglot.ParseError):
        unlike_snowflake("select * from t where (a")


# The account


def test_the_set_up_is_snowflakes_and_repeatable() -> None:
    text = (ROOT / "docs" / "snowflake.sql").read_text()
    tree: Any = sqlfluff.parse(re.sub(r"<[^>]*>", "x", text), dialect="snowflake")
    assert "unparsable" not in str(tree)
    repeatable = re.compile(
        r"use role|grant |alter (warehouse|user|storage integration) \w+ set |create [a-z ]+ if not exists "
    )
    assert [statement for statement in documented_account() if not repeatable.match(statement)] == []


def test_the_set_up_grants_what_the_roles_need_and_no_more() -> None:
    grants = [statement for statement in documented_account() if statement.startswith("grant ")]
    found = [re.fullmatch(r"grant (.+?)(?: on (.+))? to (role|user) (\w+)", grant) for grant in grants]
    triples = {(grant[1], grant[2] or "", grant[4]) for grant in found if grant}
    assert len(triples) == len(grants)
    assert triples == expected_grants()


def expected_grants() -> set[tuple[str, str, str]]:
    """Privilege, object and role, or user, of every grant."""
    loader, transformer, reader = (f"ecommerce_{name}" for name in ("loader", "transformer", "reader"))
    work = {loader: "loading", transformer: "transforming", reader: "reading"}
    grants = {(f"role {role}", "", "ecommerce_admin") for role in work} | {("role ecommerce_admin", "", "sysadmin")}
    grants |= {("usage", f"warehouse ecommerce_{name}", role) for role, name in work.items()}
    grants |= {(f"role {role}", "", f"ecommerce_{work[role]}_service") for role in (loader, transformer)}
    grants |= {("usage", "database ecommerce", reader), *selects("ecommerce.marts", reader)}
    for database in ("ecommerce", "ecommerce_smoke"):
        grants |= {("usage", f"database {database}", role) for role in (loader, transformer)}
        grants |= {("usage, create table, create view, create stage", f"schema {database}.raw", loader)}
        grants |= {("usage", f"stage {database}.raw.lake", loader)}
        grants |= selects(f"{database}.raw", transformer)
        for schema in ("staging", "intermediate", "marts"):
            grants |= {("usage, create table, create view", f"schema {database}.{schema}", transformer)}
    return grants


def selects(schema: str, role: str) -> set[tuple[str, str, str]]:
    """The grants for a role that reads a schema, today's tables and tomorrow's."""
    objects = [f"{time} {kind} in schema {schema}" for time in ("all", "future") for kind in ("tables", "views")]
    return {("usage", f"schema {schema}", role), *(("select", one, role) for one in objects)}

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
from tests.snowflake_server import received, served
from tests.test_load import AT, ITEMS, KEYS, NEXT, commit, keys

ROOT = Path(__file__).parents[1]
FUNCTIONS = frozenset((ROOT / "tests" / "snowflake_functions.txt").read_text().split())
_WORDS = """
    in values as and or not over on using when then else case from join select exists where except union all by distinct
    insert qualify number decimal numeric varchar timestamp_ntz key group filter with any having
"""
SYNTAX = frozenset(_WORDS.split())
"""Words and types before a parenthesis that are no functions."""
NOT_IN_SQLGLOT = ("put", "remove", "begin", "commit", "rollback")
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


def unlike_snowflake(statement: str) -> set[str]:
    """What of a statement Snowflake does not know; ParseError if it is not in its grammar."""
    parsed = sqlglot.parse_one(statement, read="snowflake")
    first = statement.split(None, 1)[0].lower()
    unknown = {first} if isinstance(parsed, exp.Command) and first not in NOT_IN_SQLGLOT else set()
    return unknown | (functions(statement) - FUNCTIONS)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The project's models, compiled for Snowflake with nothing to connect to."""
    home = tmp_path_factory.mktemp("compiled")
    command = ["compile", "--full-refresh", "--no-introspect", "--no-populate-cache"]
    variables = {"as_of": date(2025, 1, 1).isoformat()}
    report = dbt.run_dbt(command, home=home, environment=ENVIRONMENT, variables=variables, target="snowflake")
    return sorted((report.target / "compiled").rglob("*.sql"))


@pytest.fixture(scope="module")
def loading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Every statement of a load that adds a column, of a build noted and of a reset."""
    lake = LocalLake(tmp_path_factory.mktemp("lake"))
    with served() as connection, SnowflakeWarehouse(connection) as warehouse:
        warehouse.prepare(TABLES.values())
        odd = KEYS.rename_columns(["order_item_id", "quo\"te's \\"])
        warehouse.load(lake, ITEMS, commit(lake, odd, keys(7)), "run", AT)
        warehouse.mark_built(warehouse.unbuilt(NEXT), NEXT, "run", AT)
        warehouse.mark_built([], NEXT, "run", AT)
        warehouse.totals("order_items", [NEXT])
        assert (warehouse.newest_cut(["order_items"]), warehouse.last_as_of()) == (NEXT, NEXT)
        warehouse.clear_built()
        warehouse.clear()
        yield received(connection)


def test_the_project_compiles_without_an_account(compiled: list[Path]) -> None:
    models = {path.stem for path in (ROOT / "dbt_project" / "models").rglob("*.sql")}
    assert models <= {path.stem for path in compiled}


def test_compiled_models_are_snowflakes(compiled: list[Path]) -> None:
    found = {path.name: unlike_snowflake(path.read_text()) for path in compiled}
    assert {name: unknown for name, unknown in found.items() if unknown} == {}


def test_statements_of_the_loader_are_snowflakes(loading: list[str]) -> None:
    found = {statement: unlike_snowflake(statement) for statement in loading}
    assert {statement: unknown for statement, unknown in found.items() if unknown} == {}
    words = {statement.split(None, 1)[0] for statement in loading}
    assert words >= {"create", "alter", "begin", "merge", "put", "copy", "select", "update", "delete", "drop", "commit"}


@pytest.mark.parametrize(
    "statement",
    ["select strftime(a, '%Y') from t", "select quantile_cont(a, 0.5) from t", "select * from range(3)"],
)
def test_duckdbs_own_functions_are_found(statement: str) -> None:
    assert unlike_snowflake(statement)


def test_what_is_no_sql_is_found() -> None:
    with pytest.raises(sqlglot.ParseError):
        unlike_snowflake("select * from t where (a")


def test_the_set_up_is_snowflakes_and_repeatable() -> None:
    text = (ROOT / "docs" / "snowflake.sql").read_text()
    tree: Any = sqlfluff.parse(re.sub(r"<[^>]*>", "x", text), dialect="snowflake")
    assert "unparsable" not in str(tree)
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    statements = [" ".join(statement.split()) for statement in lines.split(";") if statement.strip()]
    assert len(statements) > 40
    repeatable = re.compile(r"use role|grant |alter (warehouse|user) \w+ set |create [a-z ]+ if not exists ")
    assert [statement for statement in statements if not repeatable.match(statement)] == []

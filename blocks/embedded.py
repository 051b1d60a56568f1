"""The blocks that Prefect lacks for the embedded stack: Postgres and DuckDB in a folder."""

from pathlib import Path

from prefect.blocks.core import Block
from prefect.filesystems import LocalFileSystem
from pydantic import Field

from tasks.source.postgres import Source
from tasks.warehouse.protocol import Warehouse


class EmbeddedPostgres(Block):
    """A real Postgres server from a wheel, kept in a folder and reached through a unix socket only.

    Example:
        Load a stored server:
        ```python
        from blocks.embedded import EmbeddedPostgres

        server = EmbeddedPostgres.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Embedded Postgres"
    _block_type_slug = "embedded-postgres"
    _logo_url = "https://cdn.sanity.io/images/3ugk85nk/production/3c7dff04f70aaf4528e184a3b028f9e40b98d68c-250x250.png"
    _documentation_url = "https://www.postgresql.org/docs/current/"

    folder: str = Field(description="Folder of the server's data; created on first use.")

    def open(self, schema: str) -> Source:
        """Start the server, or find the one another process started, and connect to it."""
        from tasks.source.embedded import start

        return Source(start(Path(self.folder)), schema=schema)


class DuckDBFile(Block):
    """A DuckDB database file. One process at a time can write to it.

    Example:
        Load a stored database:
        ```python
        from blocks.embedded import DuckDBFile

        database = DuckDBFile.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "DuckDB File"
    _block_type_slug = "duckdb-file"
    _logo_url = LocalFileSystem._logo_url
    _documentation_url = "https://duckdb.org/docs/"

    path: str = Field(description="Path of the database file; created on first use.")
    memory_limit: str = Field(
        default="512MB", description="Memory of dbt's models before they spill, and of loads with large values."
    )
    threads: int = Field(default=2, ge=1, description="Processor threads that DuckDB may use.")

    def open(self) -> Warehouse:
        """Open the database for writing; `TransientError` while another process holds it."""
        from tasks.warehouse.duckdb import DuckDBWarehouse

        return DuckDBWarehouse(Path(self.path), memory_limit=self.memory_limit, threads=self.threads)

    def dbt_environment(self) -> dict[str, str]:
        """The variables that the project's profile reads."""
        return {
            "ECOMMERCE_DUCKDB_PATH": self.path,
            "ECOMMERCE_DUCKDB_MEMORY_LIMIT": self.memory_limit,
        }

"""The block that says where a stack's lake, source and warehouse are."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, Self

from prefect.blocks.core import Block
from prefect.client.schemas import BlockDocument
from prefect.filesystems import LocalFileSystem
from pydantic import Field

from blocks.embedded import DuckDBFile, EmbeddedPostgres
from blocks.slots import EMBEDDED, SLOTS
from tasks.errors import ParameterError, PipelineError
from tasks.lake.store import Lake, LocalLake
from tasks.source.postgres import Source
from tasks.warehouse.protocol import Warehouse

LOCAL = "local"
LOCAL_PAGES = "http://127.0.0.1:4201"
"""Where `flows.server` and `flows.ui` show the pages of the embedded stack's lake, beside the dashboard."""
_EMBEDDED_SLUGS = {block.get_block_type_slug() for block in EMBEDDED}
_widening = threading.Lock()
_forms: dict[tuple[Any, ...], dict[str, Any]] = {}


def home() -> Path:
    """The folder of everything that the embedded stack keeps: `ECOMMERCE_HOME`, by default `.ecommerce` here."""
    return Path(os.environ.get("ECOMMERCE_HOME", ".ecommerce")).expanduser().resolve()


class Stack(Block):
    """Lake, source database and warehouse that a pipeline runs on, under one name.

    Each slot takes an embedded block or a cloud's: the types below are the embedded ones, `blocks.slots` has them all.
    A slot is widened when it meets another block, and all of them before the form is registered, so that the embedded
    stack imports no vendor's package (prefect_snowflake alone takes seconds).

    Example:
        Load a stored stack:
        ```python
        from blocks.stack import Stack

        stack = Stack.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "eCommerce Stack"
    _block_type_slug = "ecommerce-stack"
    _description = "Lake, source database and warehouse that an eCommerce pipeline runs on, under one name."
    _logo_url = LocalFileSystem._logo_url
    _documentation_url = "https://docs.prefect.io/v3/concepts/blocks"

    lake: LocalFileSystem = Field(title="Lake", description="Where feeds, history and quarantine lie.")
    source: EmbeddedPostgres = Field(title="Source", description="The shop's database, by a role that may write.")
    reader: None = Field(
        default=None,
        title="Reader",
        description="What extract reads the shop's database with: a read-only role, perhaps on a replica; by default "
        "the source.",
    )
    warehouse: DuckDBFile = Field(title="Warehouse", description="Where raw and dbt's schemas lie; what loads.")
    transformer: None = Field(
        default=None,
        title="Transformer",
        description="What dbt connects with: its role and virtual warehouse; by default the warehouse.",
    )
    workspace: str = Field(
        title="Workspace", description="Local folder for dbt's logs, compiled models and documentation."
    )
    address: str | None = Field(
        default=None,
        title="Address of the lake",
        description="Where a browser finds the lake's files, such as https://files.example.com/shop; by default the "
        "console of AWS, and of another store none.",
    )
    landing_days: int = Field(
        default=90,
        ge=1,
        title="Landing days",
        description="Days that feeds stay in landing; those to take stay anyway.",
    )
    source_schema: str = Field(
        default="public", title="Source schema", description="The schema of the shop's tables in Postgres."
    )
    encryption: Literal["AES256", "aws:kms"] | None = Field(
        default=None,
        title="Encryption of the lake",
        description="How S3 encrypts what is written; by default as the bucket says.",
    )
    kms_key: str | None = Field(
        default=None, title="KMS key", description="ARN of the key for aws:kms; by default the account's own for S3."
    )
    stage: str | None = Field(
        default=None,
        title="Stage",
        description="Name of Snowflake's external stage over the lake's history; without one, parts are uploaded.",
    )

    def __init__(self, **data: Any) -> None:
        self._widen(slot for slot in SLOTS if _needs_vendor(data.get(slot)))
        super().__init__(**data)

    @classmethod
    def _widen(cls, slots: Iterable[str]) -> None:
        """Let these slots take every block they can, not the embedded ones alone."""
        with _widening:
            wider = {slot: SLOTS[slot]() for slot in slots}
            changed = {slot: type_ for slot, type_ in wider.items() if cls.model_fields[slot].annotation != type_}
            for slot, type_ in changed.items():
                cls.model_fields[slot].annotation = type_
            if changed:
                cls.model_rebuild(force=True)
                _forms.clear()

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """The form, kept once it is made: Prefect asks for it with every field that it saves."""
        asked = (cls, arguments, *sorted(options.items()))
        if asked not in _forms:
            _forms[asked] = super().model_json_schema(*arguments, **options)
        return deepcopy(_forms[asked])

    @classmethod
    def register_type_and_schema(cls, *arguments: Any, **options: Any) -> Any:
        """Make the form with all blocks that its slots take known to Prefect's server."""
        cls._widen(SLOTS)
        return super().register_type_and_schema(*arguments, **options)

    @classmethod
    def _from_block_document(cls, block_document: BlockDocument) -> Self:
        """Say of each part of which type it is: Prefect's server knows, but leaves it out of the data.

        Without it a wrong S3Bucket would pass for a LocalFileSystem, which has no required field.
        """
        for slot, reference in block_document.block_document_references.items():
            block_document.data[slot]["block_type_slug"] = reference["block_document"]["block_type"]["slug"]
        return super()._from_block_document(block_document)

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
            address=LOCAL_PAGES,
        )

    def open_lake(self) -> Lake:
        """The lake, ready to read and write."""
        if isinstance(self.lake, LocalFileSystem):
            return LocalLake(Path(self.lake.basepath or "."))
        from blocks.s3 import lake

        return lake(self.lake, self.encryption, self.kms_key, self.title("lake"), self.title())

    def link(self, path: str) -> str:
        """Where a browser finds a file of the lake, or a folder, whose path ends with a slash."""
        return f"{self.address.rstrip('/')}/{path}" if self.address else self.open_lake().link(path)

    def open_source(self) -> Source:
        """The shop's database for the one who writes, ready for connections."""
        return self._database("source")

    def open_reader(self) -> Source:
        """The shop's database for the one who only reads, ready for connections."""
        return self._database("reader" if self.reader is not None else "source")

    def open_warehouse(self) -> Warehouse:
        """The warehouse for what loads; close it (it is a context manager) so that other processes can use it."""
        return self._warehouse("warehouse")

    @contextmanager
    def one_warehouse(self) -> Iterator[None]:
        """Have all of this process who open the warehouse meanwhile share one opening, where it is a file.

        DuckDB reads the catalog when the first opens the file, and writes the file when the last closes it: a day at
        scale 10 opened it two to six times, each for up to 1 MB. A file that cannot be opened is no error here: those
        who need it say so, and are tried again if that may help.
        """
        with ExitStack() as opened:
            if isinstance(self.warehouse, DuckDBFile):
                with suppress(PipelineError):
                    opened.enter_context(self.open_warehouse())
            yield

    def open_transformer(self) -> Warehouse:
        """The warehouse as dbt connects with it."""
        return self._warehouse("warehouse" if self.transformer is None else "transformer")

    def clear_warehouse(self) -> None:
        """Drop raw and what dbt has built: each role what it owns, and raw's first, which the other may not drop."""
        for open_as in [self.open_warehouse, *([self.open_transformer] if self.transformer is not None else [])]:
            with open_as() as warehouse:
                warehouse.clear()

    def database(self) -> str:
        """The warehouse's database, as dbt and Snowflake call it; DuckDB's has the name of its file."""
        if isinstance(self.warehouse, DuckDBFile):
            return Path(self.warehouse.path).stem
        return str(self.warehouse.database)

    def dbt_target(self) -> str:
        """Which target of the project's profile dbt builds."""
        return "duckdb" if isinstance(self.warehouse, DuckDBFile) else "snowflake"

    def dbt_environment(self) -> dict[str, str]:
        """The variables that this target reads, secrets among them: for the time of one run of dbt only."""
        if isinstance(self.warehouse, DuckDBFile):
            return self.warehouse.dbt_environment()
        from blocks.snowflake import dbt_environment

        slot = "transformer" if self.transformer is not None else "warehouse"
        return dbt_environment(getattr(self, slot), self.title(slot))

    def title(self, slot: str = "") -> str:
        """What errors call the block in a slot, or the stack itself: its type and name, where it has one."""
        own = self._block_document_name or "unsaved"
        if not slot:
            return f"block {self.get_block_type_slug()}/{own}"
        block = getattr(self, slot)
        name = block._block_document_name or f"{own}'s {slot}"
        return f"block {block.get_block_type_slug()}/{name}"

    def _warehouse(self, slot: str) -> Warehouse:
        block = getattr(self, slot)
        if isinstance(block, DuckDBFile):
            return block.open()
        from blocks.snowflake import connection, query_tag
        from tasks.warehouse.snowflake import SnowflakeWarehouse

        name, stage = self.title(slot), self.stage if slot == "warehouse" else None
        return SnowflakeWarehouse(connection(block, name), stage=stage, name=name, tag=query_tag())

    def _database(self, slot: str) -> Source:
        block = getattr(self, slot)
        if isinstance(block, EmbeddedPostgres):
            return block.open(self.source_schema)
        from blocks.postgres import dsn

        return Source(dsn(block, self.title(slot)), schema=self.source_schema, name=self.title(slot))


def _needs_vendor(part: Any) -> bool:
    """Whether what is to fill a slot, a block or the data of one, is no embedded block."""
    if isinstance(part, dict):
        return part.get("block_type_slug") not in _EMBEDDED_SLUGS
    return part is not None and not isinstance(part, EMBEDDED)

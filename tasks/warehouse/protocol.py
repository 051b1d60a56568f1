"""What the pipeline asks of a warehouse, whichever it is."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol, Self

from tasks.lake.manifests import Manifest
from tasks.lake.store import Lake
from tasks.tables import Table


class Loaded(NamedTuple):
    """What raw holds of one revision: rows, and the sum of their `_version`."""

    rows: int
    digest: int


class Revision(NamedTuple):
    """The name of one loaded revision."""

    table: str
    batch: date
    revision: int


class Warehouse(Protocol):
    """Raw (`raw.<table>`), its ledger `raw._batches`, and what dbt has built of it, `raw._built`.

    A failure that may pass (another writer, a lost connection) is raised as TransientError, others as WarehouseError.
    """

    def check(self) -> None:
        """See that it works, what is used of it later included; an error says what to do where it does not."""

    def prepare(self, tables: Iterable[Table]) -> None:
        """Create what is missing of raw: the ledgers, and per table its declared columns and the technical ones."""

    def ledger(self, table: str) -> dict[tuple[date, int], Loaded]:
        """What the ledger says is loaded of a table, by (batch, revision)."""

    def load(self, lake: Lake, table: Table, manifest: Manifest, run: str, loaded_at: datetime) -> bool:
        """Insert one committed revision and its ledger row in one transaction; False if it is loaded already.

        Columns that raw lacks are added. Raises HistoryError if a part is missing or damaged, WarehouseError if rows
        or digest are not those of the manifest; nothing of the revision is left then.
        """

    def loaded_by(self, run: str, table: str) -> int:
        """How many rows of a table a run has loaded, whatever the number of its attempts."""

    def totals(self, table: str, batches: Collection[date] | None) -> dict[tuple[date, int], Loaded]:
        """What the rows of raw themselves add up to, by (batch, revision); None stands for every batch."""

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, its parameters bound to question marks."""

    def newest_cut(self, tables: Iterable[str]) -> date | None:
        """The end of the newest day that all of these tables have loaded; None while there is no such day."""

    def newest_batches(self, as_of: date) -> dict[str, date]:
        """The newest batch before `as_of` of each table that has one; all alike, `as_of` is one consistent cut."""

    def unbuilt(self, as_of: date) -> list[Revision]:
        """The loaded revisions of batches before `as_of` that no complete build has processed."""

    def last_as_of(self) -> date | None:
        """The `as_of` of the last complete build; None before the first."""

    def mark_built(self, revisions: Collection[Revision], as_of: date, run: str, built_at: datetime) -> None:
        """Note that a complete build as of `as_of` has processed `revisions`.

        They are what `unbuilt` gave BEFORE the build: a revision that was loaded during it belongs to the next.
        """

    def clear_built(self) -> None:
        """Forget every build, so that the next one processes everything."""

    def clear(self) -> None:
        """Drop raw and the schemas that dbt builds."""

    def close(self) -> None:
        """Let go of the warehouse."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

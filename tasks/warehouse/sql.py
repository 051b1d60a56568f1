"""What the warehouses share: the SQL that each of them understands, and what they say of a revision."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tasks.errors import HistoryError, WarehouseError
from tasks.lake import paths
from tasks.lake.manifests import Manifest, Part
from tasks.lake.store import Lake
from tasks.tables import TABLES
from tasks.warehouse.protocol import Loaded, Revision


class SqlWarehouse(ABC):
    """The questions to raw and its ledgers that every warehouse answers by the same SQL."""

    @abstractmethod
    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, its parameters bound to question marks."""

    def check(self) -> None:
        """Have the warehouse answer something; an error says why it does not."""
        self.query("select 1")

    def ledger(self, table: str) -> dict[tuple[date, int], Loaded]:
        """What `raw._batches` says is loaded of a table, by (batch, revision)."""
        statement = 'select batch, revision, "rows", digest from raw._batches where "table" = ? order by 1, 2'
        return _by_revision(self.query(statement, [table]))

    def loaded_by(self, run: str, table: str) -> int:
        """How many rows of a table `raw._batches` says that a run has loaded."""
        statement = 'select coalesce(sum("rows"), 0) from raw._batches where "table" = ? and run = ?'
        return int(self.query(statement, [table, run])[0][0])

    def totals(self, table: str, batches: Collection[date] | None) -> dict[tuple[date, int], Loaded]:
        """What the rows of raw add up to, by (batch, revision); None stands for every batch."""
        statement = "select _batch, _revision, count(*), cast(sum(_version) as decimal(38, 0)) from raw.{table}"
        if batches is not None:
            # Constants rather than a list: the engine then passes over the files or row groups of other batches.
            statement += f" where _batch in ({', '.join('?' * len(batches)) or 'null'})"
        statement += " group by _batch, _revision order by 1, 2"
        return _by_revision(self.query(of_table(statement, table), list(batches or ())))

    def newest_cut(self, tables: Iterable[str]) -> date | None:
        """The end of the newest day that all of these tables have loaded; None while there is no such day."""
        names = list(tables)
        statement = (
            'select max(batch) from (select batch from raw._batches where "table" in ({}) '
            'group by batch having count(distinct "table") = ?) as common'
        )
        ((day,),) = self.query(statement.format(", ".join("?" * len(names))), [*names, len(names)])
        return None if day is None else day + timedelta(1)

    def newest_batches(self, as_of: date) -> dict[str, date]:
        """The newest batch before `as_of` of each table that has one."""
        statement = 'select "table", max(batch) from raw._batches where batch < ? group by 1'
        return dict(self.query(statement, [as_of]))

    def unbuilt(self, as_of: date) -> list[Revision]:
        """The loaded revisions of batches before `as_of` that no complete build has processed."""
        rows = self.query(
            'select "table", batch, revision from raw._batches where batch < ? '
            'except select "table", batch, revision from raw._built order by 1, 2, 3',
            [as_of],
        )
        return [Revision(*row) for row in rows]

    def last_as_of(self) -> date | None:
        """The `as_of` of the last complete build; None before the first."""
        as_of: date | None
        ((as_of,),) = self.query("select max(as_of) from raw._built")
        return as_of

    def clear_built(self) -> None:
        """Forget every build, so that the next one processes everything."""
        self.query("delete from raw._built")


def of_table(statement: str, table: str) -> str:
    """Put the name of one of our tables, which is never a word of SQL, in its place."""
    if table not in TABLES:
        raise WarehouseError(f"raw has no table {table!r}; its tables are {', '.join(TABLES)}")
    return statement.format(table=table)


def counted(table: str) -> str:
    """The query for rows and digest of a (batch, revision) in raw."""
    return of_table(
        "select count(*), coalesce(sum(_version), 0) from raw.{table} where _batch = ? and _revision = ?", table
    )


def check_counts(manifest: Manifest, rows: int, digest: int) -> None:
    """Compare what was inserted with what was committed; WarehouseError if they differ."""
    if (rows, digest) != (manifest.rows, manifest.digest):
        raise WarehouseError(
            f"{title(manifest)} has {rows} rows of digest {digest}, but its manifest says {manifest.rows} of "
            f"{manifest.digest}; nothing was loaded: look for a part that was changed"
        )


@contextmanager
def opened_part(lake: Lake, manifest: Manifest, part: Part) -> Iterator[parquet.ParquetFile]:
    """Open a part of a revision; HistoryError if it is missing or damaged."""
    path = f"{paths.history(manifest.table, manifest.batch)}/{part.name}"
    try:
        with lake.filesystem.open_input_file(path) as stream:
            yield parquet.ParquetFile(stream)
    except FileNotFoundError as error:
        raise HistoryError(
            f"{path} is missing in {lake.address}, but {title(manifest)} names it; restore it"
        ) from error
    except pa.ArrowInvalid as error:
        raise HistoryError(f"{path} in {lake.address} is damaged: {sentence(error)}; restore it") from error


def title(manifest: Manifest) -> str:
    """What a revision is called in a message."""
    return f"{manifest.table} {manifest.batch} revision {manifest.revision}"


def utc(instant: datetime) -> datetime:
    """The instant in UTC, without a zone, as raw has them."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def sentence(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())


def _by_revision(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[date, int], Loaded]:
    return {(batch, revision): Loaded(count, int(digest)) for batch, revision, count, digest in rows}

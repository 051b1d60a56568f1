"""From a source to the history: what a run took, checked, and what of it becomes the next revision of its batch."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import numpy as np
import pyarrow as pa

from tasks.errors import FeedError, TransientError
from tasks.lake import commits, parts, paths
from tasks.lake.arrow import compute as pc
from tasks.lake.checks import CURSOR, FILE, OWN_COLUMNS, POSITION, VERSION, Bad, Checked, check_rows
from tasks.lake.commits import Note
from tasks.lake.comparison import lacking, newest_undated, one_per_cursor
from tasks.lake.feeds import read_feed
from tasks.lake.json_records import json_text
from tasks.lake.manifests import Manifest, Part, commit, committed, revisions
from tasks.lake.parts import Span
from tasks.lake.quarantine import Quarantine
from tasks.lake.store import Lake, Stored
from tasks.tables import Table
from tasks.window import CHUNK_ROWS, Chunk, Window, midnight, plan_chunks

_BAD_TOLERATED = 10  # records, however few there are: one per cent of a feed of 50 is none
_CHUNK_BYTES = 48 << 20  # of records in memory, of which a chunk needs up to five times: 190 bytes each for 250,000
_LAG = timedelta(days=2)


@dataclass(frozen=True)
class Extracted:
    """Names and counts of what was taken from the source `name`: `read` records = those in `parts` + `bad` ones.

    `days` counts the good records per day of their cursor, `undated` those without one; `size` is their memory in
    bytes. `sources` are the landing files that were taken, none for rows of a database.
    """

    name: str
    parts: tuple[Part, ...]
    read: int
    bad: int
    days: Mapping[date, int]
    undated: int
    size: int
    unknown_columns: tuple[str, ...]
    sources: tuple[Stored, ...] = ()
    seconds: float = 0.0


def extract_feed(lake: Lake, table: Table, source: Stored, batch: date, as_of: date, run: str) -> Extracted:
    """Take a feed from landing; raises FeedError if the file is damaged, with the quarantine written."""
    checked = read_feed(lake, table, source, as_of)
    return replace(store_extracted(lake, table, batch, run, source.path, checked), sources=(source,))


def extract_rows(
    lake: Lake, table: Table, chunk: Chunk, rows: pa.Table, batch: date, as_of: date, run: str
) -> Extracted:
    """Take rows of a database: typed columns, or text wherever a value did not fit its column."""
    checked = (_placed_by_key(table, rows, block) for block in check_rows(table, rows, as_of))
    return store_extracted(lake, table, batch, run, f"postgres/{table.name}/{chunk}", checked)


def store_extracted(
    lake: Lake, table: Table, batch: date, run: str, name: str, checked: Iterable[Checked]
) -> Extracted:
    """Write the good records of a source as parts of the run, and its bad ones into quarantine, block by block."""
    written, days = list[Part](), Counter[date | None]()
    read = bad = size = 0
    unknown = set[str]()
    kept = Quarantine(lake, paths.quarantine(table.name, batch), name)
    folder, prefix = paths.extracted(table.name, batch), paths.extracted_by(run)
    try:
        for block in checked:
            kept.put(block.bad)
            read, bad, size = read + block.read, bad + len(block.bad), size + block.records.nbytes
            days += _per_day(block.records)
            unknown.update(block.unknown)
            if block.records.num_rows:
                written.append(parts.write(lake, folder, len(written), _by_cursor(block.records), prefix))
    except FeedError as error:
        kept.put([Bad("file", str(error), "")])
        kept.close()
        raise
    kept.close()
    undated = days.pop(None, 0)
    dated = {day: days[day] for day in sorted(day for day in days if day)}
    return Extracted(name, tuple(written), read, bad, dated, undated, size, tuple(sorted(unknown)))


def _placed_by_key(table: Table, rows: pa.Table, block: Checked) -> Checked:
    """Rows of a database have no lasting order, so a bad one is named by its key."""
    if not block.bad or table.key not in rows.column_names:
        return block
    keys = rows[table.key]
    bad = [replace(one, position=f"{table.key} {keys[int(one.position) - 1]}") for one in block.bad]
    return replace(block, bad=bad)


def _by_cursor(records: pa.Table) -> pa.Table:
    return records.take(pc.sort_indices(records[CURSOR]))


def _per_day(records: pa.Table) -> Counter[date | None]:
    counted = pc.value_counts(records[CURSOR].cast(pa.date32(), safe=False))
    return Counter({entry["values"]: entry["counts"] for entry in counted.to_pylist()})


@dataclass(frozen=True)
class Appended:
    """What became of the records of one run: `read` = `appended` + `known` + `quarantined`, unless some were lost.

    Each is counted where it happens: `known` are the copies within the run and the versions that the history has.
    `revision` is the one that was committed, None if an earlier revision had everything; `warnings` are sentences.
    """

    table: str
    batch: date
    revision: int | None
    read: int
    appended: int
    known: int
    quarantined: int
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


def append_batch(
    lake: Lake,
    table: Table,
    batch: date,
    window: Window,
    extracted: Sequence[Extracted],
    max_bad: float,
    shop: str | None,
    run: str,
) -> Appended:
    """Commit the versions that the history of `table` lacks of what was extracted as the next revision of `batch`.

    The first run of a day commits a revision whatever it took; a later one only with rows, or to say that a feed with
    nothing but bad records is taken. What the run extracted is deleted then. Raises FeedError if more than `max_bad` of
    the records (and more than 10) are bad, and TransientError if another run committed meanwhile, so that the task
    tries again and compares anew.

    Runs of one batch exclude each other by the name of the revision, runs of two batches by their notes in the log of
    commits: whoever sees that another is about to commit the same table tries again.
    """
    taken = _Taken(lake, table, batch, run, sorted(extracted, key=lambda source: source.name))
    seen = commits.settled(lake, table.name)
    before = [number for day, number in revisions(lake, table.name, batch) if day == batch]
    earlier = taken.earlier()
    written, known, contradicting = _write_new(taken, earlier)
    read, rows = sum(source.read for source in extracted), sum(part.rows for part in written)
    quarantined = contradicting + sum(source.bad for source in extracted)
    _refuse_bad(taken, quarantined, read, max_bad)
    number = 1 + max(before, default=0)
    done = Appended(table.name, batch, number, read, rows, known, quarantined, taken.warnings())
    if rows or number == 1 or (quarantined and taken.unnamed(earlier)):
        _commit(taken, taken.manifest(done, window, written, shop), seen, earlier)
    else:
        done = replace(done, revision=None)
    taken.forget()
    return done


@dataclass(frozen=True)
class _Piece:
    """A chunk of what was taken: the records of a span of the cursor (None: without one), or a share of them by key."""

    span: Span | None
    share: int
    shares: int

    def cut(self, key: str, records: pa.Table) -> pa.Table:
        """Its share of `records`."""
        if self.shares == 1:
            return records
        return records.filter(pa.array(records[key].to_numpy() % self.shares == self.share))


@dataclass(frozen=True)
class _Taken:
    """Everything that one run took of a table, and the history to compare it with."""

    lake: Lake
    table: Table
    batch: date
    run: str
    sources: Sequence[Extracted]

    @property
    def schema(self) -> pa.Schema:
        """Business columns of the batch: the declared ones, and as text whatever else any source had."""
        unknown = sorted({name for source in self.sources for name in source.unknown_columns})
        return pa.schema([*self.table.history_schema, *(pa.field(name, pa.string()) for name in unknown)])

    @property
    def feeds(self) -> tuple[Stored, ...]:
        """The landing files among the sources, by path."""
        return tuple(sorted((file for source in self.sources for file in source.sources), key=lambda file: file.path))

    @property
    def undated(self) -> int:
        """Records without any cursor, over all sources."""
        return sum(source.undated for source in self.sources)

    def pieces(self) -> Iterator[_Piece]:
        """The chunks to work in, planned from the counts of the sources alone."""
        limit = self._limit()
        days = sum((Counter(source.days) for source in self.sources), Counter[date]())
        if days:
            everything = Window(min(days), max(days) + timedelta(1))
            for chunk in plan_chunks(self.table.name, days, everything, limit):
                yield _Piece(_span(chunk.window), chunk.share, chunk.shares)
        shares = -(-self.undated // limit)
        yield from (_Piece(None, share, shares) for share in range(shares))

    def records(self, piece: _Piece) -> pa.Table:
        """The records of a piece, with the number of their source by name as `_file`."""
        own = [(CURSOR, pa.timestamp("us")), (VERSION, pa.int64()), (POSITION, pa.int64()), (FILE, pa.int64())]
        found = [pa.schema([*self.schema, *(pa.field(name, kind) for name, kind in own)]).empty_table()]
        for number, source in enumerate(self.sources):
            for block in _read(self.lake, paths.extracted(self.table.name, self.batch), source.parts, piece.span):
                records = piece.cut(self.table.key, block)
                found.append(records.append_column(FILE, pa.array(np.full(records.num_rows, number))))
        return pa.concat_tables(found, promote_options="default")

    def since(self) -> date | None:
        """The first batch that can hold a cursor as early as the earliest one taken; None for the whole history.

        A record is taken only if its cursor is at most a day after the end of the batch's day, so a batch of day B
        holds no cursor after the midnight that begins B + 2 days.
        """
        firsts = [part.first for source in self.sources for part in source.parts if part.first is not None]
        if self.undated or self.table.whole:
            return None
        earliest = min(firsts).date() if firsts else self.batch
        return min(self.batch, date.fromordinal(max(1, earliest.toordinal() - _LAG.days)))

    def earlier(self) -> list[Manifest]:
        """What to compare with: every batch that can hold one of the versions."""
        if self.table.whole:
            return commits.holding(self.lake, self.table.name, datetime.now(UTC))
        return committed(self.lake, self.table.name, self.since())

    def lacking(self, piece: _Piece, records: pa.Table, manifests: Sequence[Manifest]) -> tuple[pa.Table, int]:
        """What the history lacks of `records`, and how many it has; of it only keys, cursors and versions are read."""
        key = self.table.key
        if not records.num_rows:
            return records, 0
        if piece.span is not None:
            bounds = pc.min_max(records[CURSOR]).as_py()
            versions = (block for m in manifests for block in self._versions(m, Span(bounds["min"], bounds["max"])))
            return lacking(records, [key, CURSOR, VERSION], versions)
        # Without a cursor a version is new if it differs from the one before it, even if the key had it once.
        earlier = [m for m in manifests if m.batch < self.batch]
        batches = ((block for m in group for block in self._versions(m, None)) for _, group in groupby(earlier, _batch))
        mine = (block for m in manifests if m.batch == self.batch for block in self._versions(m, None))
        return lacking(records, [key, VERSION], (newest_undated(key, records[key], batches), *mine))

    def manifest(self, done: Appended, window: Window, written: Sequence[Part], shop: str | None) -> Manifest:
        """What commits the revision."""
        return Manifest(
            table=self.table.name,
            batch=self.batch,
            revision=done.revision or 1,
            window=window,
            rows=done.appended,
            known=done.known,
            quarantined=done.quarantined,
            digest=sum(part.digest for part in written),
            columns={field.name: str(field.type) for field in self.schema},
            parts=tuple(written),
            sources=self.feeds,
            shop=shop,
        )

    def unnamed(self, manifests: Sequence[Manifest]) -> bool:
        """Whether a feed was taken that none of the manifests names, which the next run would take again."""
        return not {feed for manifest in manifests for feed in manifest.sources}.issuperset(self.feeds)

    def forget(self) -> None:
        """Delete what this run extracted, and not what another run of the day is about to compare."""
        self.lake.sweep(paths.extracted(self.table.name, self.batch), prefix=paths.extracted_by(self.run))

    def warnings(self) -> tuple[str, ...]:
        """What a person should know of this batch."""
        if not self.undated:
            return ()
        names = " nor ".join(self.table.cursors)
        warning = (
            f"{self.undated:,} records have neither {names}: they were compared with all batches of the history, which "
            "costs more from day to day; have the source deliver a date of change"
        )
        return (warning,)

    def _versions(self, manifest: Manifest, span: Span | None) -> Iterator[pa.Table]:
        folder = paths.history(manifest.table, manifest.batch)
        return _read(self.lake, folder, manifest.parts, span, [self.table.key, CURSOR, VERSION])

    def _limit(self) -> int:
        """Rows of a chunk: 250,000, fewer of large records."""
        size = sum(source.size for source in self.sources)
        rows = sum(part.rows for source in self.sources for part in source.parts)
        return max(1, min(CHUNK_ROWS, _CHUNK_BYTES * rows // size)) if size else CHUNK_ROWS


def _write_new(taken: _Taken, manifests: Sequence[Manifest]) -> tuple[list[Part], int, int]:
    """Write what the history lacks, a chunk at a time; the parts, and how many records were known or contradicted."""
    folder, columns = paths.history(taken.table.name, taken.batch), [*taken.schema.names, CURSOR, VERSION]
    quarantine = paths.quarantine(taken.table.name, taken.batch)
    kept = [Quarantine(taken.lake, quarantine, source.name) for source in taken.sources]
    written, known, contradicting = list[Part](), 0, 0
    for number, piece in enumerate(taken.pieces()):
        records, copies, contradictions = one_per_cursor(taken.table.key, taken.records(piece))
        _keep(kept, taken.table, contradictions)
        new, found = taken.lacking(piece, records, manifests)
        known, contradicting = known + copies + found, contradicting + contradictions.num_rows
        if new.num_rows:
            written.append(parts.write(taken.lake, folder, number, new.select(columns)))
    for source in kept:
        source.close()
    return written, known, contradicting


def _keep(kept: Sequence[Quarantine], table: Table, contradictions: pa.Table) -> None:
    """Quarantine what another record contradicts, each in that of its source."""
    reason = f"another record has the same {table.key} and date of change, but differs; the last one was taken"
    for record in contradictions.to_pylist():
        business = {name: value for name, value in record.items() if name not in OWN_COLUMNS and value is not None}
        kept[record[FILE]].put([Bad(record[POSITION], reason, json_text(business))])


def _refuse_bad(taken: _Taken, bad: int, read: int, max_bad: float) -> None:
    if bad > max(_BAD_TOLERATED, max_bad * read):
        taken.forget()
        raise FeedError(
            f"{bad:,} of {read:,} records are bad, more than {max_bad:.1%}; nothing was committed. Read "
            f"{paths.quarantine(taken.table.name, taken.batch)}/, correct the source and run {taken.batch} again, or "
            "raise max_bad."
        )


def _commit(taken: _Taken, manifest: Manifest, seen: Sequence[Note], earlier: Sequence[Manifest]) -> None:
    """Commit, unless the history may no longer be the one that was compared with."""
    lake, table, compared = taken.lake, manifest.table, {(one.batch, one.revision) for one in earlier}
    note = commits.write(lake, manifest, compared if taken.table.whole else (), datetime.now(UTC))
    if commits.is_overtaken(lake, table, note, seen, compared, taken.since()) or commits.is_late(note):
        commits.withdraw(lake, table, note)
    elif commit(lake, manifest):
        return
    raise TransientError(f"Another run may have committed a batch of {table} while {manifest.batch} was compared.")


def _read(
    lake: Lake, folder: str, of: Iterable[Part], span: Span | None, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    for part in of:
        if span.overlaps(part.first, part.last) if span else part.undated:
            yield from parts.read(lake, f"{folder}/{part.name}", span, columns)


def _span(window: Window) -> Span:
    first, end = (midnight(day).replace(tzinfo=None) for day in (window.start, window.end))
    return Span(first, end - timedelta(microseconds=1))


def _batch(manifest: Manifest) -> date:
    return manifest.batch

"""The log of commits: what is new in the history is found in it, however long the history is.

`commits/<table>/<day>/` holds a note of each revision, under the (UTC) day on which it was written, just before the
manifest that commits the revision. So no commit lacks a note; a note without a manifest is one of a run that died, or
that is about to commit. A history that is older than its log is listed by name where the log does not reach.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from time import sleep
from typing import TypeAlias

from tasks.lake import manifests, paths
from tasks.lake.manifests import Manifest
from tasks.lake.store import Lake

Revision: TypeAlias = tuple[date, int]
"""Batch and number of a revision."""

_SLACK = timedelta(days=2)
"""How far the order of the notes may be from that in which runs read the log and commit: clocks differ, and a run
takes hours from one to the other, never days."""
_LOOKED_BACK = (timedelta(days=32), timedelta(days=400))
"""How much of the log a daily run reads, and one after a year of rest, before all names of the history are listed."""
_COMMITS_WITHIN = timedelta(seconds=5)
"""How long after its note a run may still commit: it asks for rivals meanwhile, which takes no second."""
_SETTLED_AFTER = timedelta(seconds=15)
"""How long others wait for the manifest of a note, before they take its run for dead."""
_POLLED_EVERY = 0.2
_NOTE = re.compile(r".*/(\d{4}-\d\d-\d\d)/(\d{12})-(\d{4}-\d\d-\d\d)-(\d+)-(\d+)\.json")


@dataclass(frozen=True, order=True)
class Note:
    """That a run was about to commit a revision of so many rows at that instant (UTC)."""

    at: datetime
    batch: date
    number: int
    rows: int

    @property
    def revision(self) -> Revision:
        """What it is a note of."""
        return self.batch, self.number


def write(lake: Lake, manifest: Manifest, holding: Iterable[Revision], at: datetime) -> Note:
    """Note that a revision is about to be committed, and of a reference table which ones are known to hold rows."""
    note = Note(at, manifest.batch, manifest.revision, manifest.rows)
    known = [(batch.isoformat(), number) for batch, number in sorted(holding)]
    lake.write(_path(manifest.table, note), json.dumps(known).encode())
    return note


def read(lake: Lake, table: str, since: date = date.min) -> list[Note]:
    """The notes that were written on that day or later, oldest first; no other name is listed, and no file read."""
    files = lake.files(f"{paths.COMMITS}/{table}", recursive=True, since=since.isoformat())
    return sorted(_note(match) for file in files if (match := _NOTE.fullmatch(file.path)))


def recent(lake: Lake, table: str, now: datetime) -> list[Note]:
    """The notes of the runs that may be at work with the same table."""
    return read(lake, table, now.date() - _SLACK)


def settled(lake: Lake, table: str) -> list[Note]:
    """The `recent` notes, once no run that wrote one is about to bring rows: it has committed, or had its time."""
    now = datetime.now(UTC)
    give_up = now + _SETTLED_AFTER  # though a clock that is ahead has written the note
    while True:
        notes = recent(lake, table, now)
        fresh = [note for note in notes if note.rows and note.at > now - _SETTLED_AFTER]
        if now > give_up or all(_is_committed(lake, table, note) for note in fresh):
            return notes
        sleep(_POLLED_EVERY)
        now = datetime.now(UTC)


def is_late(note: Note) -> bool:
    """Whether others may soon take the run that wrote this note for dead."""
    return datetime.now(UTC) > note.at + _COMMITS_WITHIN


def withdraw(lake: Lake, table: str, note: Note) -> None:
    """Take back the note of a revision that was never tried to commit: nobody needs to wait for its manifest."""
    lake.delete(_path(table, note))


def lacking(lake: Lake, table: str, ledger: Collection[Revision], now: datetime) -> Iterator[Manifest]:
    """The manifest of every committed revision that a ledger lacks, in the order in which they are to be loaded.

    That is the order of the commits, and the first that cannot be loaded ends it. So whatever was noted a while before
    one that the ledger has, it has too, and the log is read back to one that it has: a day's run reads 32 days.
    """
    return _committed(lake, table, unloaded(lake, table, ledger, now))


def unloaded(lake: Lake, table: str, ledger: Collection[Revision], now: datetime) -> list[Revision]:
    """The revisions that are `lacking`, and those that were noted but never committed; no file is read."""
    wanted = [revision for revision in _since_loaded(lake, table, ledger, now) if revision not in ledger]
    latest = list(dict.fromkeys(reversed(wanted)))  # a note whose run died is followed by that of who did commit
    return latest[::-1]


def _since_loaded(lake: Lake, table: str, ledger: Collection[Revision], now: datetime) -> list[Revision]:
    """The revisions noted since one that is loaded; if none is, all others that are committed, and then these."""
    for back in _LOOKED_BACK:
        since = now.date() - back
        notes = read(lake, table, since)
        noted = [note.revision for note in notes]
        if any(note.revision in ledger and note.at.date() >= since + _SLACK for note in notes):
            return noted
    return [*sorted(set(manifests.revisions(lake, table)).difference(noted)), *noted]


def holding(lake: Lake, table: str, now: datetime) -> list[Manifest]:
    """The manifests of the revisions of a reference table that hold rows, by batch: it is compared with all of them.

    It is taken whole every day, so it has a batch a day, of which very few have rows. Its newest note tells which were
    known when that was written; the notes of about that time and later tell of themselves.
    """
    for since in (*(now.date() - back for back in _LOOKED_BACK), date.min):
        if notes := read(lake, table, since):
            break
    else:
        return manifests.holding(lake, table)
    newest = notes[-1]
    known = {(date.fromisoformat(batch), number) for batch, number in json.loads(lake.read(_path(table, newest)))}
    known |= {note.revision for note in read(lake, table, newest.at.date() - _SLACK) if note.rows}
    return list(_committed(lake, table, sorted(known)))


def is_overtaken(
    lake: Lake, table: str, mine: Note, seen: Collection[Note], compared: Collection[Revision], since: date | None
) -> bool:
    """Whether another run has brought rows, or is about to, to batches from `since` on, without being compared with.

    `seen` are the `settled` notes of before the comparison. Two runs that note before they ask cannot both hear no.
    """
    rivals = [note for note in recent(lake, table, mine.at) if note.rows and note.revision not in compared]
    rivals = [note for note in rivals if note != mine and (since is None or note.batch >= since)]
    return any(note not in seen or _is_committed(lake, table, note) for note in rivals)


def _is_committed(lake: Lake, table: str, note: Note) -> bool:
    return lake.exists(paths.manifest(table, *note.revision))


def _committed(lake: Lake, table: str, revisions: Iterable[Revision]) -> Iterator[Manifest]:
    found = (manifests.find_manifest(lake, table, *revision) for revision in revisions)
    return (manifest for manifest in found if manifest)


def _path(table: str, note: Note) -> str:
    day, instant = f"{note.at:%Y-%m-%d}", f"{note.at:%H%M%S%f}"
    return f"{paths.COMMITS}/{table}/{day}/{instant}-{note.batch}-{note.number}-{note.rows}.json"


def _note(match: re.Match[str]) -> Note:
    day, instant, batch, number, rows = match.groups()
    at = datetime.strptime(f"{day} {instant}", "%Y-%m-%d %H%M%S%f").replace(tzinfo=UTC)
    return Note(at, date.fromisoformat(batch), int(number), int(rows))

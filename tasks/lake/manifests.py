"""Manifests: what a revision of a batch consists of. Writing one is the commit."""

import json
import re
from dataclasses import asdict, dataclass
from datetime import date, datetime

from tasks.errors import HistoryError
from tasks.lake import paths
from tasks.lake.store import Lake, Stored
from tasks.window import Window

_MANIFEST = re.compile(r".*/batch=(\d{4}-\d\d-\d\d)/_manifest-(\d+)\.json")
_PART = re.compile(r".*/batch=(\d{4}-\d\d-\d\d)/part-.*")
_LOOKED_BACK = (32, 400, None)  # days: a run finds the batch of yesterday, one after a year of rest looks three times


@dataclass(frozen=True)
class Part:
    """One Parquet file of a revision, sorted by (`_cursor`, key).

    `digest` is the sum of `_version`; `first` and `last` (UTC, without a zone) bound `_cursor` (None where no record
    has one) and `undated` counts the records without a cursor.
    """

    name: str
    rows: int
    digest: int
    first: datetime | None
    last: datetime | None
    undated: int


@dataclass(frozen=True)
class Manifest:
    """One committed revision of one batch of one table: source records = rows + known + quarantined.

    `columns` are the business columns of its parts with their Arrow types as text; `sources` are the landing files
    it took; `shop` identifies the simulated shop that the run had write first, None if a real one had written.
    """

    table: str
    batch: date
    revision: int
    window: Window
    rows: int
    known: int
    quarantined: int
    digest: int
    columns: dict[str, str]
    parts: tuple[Part, ...]
    sources: tuple[Stored, ...]
    shop: str | None


def to_json(manifest: Manifest) -> bytes:
    """The one text of a manifest: names sorted, dates and instants in ISO 8601."""
    text = json.dumps(asdict(manifest), sort_keys=True, indent=1, ensure_ascii=False, default=_iso)
    return text.encode() + b"\n"


def from_json(data: bytes) -> Manifest:
    """What `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
    found = json.loads(data)
    window = Window(*(date.fromisoformat(found["window"][side]) for side in ("start", "end")))
    parts = tuple(Part(**(part | {end: _instant(part[end]) for end in ("first", "last")})) for part in found["parts"])
    sources = tuple(Stored(**source) for source in found["sources"])
    batch = date.fromisoformat(found["batch"])
    return Manifest(**{**found, "batch": batch, "window": window, "parts": parts, "sources": sources})


def commit(lake: Lake, manifest: Manifest) -> bool:
    """Make a revision part of the history; False if another run committed that revision first."""
    return lake.create(paths.manifest(manifest.table, manifest.batch, manifest.revision), to_json(manifest))


def read_manifest(lake: Lake, table: str, batch: date, revision: int) -> Manifest:
    """The manifest of a committed revision; raises HistoryError if it is missing or unreadable."""
    found = find_manifest(lake, table, batch, revision)
    if found is None:
        raise HistoryError(f"{paths.manifest(table, batch, revision)} is missing: restore that file from a backup.")
    return found


def find_manifest(lake: Lake, table: str, batch: date, revision: int) -> Manifest | None:
    """The manifest of a revision, None if it is not committed; raises HistoryError if it is unreadable."""
    path = paths.manifest(table, batch, revision)
    try:
        return from_json(lake.read(path))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise HistoryError(f"{path} cannot be read ({error}): restore that file from a backup.") from error


def committed(lake: Lake, table: str, since: date | None = None) -> list[Manifest]:
    """The manifests of the batches from `since` on, by batch and revision; no other manifest is read."""
    return [read_manifest(lake, table, batch, revision) for batch, revision in revisions(lake, table, since)]


def holding(lake: Lake, table: str) -> list[Manifest]:
    """The manifests of the batches that have any part, told by the names of all files of the table."""
    files = _files(lake, table, None)
    batches = {match[1] for path in files if (match := _PART.fullmatch(path))}
    found = sorted(_revision(match) for path in files if (match := _MANIFEST.fullmatch(path)) and match[1] in batches)
    return [read_manifest(lake, table, batch, revision) for batch, revision in found]


def revisions(lake: Lake, table: str, since: date | None = None) -> list[tuple[date, int]]:
    """The (batch, revision)s that are committed, from `since` on if it is given; found by their names alone."""
    matches = (_MANIFEST.fullmatch(path) for path in _files(lake, table, since))
    return sorted(_revision(match) for match in matches if match)


def holds_real_records(lake: Lake) -> bool:
    """Whether any run took records that the simulated shop had not written for it; reads every manifest."""
    manifests = (manifest for table in lake.folders("history") for manifest in committed(lake, table))
    return any(manifest.shop is None and (manifest.rows or manifest.quarantined) for manifest in manifests)


def newest_batch_before(lake: Lake, table: str, day: date) -> date | None:
    """The newest committed batch of a day before `day`; None if there is none."""
    for back in _LOOKED_BACK:
        since = None if back is None else date.fromordinal(max(1, day.toordinal() - back))
        earlier = [batch for batch, _ in revisions(lake, table, since) if batch < day]
        if earlier:
            return earlier[-1]
    return None


def _files(lake: Lake, table: str, since: date | None) -> list[str]:
    """What lies in the folders of the batches from `since` on, found by one listing, which starts there."""
    name = "" if since is None else paths.history(table, since).rpartition("/")[2]
    return [stored.path for stored in lake.files(f"history/{table}", recursive=True, since=name)]


def _revision(match: re.Match[str]) -> tuple[date, int]:
    return date.fromisoformat(match[1]), int(match[2])


def _iso(value: date) -> str:
    return value.isoformat()


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

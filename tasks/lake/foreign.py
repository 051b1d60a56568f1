"""Feeds of another form or of another table: what tells them from feeds with some bad records."""

from collections.abc import Iterable
from itertools import islice

from tasks.errors import FeedError
from tasks.lake.checks import POSITION, Bad, Checked
from tasks.lake.json_records import glance
from tasks.lake.values import shown
from tasks.tables import Table

FORMS = "deliver JSON Lines (one record to a line), an array, or an object with an array of the records under data"
"""What to do about a feed of another form."""

_NAMES_SHOWN = 10


def has_key(table: Table, names: Iterable[str]) -> bool:
    """Whether an object with members of these names is a record of the table, if perhaps a bad one."""
    return any(name.lower() == table.key for name in names)


def names_shown(names: Iterable[str]) -> str:
    """The names of an object's members for a message: ten at most."""
    return ", ".join(shown(name) for name in islice(names, _NAMES_SHOWN)) or "nothing"


class Examiner:
    """What the records of one feed tell of the feed: that it holds others, or is no feed of the table."""

    def __init__(self, table: Table, path: str) -> None:
        self._table, self._path = table, path
        self._first: Bad | None = None
        self._ours = False

    def examine(self, checked: Checked) -> None:
        """Raise FeedError if a record is a feed of its own, good or bad: as many are lost in it as it holds."""
        self._ours = self._ours or checked.records.num_rows > 0
        for one in checked.bad:
            self._first = self._first or one
            if self._ours and "[" not in one.record:
                continue  # parsing every bad record again would take a seventh of a bad feed's time
            found = glance(one.record)
            self._ours = self._ours or self._is_record(found)
            self._refuse_records(one.position, found.get("data") if isinstance(found, dict) else found)
        if "data" in checked.unknown:
            for record in checked.records.select([POSITION, "data"]).to_pylist():
                self._refuse_records(record[POSITION], glance(record["data"] or ""))

    def conclude(self) -> None:
        """Raise FeedError if the feed had only bad records, and none of them the table's key."""
        if self._first is None or self._ours:
            return
        found = glance(self._first.record)
        what = f"has {names_shown(found)}" if isinstance(found, dict) else f"is bad ({self._first.reason})"
        raise FeedError(
            f"{self._path} is no feed of {self._table.name}: record {self._first.position} {what}, and none that "
            f"can be read has {self._table.key}; {FORMS}."
        )

    def _refuse_records(self, position: int | str, found: object) -> None:
        if isinstance(found, list) and any(self._is_record(element) for element in found):
            raise FeedError(f"{self._path} has more records within record {position}: {FORMS}.")

    def _is_record(self, found: object) -> bool:
        return isinstance(found, dict) and has_key(self._table, found)

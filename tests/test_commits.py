"""The log of commits: nothing that a warehouse lacks is overlooked, whatever happened, though little of it is read."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.lake import commits, manifests, paths
from tasks.lake.commits import Note, Revision
from tasks.lake.manifests import Manifest
from tasks.lake.store import Lake, LocalLake
from tasks.window import Window

TABLE, OPENING, ONE_DAY = "categories", date(2020, 1, 1), timedelta(1)
NOW = datetime(2025, 1, 31, 6, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


def a_revision(batch: date, number: int = 1, rows: int = 0) -> Manifest:
    window = Window(batch - 29 * ONE_DAY, batch + ONE_DAY)
    return Manifest(TABLE, batch, number, window, rows, 0, 0, 0, {}, (), (), None)


def commit(lake: Lake, revision: Manifest) -> None:
    if revision.rows:
        lake.write(f"{paths.history(TABLE, revision.batch)}/part-{revision.revision}.parquet", b"")
    assert manifests.commit(lake, revision)


def note(lake: Lake, batch: date, at: datetime = NOW, number: int = 1, rows: int = 0) -> Manifest:
    """Commit a revision as a run does, at that instant."""
    revision = a_revision(batch, number, rows)
    commits.write(lake, revision, (), at)
    commit(lake, revision)
    return revision


def test_notes_are_read_in_their_order_and_from_a_day_on(lake: LocalLake) -> None:
    instants = [NOW - 40 * ONE_DAY, NOW - ONE_DAY, NOW, NOW + timedelta(microseconds=1)]
    batches = [date(2025, 1, 30), date(2020, 5, 1), date(2025, 1, 29), date(2021, 1, 1)]
    for batch, at in reversed(list(zip(batches, instants, strict=True))):
        note(lake, batch, at, rows=7)
    expected = [Note(at, batch, 1, 7) for batch, at in zip(batches, instants, strict=True)]
    assert commits.read(lake, TABLE) == expected
    assert commits.read(lake, TABLE, NOW.date() - ONE_DAY) == commits.recent(lake, TABLE, NOW) == expected[1:]
    assert commits.read(lake, "orders") == []


def test_a_note_of_a_run_that_died_is_of_nothing(lake: LocalLake) -> None:
    first, second = date(2025, 1, 1), date(2025, 1, 2)
    commits.write(lake, a_revision(first, rows=1), (), NOW - 3 * ONE_DAY)
    commits.write(lake, a_revision(second, rows=1), (), NOW - 2 * ONE_DAY)
    assert list(commits.lacking(lake, TABLE, {}, NOW)) == commits.holding(lake, TABLE, NOW) == []
    note(lake, second, NOW - ONE_DAY, rows=1)
    note(lake, first, NOW, rows=1)
    assert [one.batch for one in commits.lacking(lake, TABLE, {}, NOW)] == [second, first]
    assert [one.batch for one in commits.holding(lake, TABLE, NOW)] == [first, second]


def test_a_run_that_took_hours_to_commit_is_not_overlooked_later(lake: LocalLake) -> None:
    slow = a_revision(date(2025, 1, 1))
    commits.write(lake, slow, (), NOW)
    quick = note(lake, date(2025, 1, 2), NOW + timedelta(hours=20))
    note(lake, date(2025, 1, 3), NOW + 2 * ONE_DAY)
    ledger = {(one.batch, one.revision) for one in commits.lacking(lake, TABLE, {}, NOW + 2 * ONE_DAY)}
    commit(lake, slow)
    for later in range(2, 500):
        assert list(commits.lacking(lake, TABLE, ledger, NOW + later * ONE_DAY)) == [slow]
    assert (quick.batch, 1) in ledger


@pytest.mark.parametrize(
    ("theirs", "overtaken"),
    [
        (lambda lake: note(lake, date(2025, 1, 30), NOW, rows=1), True),
        (lambda lake: commits.write(lake, a_revision(date(2025, 1, 30), rows=1), (), NOW), True),
        (lambda lake: note(lake, date(2025, 1, 30), NOW), False),
        (lambda lake: note(lake, date(2024, 12, 1), NOW, rows=1), False),
        (lambda lake: commit(lake, a_revision(date(2025, 1, 28), rows=1)), True),
    ],
    ids=["committed", "about to commit", "without rows", "before what is compared", "noted before, committed now"],
)
def test_a_run_sees_that_another_commits(lake: LocalLake, theirs: Callable[[Lake], None], overtaken: bool) -> None:
    commits.write(lake, a_revision(date(2025, 1, 28), rows=1), (), NOW - ONE_DAY)
    note(lake, date(2025, 1, 29), NOW - ONE_DAY, rows=1)
    seen, compared, since = commits.recent(lake, TABLE, NOW), {(date(2025, 1, 29), 1)}, date(2025, 1, 2)
    mine = commits.write(lake, a_revision(date(2025, 1, 31), rows=1), (), NOW)
    assert not commits.is_overtaken(lake, TABLE, mine, seen, compared, since)
    theirs(lake)
    assert commits.is_overtaken(lake, TABLE, mine, seen, compared, since) == overtaken


@dataclass
class World:
    """A table's history, the ledger of a warehouse, and backups of that ledger."""

    lake: Lake
    now: datetime = NOW
    ledger: set[Revision] = field(default_factory=set)
    backups: list[set[Revision]] = field(default_factory=lambda: [set()])

    def commit(self, batch: int, rows: int, hours: int, dies: bool) -> None:
        """A run of any batch, whose clock differs by so many hours, which may die before it commits."""
        day = OPENING + batch * ONE_DAY
        before = [number for found, number in manifests.revisions(self.lake, TABLE, day) if found == day]
        revision = a_revision(day, 1 + max(before, default=0), rows)
        known = [(one.batch, one.revision) for one in commits.holding(self.lake, TABLE, self.now)]
        commits.write(self.lake, revision, known, self.now + timedelta(hours=hours))
        if not dies:
            commit(self.lake, revision)

    def compared(self) -> list[Manifest]:
        return [one for one in commits.holding(self.lake, TABLE, self.now) if one.rows]

    def load(self, fails_after: int | None) -> None:
        """A load that fails after so many revisions."""
        for number, revision in enumerate(commits.lacking(self.lake, TABLE, self.ledger, self.now)):
            if number == fails_after:
                break
            self.ledger.add((revision.batch, revision.revision))
        self.backups.append(set(self.ledger))

    def restore(self, backup: int) -> None:
        self.ledger = set(self.backups[backup % len(self.backups)])

    def rest(self, days: int) -> None:
        self.now += days * ONE_DAY


STEPS = st.one_of(
    st.tuples(st.just(World.commit), st.integers(0, 9), st.integers(0, 1), st.integers(-12, 12), st.booleans()),
    st.tuples(st.just(World.load), st.none() | st.integers(0, 3)),
    st.tuples(st.just(World.restore), st.integers(0, 9)),
    st.tuples(st.just(World.rest), st.sampled_from([1, 2, 3, 29, 31, 33, 400, 1_000])),
)


@given(st.lists(st.integers(0, 9), max_size=3, unique=True), st.lists(STEPS, max_size=25))
@settings(deadline=None, max_examples=300)
def test_nothing_is_overlooked_whatever_happened(unnoted: list[int], steps: list[tuple[Callable[..., None]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(LocalLake(Path(folder)))
        for batch in unnoted:
            commit(world.lake, a_revision(OPENING + batch * ONE_DAY, rows=batch % 2))
        for do, *arguments in steps:
            do(world, *arguments)
            assert world.compared() == [one for one in manifests.committed(world.lake, TABLE) if one.rows]
        world.load(None)
        assert sorted(world.ledger) == manifests.revisions(world.lake, TABLE)

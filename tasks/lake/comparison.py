"""Which of the records taken are versions that the history lacks."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.lake.arrow import Value, Values
from tasks.lake.arrow import compute as pc
from tasks.lake.checks import CURSOR, FILE, POSITION, VERSION
from tasks.window import CHUNK_ROWS

_ROW = "_row"
_NEVER: Value = pa.scalar(np.iinfo(np.int64).min)


def one_per_cursor(key: str, records: pa.Table) -> tuple[pa.Table, int, pa.Table]:
    """The records to keep, one per key and cursor, sorted by (`_cursor`, key); and what becomes of the others.

    Of several records with the same key and cursor the last by (`_file`, `_position`) is kept. The others are copies
    of it, which are counted, or contradict it.
    """
    keys, versions = _numbers(records[key]), _numbers(records[VERSION])
    cursors = _numbers(records[CURSOR].cast(pa.int64()).fill_null(_NEVER))
    order = np.lexsort((_numbers(records[POSITION]), _numbers(records[FILE]), keys, cursors))
    keys, versions, cursors = keys[order], versions[order], cursors[order]
    follows = (keys[1:] == keys[:-1]) & (cursors[1:] == cursors[:-1])
    last = np.append(~follows, True)[: len(order)]
    group = np.cumsum(last) - last
    agrees = versions == versions[last][group]
    copies = int(np.count_nonzero(agrees & ~last))
    return records.take(pa.array(order[last])), copies, records.take(pa.array(order[~agrees]))


def lacking(records: pa.Table, on: Sequence[str], versions: Iterable[pa.Table]) -> tuple[pa.Table, int]:
    """The records that are not among `versions`, and how many are.

    They are compared in the columns `on`; `versions` are read only once, in turn.
    """
    numbered = records.select(list(on)).append_column(_ROW, pa.array(np.arange(records.num_rows)))
    known = np.zeros(records.num_rows, np.bool_)
    for block in _gathered(version.select(list(on)) for version in versions):
        found = numbered.join(block, list(on), join_type="left semi")
        known[found[_ROW].to_numpy()] = True
    return records.filter(pa.array(~known)) if known.any() else records, int(np.count_nonzero(known))


def newest_undated(key: str, keys: Values, batches: Iterable[Iterable[pa.Table]]) -> pa.Table:
    """Of versions without a cursor, given by batch in order, those of `keys`: key and `_version` of the newest batch.

    Two revisions of a batch may hold two versions of a key; the greater one is current.
    """
    newest = pa.table({key: pa.array([], pa.int64()), VERSION: pa.array([], pa.int64())})
    for batch in batches:
        found = [block.select([key, VERSION]).filter(pc.is_in(block[key], keys)) for block in batch]
        if found:
            greatest = pa.concat_tables(found).group_by(key).aggregate([(VERSION, "max")])
            greatest = greatest.rename_columns({f"{VERSION}_max": VERSION}).select([key, VERSION])
            older = newest.filter(pc.invert(pc.is_in(newest[key], greatest[key])))
            newest = pa.concat_tables([older, greatest])
    return newest


def _gathered(versions: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same in fewer tables: a join costs milliseconds, however few the rows."""
    gathered, rows = list[pa.Table](), 0
    for block in versions:
        gathered.append(block)
        rows += block.num_rows
        if rows >= CHUNK_ROWS:
            yield pa.concat_tables(gathered)
            gathered, rows = [], 0
    if rows:
        yield pa.concat_tables(gathered)


def _numbers(column: Values) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = column.to_numpy()
    return numbers

"""JSON feeds: out of the simulated shop into landing, and from landing into the pipeline."""

from collections.abc import Collection, Iterator
from datetime import date

import pyarrow as pa

from tasks.errors import FeedError
from tasks.lake import paths
from tasks.lake.arrow import Value, Values
from tasks.lake.arrow import compute as pc
from tasks.lake.arrow import json as arrow_json
from tasks.lake.checks import Checked, check_columns, check_records
from tasks.lake.feed_blocks import Block, blocks, opened
from tasks.lake.foreign import Examiner
from tasks.lake.json_records import UnreadableError, parse_record
from tasks.lake.store import Lake, Stored
from tasks.lake.values import MisfitError
from tasks.tables import Table
from tasks.window import Window

_WRITE_ROWS = 1 << 15  # per join: 32,768 records of a few hundred bytes stay in the processor's cache
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPES = _ESCAPED | {chr(code): f"\\u{code:04x}" for code in range(32) if chr(code) not in _ESCAPED}
_SPECIAL = r'[\x00-\x1f"\\]'


def write_feed(lake: Lake, table: Table, day: date, name: str, records: pa.Table) -> Stored:
    """Write `records` (the table's shop_schema) to landing as JSON Lines, compressed; always the same bytes.

    Instants are written as 2025-01-31T12:34:56.123456Z, money with its two decimals, NULL as null.
    """
    path = f"{paths.landing(table.name, day)}/{name}.jsonl.zst"
    with lake.open_output(path) as file, pa.CompressedOutputStream(file, "zstd") as stream:
        if not records.num_rows:
            stream.write(b"[]\n")  # an empty file would be taken for a damaged one
        for batch in records.combine_chunks().to_batches(_WRITE_ROWS):
            stream.write(_json_lines(batch))
    return next(stored for stored in lake.files(paths.landing(table.name, day)) if stored.path == path)


def landed(lake: Lake, table: Table, days: Window, taken: Collection[Stored]) -> list[Stored]:
    """The feeds of `table` that arrived on those days and are not among the `taken`, by path.

    A feed's name may have slashes in it, as keys of S3 often do: `2025-01-31/hour=05/feed.json` arrived on that day.
    What lies in a hidden folder is still being written.
    """
    names = {str(day) for day in days}
    found = lake.files(f"landing/{table.name}", recursive=True, since=str(days.start))
    return [stored for stored in found if _day(stored.path) in names and stored not in taken]


def read_feed(lake: Lake, table: Table, source: Stored, as_of: date) -> Iterator[Checked]:
    """Read a feed in blocks of about 16 MB: JSON Lines, an array, or an object with the records under `data`.

    Raises FeedError for a file that is damaged, empty or no JSON, and for one of another form or table; blocks before
    what is wrong have been handed out.
    """
    unknown, examiner = tuple[str, ...](), Examiner(table, source.path)
    with opened(lake, source) as stream:
        for block in blocks(table, stream, source.path):
            _refuse_cut(block, source.path)
            checked = _at_once(table, block, unknown, as_of) or check_records(table, _one_by_one(block), as_of)
            unknown = tuple(sorted({*unknown, *checked.unknown}))
            yield checked
            examiner.examine(checked)
    examiner.conclude()


def _at_once(table: Table, block: Block, unknown: Collection[str], as_of: date) -> Checked | None:
    """All records of a block by Arrow's parser, None if that is not certain to be exact.

    Arrow refuses what does not fit its column (a fraction for an integer, a third decimal, 1e400, a number for a text,
    a repeated name), but it takes several objects on a line and one object over several lines, and text that starts
    with null crashes it (pyarrow 26). So every line must look like one object, and there must be as many records.
    """
    text = block.text.replace(b"\r\n", b"\n") if b"\r" in block.text else block.text
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if not text.startswith(b"{") or text.count(b"}\n{") != lines - 1:
        return None
    options = arrow_json.ParseOptions(
        _schema(table, unknown), newlines_in_values=False, unexpected_field_behavior="error"
    )
    try:
        records = arrow_json.read_json(pa.BufferReader(text), arrow_json.ReadOptions(), options)
    except pa.ArrowInvalid:
        return None
    return check_columns(table, records, as_of, block.first) if records.num_rows == lines else None


def _schema(table: Table, unknown: Collection[str]) -> pa.Schema:
    return pa.schema([*table.history_schema, *(pa.field(name, pa.string()) for name in unknown)])


def _one_by_one(block: Block) -> Iterator[tuple[int, bytes]]:
    lines = enumerate(block.text.split(b"\n"), block.first)
    return ((position, line) for position, line in lines if line.strip())


def _refuse_cut(block: Block, path: str) -> None:
    """A last line without line break is taken if it is JSON or space; otherwise the file was cut off."""
    if block.text.endswith(b"\n") or not block.text.strip():
        return
    try:
        parse_record(block.text)
    except UnreadableError as error:
        raise FeedError(f"{path} is cut off in line {block.first} ({error}): deliver the file again.") from error
    except MisfitError:
        return  # whole, if bad: it is checked like every other


def _json_lines(batch: pa.RecordBatch) -> pa.Buffer:
    """The text of a batch, without copying it out of Arrow: the values of a text column lie one after the other."""
    parts: list[Value | Values] = []
    before = "{"
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        texts, quote, end = _json_texts(values)
        if values.null_count:
            quoted = pc.binary_join_element_wise(_literal(quote), texts, _literal(end), _literal(""))
            texts, quote, end = pc.fill_null(quoted, _literal("null")), "", ""
        parts += [_literal(f'{before}"{name}":{quote}'), texts]
        before = f"{end},"
    lines = pc.binary_join_element_wise(*parts, _literal(before.removesuffix(",") + "}\n"), _literal(""))
    _, offsets, text = lines.buffers()
    ends = memoryview(offsets).cast("q")[lines.offset : lines.offset + len(lines) + 1]
    whole: pa.Buffer = text.slice(ends[0], ends[-1] - ends[0])
    return whole


def _json_texts(values: Values) -> tuple[Values, str, str]:
    """The text of each value that is not NULL, and what JSON has before and after it."""
    texts = values.cast(pa.large_string())
    if pa.types.is_timestamp(values.type):
        instants = pc.binary_replace_slice(texts.cast(pa.large_binary()), 10, 11, b"T")
        return instants.cast(pa.large_string()), '"', 'Z"'
    if pa.types.is_string(values.type):
        return _escaped(texts), '"', '"'
    quote = '"' if pa.types.is_date(values.type) else ""
    return texts, quote, quote


def _escaped(texts: Values) -> Values:
    if not pc.any(pc.match_substring_regex(texts, _SPECIAL)).as_py():
        return texts
    for character, escape in _ESCAPES.items():
        if pc.any(pc.match_substring(texts, character)).as_py():
            texts = pc.replace_substring(texts, character, escape)
    return texts


def _day(path: str) -> str | None:
    """The name of the day's folder of a feed; None for what is none."""
    _, _, day, *name = path.split("/")
    return day if name and "/." not in path else None


def _literal(value: str) -> Value:
    return pa.scalar(value, pa.large_string())

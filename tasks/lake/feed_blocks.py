"""A feed of any size as blocks of JSON Lines: decompressed, and out of the array or the object it came in."""

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tasks.errors import FeedError
from tasks.lake.foreign import FORMS, has_key, names_shown
from tasks.lake.json_document import READ_BYTES, RECORD_BYTES, CutOffError, Document, Stream
from tasks.lake.store import Lake, Stored
from tasks.lake.values import shown
from tasks.tables import Table
from tasks.window import CHUNK_ROWS

BLOCK_BYTES = 16 << 20
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_FOREIGN = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x04\x22\x4d\x18": "lz4", b"PAR1": "Parquet"}
_DAMAGE = re.compile("decompress|inflate|Truncated compressed")


@dataclass(frozen=True)
class Block:
    """Lines of a feed, the first of them at position `first` (a line number, or the number of an array's element)."""

    text: bytes
    first: int


@contextmanager
def opened(lake: Lake, source: Stored) -> Iterator[Stream]:
    """The text of a feed, whatever it was compressed with; raises FeedError while reading if it is damaged."""
    with lake.filesystem.open_input_stream(source.path, compression=None) as peeked:
        head = peeked.read(8)
    foreign = next((name for magic, name in _FOREIGN.items() if head.startswith(magic)), None)
    if foreign:
        raise FeedError(f"{source.path} is {foreign}: deliver JSON that is plain or compressed with gzip or zstd.")
    codec = next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)
    try:
        with lake.filesystem.open_input_stream(source.path, compression=codec) as stream:
            yield stream
    except OSError as error:
        if not _DAMAGE.search(str(error)):
            raise
        raise FeedError(f"{source.path} is damaged ({error}): deliver the file again.") from error


def blocks(table: Table, stream: Stream, path: str) -> Iterator[Block]:
    """The records of a feed, one to a line, about 16 MB or 250,000 records at a time.

    The first value of the file decides on its form. An array has the records as its elements; an object that lacks the
    table's key and has an array under `data` has them there; everything else is JSON Lines. Raises FeedError for an
    empty file, for one without any JSON, for a damaged array or object, and for any other object over several lines.
    """
    start = stream.read(READ_BYTES).removeprefix(codecs.BOM_UTF8)
    while not start.strip() and (more := stream.read(READ_BYTES)):
        start += more
    kind = start.lstrip()[:1]
    if not kind:
        raise FeedError(f"{path} is empty: a feed without records is [], deliver that or the file again.")
    if kind == b"[":
        yield from _array(Document(stream, start, path))
    elif kind == b"{":
        start, enveloped = _decided(table, stream, start, path)
        yield from _envelope(table, Document(stream, start, path), path) if enveloped else _lines(stream, start, path)
    elif any(line.lstrip().startswith(b"{") for line in start.splitlines()):
        yield from _lines(stream, start, path)
    else:
        raise FeedError(f"{path} is not JSON: {FORMS}.")


def _array(document: Document) -> Iterator[Block]:
    yield from _gathered(document.elements())
    document.end()


def _envelope(table: Table, document: Document, path: str) -> Iterator[Block]:
    """The records under `data`; what else the object has is stepped over."""
    names, found = list[str](), False
    for name in document.members():
        if found and (name == "data" or has_key(table, [name])):
            raise FeedError(f"{path} has {shown(name)} after its data: {FORMS}.")
        names.append(name)
        if name == "data" and document.peek() == "[":
            found = True
            yield from _gathered(document.elements())
        else:
            document.value()
    if not found:
        raise FeedError(f"{path} is an object of {names_shown(names)}, without an array under data: {FORMS}.")
    document.end()


def _decided(table: Table, stream: Stream, start: bytes, path: str) -> tuple[bytes, bool]:
    """Read on until it shows whether the object that a feed begins with has the records under `data`.

    One that goes on for longer than a record may be can have nothing else.
    """
    while (enveloped := _is_envelope(table, start, path)) is None and len(start) <= RECORD_BYTES:
        more = stream.read(len(start))
        if not more:
            return start, False
        start += more
    return start, enveloped is not False


def _is_envelope(table: Table, start: bytes, path: str) -> bool | None:
    """Whether the object that `start` begins with lacks the table's key and has an array under `data`.

    None if the text ends before that shows. Raises FeedError if it is neither, and no line that others may follow.
    """
    document, names, data = Document(io.BytesIO(), start, path), list[str](), False
    try:
        for name in document.members():
            if has_key(table, [name]):
                return False
            names.append(name)
            data = data or (name == "data" and document.peek() == "[")
            document.value()
    except CutOffError:
        return data or None
    except FeedError:
        return data  # what is damaged is told by whoever reads it: as a bad line, or as a damaged envelope
    several = "\n" in document.passed().strip()
    if several and not data:
        raise FeedError(f"{path} has an object over several lines, of {names_shown(names)}: {FORMS}.")
    return data and (several or document.peek() != "{")


def _lines(stream: Stream, start: bytes, path: str) -> Iterator[Block]:
    """Whole lines; a last one that lacks its line break makes a block of its own."""
    pending, first = _broken(start), 1
    while chunk := stream.read(BLOCK_BYTES - len(pending) if len(pending) < BLOCK_BYTES else READ_BYTES):
        pending = _broken(pending + chunk)
        end = pending.rfind(b"\n") + 1
        if not end and len(pending) > RECORD_BYTES:
            raise FeedError(f"{path} line {first} is longer than {RECORD_BYTES >> 20} MB: deliver the file again.")
        for block in _short(pending[:end], first):
            yield block
            first += block.text.count(b"\n")
        pending = pending[end:]
    whole = pending[: pending.rfind(b"\n") + 1]
    yield from _short(whole, first)
    if len(whole) < len(pending):
        yield Block(pending[len(whole) :], first + whole.count(b"\n"))


def _broken(text: bytes) -> bytes:
    """Let lines that end in CR alone end in LF; between two braces it can be nothing but a line's end."""
    return text.replace(b"}\r{", b"}\n{") if b"\r" in text else text  # one byte is found 12 times as fast as three


def _short(text: bytes, first: int) -> Iterator[Block]:
    """Cut very short lines into blocks of 250,000; each line costs memory of its own, however short."""
    if text.count(b"\n") <= CHUNK_ROWS:
        breaks = [len(text) - 1]
    else:
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
        breaks = [*ends[CHUNK_ROWS - 1 : -1 : CHUNK_ROWS].tolist(), len(text) - 1]
    start = 0
    for end in breaks:
        if start <= end:
            yield Block(text[start : end + 1], first)
        start, first = end + 1, first + CHUNK_ROWS


def _gathered(elements: Iterator[str]) -> Iterator[Block]:
    lines, size, first = list[bytes](), 0, 1
    for element in elements:
        # A line break is space between tokens; within a text it is an error, and as \r it stays one.
        lines.append(element.replace("\n", "\r").encode("utf-8", "surrogateescape"))
        size += len(lines[-1])
        if size >= BLOCK_BYTES or len(lines) == CHUNK_ROWS:
            yield Block(b"\n".join(lines) + b"\n", first)
            first, size = first + len(lines), 0
            lines.clear()
    if lines:
        yield Block(b"\n".join(lines) + b"\n", first)

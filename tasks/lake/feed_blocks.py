"""A feed of any size as blocks of JSON Lines: decompressed, and out of the array or the object it came in."""

import codecs
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tasks.errors import FeedError
from tasks.lake.store import Lake, Stored
from tasks.tables import Table
from tasks.window import CHUNK_ROWS

BLOCK_BYTES = 16 << 20
RECORD_BYTES = 64 << 20
_READ_BYTES = 4 << 20
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_FOREIGN = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x04\x22\x4d\x18": "lz4", b"PAR1": "Parquet"}
_DAMAGE = re.compile("decompress|inflate|Truncated compressed")
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)


class Stream(Protocol):
    """What bytes are read from."""

    def read(self, nbytes: int, /) -> bytes:
        """At most `nbytes`, none only at the end."""
        ...


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

    Raises FeedError for an empty file, for one without any JSON and for an array or object that is damaged.
    """
    start = stream.read(_READ_BYTES).removeprefix(codecs.BOM_UTF8)
    while not start.strip() and (more := stream.read(_READ_BYTES)):
        start += more
    kind = start.lstrip()[:1]
    if not kind:
        raise FeedError(f"{path} is empty: a feed without records is [], deliver that or the file again.")
    if kind == b"[":
        document = _Document(stream, start, path)
        document.take("[")
        yield from _gathered(document.elements())
        document.end()
    elif kind == b"{" and _Document(io.BytesIO(), start, path).seeks_data(table):
        document = _Document(stream, start, path)
        document.seeks_data(table)
        yield from _gathered(document.elements())
        document.close_object()
        document.end()
    elif any(line.lstrip().startswith(b"{") for line in start.splitlines()):
        yield from _lines(stream, start, path)
    else:
        raise FeedError(f"{path} is not JSON: deliver JSON Lines, an array, or an object with the records under data.")


def _lines(stream: Stream, start: bytes, path: str) -> Iterator[Block]:
    """Whole lines; a last one that lacks its line break makes a block of its own."""
    pending, first = start, 1
    while chunk := stream.read(BLOCK_BYTES - len(pending) if len(pending) < BLOCK_BYTES else _READ_BYTES):
        pending += chunk
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


class _Document:
    """Walks through one JSON document, holding no more of it than one value or what was read at once."""

    def __init__(self, stream: Stream, start: bytes, path: str) -> None:
        # Bytes that are not UTF-8 are carried through: they spoil one record, not the document.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._stream, self._path, self._count = stream, path, 0
        self._text, self._at = self._decoder.decode(start), 0

    def peek(self) -> str:
        """The next character that is not space, empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        """Step over a character that has to come next."""
        if self.peek() != expected:
            raise self._damaged()
        self._at += 1

    def value(self) -> str:
        """The text of the next value, whole."""
        self.peek()
        while True:
            try:
                end = _PLAIN.raw_decode(self._text, self._at)[1]
            except (ValueError, RecursionError):
                end = len(self._text)
                if len(self._text) - self._at > RECORD_BYTES or not self._more():
                    raise self._damaged() from None
                continue
            if end < len(self._text) or not self._more():
                break
        start, self._at = self._at, end
        return self._text[start:end]

    def elements(self) -> Iterator[str]:
        """The text of each element of the array whose bracket was taken, and then its closing bracket."""
        while self.peek() != "]":
            if self._count:
                self.take(",")
            yield self.value()
            self._count += 1
        self.take("]")

    def seeks_data(self, table: Table) -> bool:
        """Step into the array under `data`; False if this is no object around records, but a record itself."""
        self.take("{")
        try:
            while self.peek() == '"':
                name = json.loads(self.value())
                self.take(":")
                if name == "data" and self.peek() == "[":
                    self.take("[")
                    return True
                if table.column(name):
                    return False
                self.value()
                self.take(",")
        except FeedError:
            return False
        return False

    def close_object(self) -> None:
        """Step over what follows the array under `data`."""
        while self.peek() == ",":
            self.take(",")
            if json.loads(self.value()) == "data":
                raise self._damaged()
            self.take(":")
            self.value()
        self.take("}")

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise self._damaged()

    def _more(self) -> bool:
        """Read on, as much again as is pending: a value that is whole only after n bytes is tried log(n) times."""
        pending = self._text[self._at :]
        read = self._stream.read(max(_READ_BYTES, len(pending)))
        self._text, self._at = pending + self._decoder.decode(read, final=not read), 0
        return bool(read)

    def _damaged(self) -> FeedError:
        near = self._text[self._at : self._at + 40]
        what = f"before {near!a}" if near else "at its end: it was cut off"
        return FeedError(f"{self._path} is damaged JSON after record {self._count}, {what}; deliver the file again.")

"""One JSON document of any size, walked through in a stream: no more of it is in memory than one value."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Protocol

from tasks.errors import FeedError
from tasks.lake.json_records import PLAIN

READ_BYTES = 4 << 20
RECORD_BYTES = 64 << 20
_SPACE = re.compile(r"[ \t\n\r]*")
_UNFINISHED = re.compile(r"[-+.\w\\]*")  # of a number, a word or an escape


class Stream(Protocol):
    """What bytes are read from."""

    def read(self, nbytes: int, /) -> bytes:
        """At most `nbytes`, none only at the end."""
        ...


class CutOffError(FeedError):
    """The document does not end."""


class Document:
    """The JSON document that begins with `start` and goes on in `stream`; errors name its `path`."""

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

    def value(self) -> str:
        """The text of the next value, whole."""
        self.peek()
        while (end := self._end_of_value()) is None or end == len(self._text):
            if end is None and len(self._text) - self._at > RECORD_BYTES:
                size = f"a value of more than {RECORD_BYTES >> 20} MB"
                raise FeedError(f"{self._path} has {size} {self._where()}: deliver it in pieces.")
            if not self._more():
                break
        if end is None:
            raise self._cut_off()
        start, self._at = self._at, end
        return self._text[start:end]

    def elements(self) -> Iterator[str]:
        """The text of each element of the array that comes next."""
        self._take("[")
        while self.peek() != "]":
            if self._count:
                self._take(",")
            yield self.value()
            self._count += 1
        self._take("]")

    def members(self) -> Iterator[str]:
        """The name of each member of the object that comes next; its value has to be taken before the next name."""
        self._take("{")
        first = True
        while self.peek() != "}":
            if not first:
                self._take(",")
            first = False
            self._expect('"')
            name = PLAIN.decode(self.value())
            self._take(":")
            yield name
        self._take("}")

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise self._damaged()

    def passed(self) -> str:
        """What was stepped over of the text in memory."""
        return self._text[: self._at]

    def _take(self, character: str) -> None:
        self._expect(character)
        self._at += 1

    def _expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise self._damaged() if found else self._cut_off()

    def _end_of_value(self) -> int | None:
        """Where the next value ends; None if it goes on after the text in memory."""
        try:
            return PLAIN.raw_decode(self._text, self._at)[1]
        except RecursionError:
            raise self._damaged() from None
        except json.JSONDecodeError as error:
            if error.msg.startswith("Unterminated string") or _UNFINISHED.fullmatch(self._text, error.pos):
                return None
            raise self._damaged() from None

    def _more(self) -> bool:
        """Read on, as much again as is pending: a value that is whole only after n bytes is tried log(n) times."""
        read = self._stream.read(max(READ_BYTES, len(self._text) - self._at))
        text = self._decoder.decode(read, final=not read)
        if text:
            self._text, self._at = self._text[self._at :] + text, 0
        return bool(read or text)

    def _damaged(self) -> FeedError:
        near = self._text[self._at : self._at + 40]
        return FeedError(f"{self._path} is damaged JSON {self._where()}, before {near!a}; deliver the file again.")

    def _cut_off(self) -> FeedError:
        return CutOffError(f"{self._path} is cut off {self._where()}: deliver the file again.")

    def _where(self) -> str:
        return f"after record {self._count}"

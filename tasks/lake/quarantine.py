"""Quarantine: the records that could not be taken, kept with the reason as JSON Lines for a person to read."""

import json
from collections.abc import Iterable
from hashlib import blake2b

from tasks.lake.checks import Bad
from tasks.lake.store import Lake

_FILE_BYTES = 4 << 20  # per source in memory; a feed of which everything is bad makes several files


class Quarantine:
    """What is bad in one source, in files of a folder that are named by their bytes.

    So a source taken again is kept once, whichever run or attempt took it, and nothing replaces or removes what an
    earlier content of it left, or earlier code refused: an entry says what could not be taken when it was written.
    """

    def __init__(self, lake: Lake, folder: str, source: str) -> None:
        self._lake, self._folder, self._source = lake, folder, source
        self._lines, self._size = list[bytes](), 0

    def put(self, bad: Iterable[Bad]) -> None:
        """Keep bad records; the last of them are written by `close`."""
        for one in bad:
            entry = {"file": self._source, "position": one.position, "reason": one.reason, "record": one.record}
            line = json.dumps(entry, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
            self._lines.append(line)
            self._size += len(line)
            if self._size >= _FILE_BYTES:
                self.close()

    def close(self) -> None:
        """Write what was put. An attempt that will be made again does not come here: it would leave half of it."""
        if self._lines:
            data = b"".join(self._lines)
            self._lake.write(f"{self._folder}/{blake2b(data, digest_size=8).hexdigest()}.jsonl", data)
        self._lines, self._size = [], 0

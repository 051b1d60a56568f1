"""Quarantine: the records that could not be taken, kept with the reason as JSON Lines for a person to read."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from hashlib import blake2b

import pyarrow as pa

from tasks.lake import paths
from tasks.lake.checks import Bad
from tasks.lake.store import Lake


class Quarantine:
    """One quarantine file. It appears with its first record, and is whole once the block that opened it ends."""

    def __init__(self, lake: Lake, path: str, stack: ExitStack) -> None:
        self._lake, self._path, self._stack = lake, path, stack
        self._stream: pa.NativeFile | None = None

    def put(self, file: str, bad: Iterable[Bad]) -> None:
        """Keep the bad records of a source file."""
        for one in bad:
            entry = {"file": file, "position": one.position, "reason": one.reason, "record": one.record}
            line = json.dumps(entry, ensure_ascii=False).encode(errors="backslashreplace")
            if self._stream is None:
                self._stream = self._stack.enter_context(self._lake.open_output(self._path))
            self._stream.write(line + b"\n")

    def close(self) -> None:
        """Finish the file; if nothing is bad any more, remove what an earlier run kept."""
        self._stack.close()
        if self._stream is None:
            self._lake.delete(self._path)


@contextmanager
def opened(lake: Lake, table: str, batch: date, source: str) -> Iterator[Quarantine]:
    """Keep what is bad in `source`, even if the block fails; taking the same source again replaces the same file."""
    name = blake2b(source.encode(), digest_size=8).hexdigest()
    quarantine = Quarantine(lake, f"{paths.quarantine(table, batch)}/{name}.jsonl", ExitStack())
    try:
        yield quarantine
    finally:
        quarantine.close()

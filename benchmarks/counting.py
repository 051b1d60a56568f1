"""Counts what a process reads of its lake: files opened, bytes read, and listings, per top folder.

Arrow reads through the lake's filesystem, which is replaced by one that counts; what Python itself opens or lists is
told by its audit events, and the names in a folder that it lists are counted by listing it once more. A way to read
that neither knows is refused rather than missed.
"""

import io
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from blocks import stack
from tasks.lake.store import LocalLake

_WRITING = os.O_WRONLY | os.O_RDWR


class Counts:
    """`by_folder` gives files, bytes, listings and entries (names seen in listings) of each top folder of the lake."""

    def __init__(self) -> None:
        self.by_folder: dict[str, Counter[str]] = {}

    def add(self, path: str, **counts: int) -> None:
        """Count something about a path relative to the lake's root."""
        self.by_folder.setdefault(path.partition("/")[0], Counter()).update(counts)


class _CountedFile(io.RawIOBase):
    """A file of which every byte that is read is counted."""

    def __init__(self, file: pa.NativeFile, path: str, counts: Counts) -> None:
        self._file, self._path, self._counts = file, path, counts
        counts.add(path, files=1)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._file.read(None if size < 0 else size)
        self._counts.add(self._path, bytes=len(data))
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


class _CountedFilesystem:
    """The part of `pyarrow.fs.FileSystem` that the lake uses, counted; anything else is an AttributeError."""

    def __init__(self, filesystem: fs.FileSystem, counts: Counts) -> None:
        self._filesystem, self._counts = filesystem, counts
        self.delete_dir, self.delete_file = filesystem.delete_dir, filesystem.delete_file

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(_CountedFile(self._filesystem.open_input_file(path), path, self._counts), mode="r")

    def open_input_stream(self, path: str, compression: Any) -> pa.NativeFile:
        file = self.open_input_file(path)
        return pa.CompressedInputStream(file, compression) if compression else file

    def get_file_info(self, wanted: Any) -> Any:
        found: Any = self._filesystem.get_file_info(wanted)
        if isinstance(wanted, fs.FileSelector):
            folders = 1 + sum(info.type == fs.FileType.Directory for info in found) * wanted.recursive
            self._counts.add(wanted.base_dir, listings=folders, entries=len(found))
        return found


def counted_lake(counts: Counts) -> None:
    """From now on, count what this process reads of the lakes that it opens."""

    class CountedLake(LocalLake):
        def __init__(self, root: Path) -> None:
            super().__init__(root)
            self.filesystem: Any = _CountedFilesystem(self.filesystem, counts)

    vars(stack)["LocalLake"] = CountedLake
    root = f"{stack.home() / 'lake'}/"
    counting = threading.local()  # set while the hook itself lists a folder

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.scandir", "os.listdir") or not isinstance(arguments[0], str | os.PathLike):
            return
        path = os.fspath(arguments[0])
        if not isinstance(path, str) or not path.startswith(root) or vars(counting):
            return
        if event != "open":
            counting.here = True
            counts.add(path.removeprefix(root), listings=1, entries=len(os.listdir(path)))  # noqa: PTH208
            del counting.here
        elif not arguments[2] & _WRITING:
            counts.add(path.removeprefix(root), files=1, bytes=Path(path).stat().st_size)

    sys.addaudithook(heard)

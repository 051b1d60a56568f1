"""The lake: files under one root, written whole or not at all."""

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from pyarrow import fs


@dataclass(frozen=True)
class Stored:
    """A file as its store describes it. `tag` (mtime or ETag) changes whenever the content may have changed."""

    path: str
    size: int
    tag: str


class Files(Protocol):
    """What a lake is read through: a `pyarrow.fs.FileSystem`, or what opens files as one does."""

    def open_input_file(self, path: str) -> pa.NativeFile:
        """A file to read anywhere; FileNotFoundError if there is none."""

    def open_input_stream(self, path: str, compression: str | None) -> pa.NativeFile:
        """A file to read from its start, decompressed; FileNotFoundError if there is none."""


class Lake(ABC):
    """Files under one root. Paths are relative to the root, with forward slashes; hidden files are nobody's."""

    def __init__(self, filesystem: Files, address: str) -> None:
        self.filesystem = filesystem
        self.address = address

    @abstractmethod
    @contextmanager
    def open_output(self, path: str) -> Iterator[pa.NativeFile]:
        """Stream a file that appears under `path` only if the block ends without an error."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Write `path` unless it exists, atomically; False if it was there."""

    @abstractmethod
    def files(self, folder: str, *, recursive: bool = False, since: str = "") -> list[Stored]:
        """The files in `folder`, by path; empty if there is no such folder.

        With `since`, only those in its folders of that name or later: what comes before costs nothing.
        """

    @abstractmethod
    def folders(self, folder: str) -> list[str]:
        """The names of the folders in `folder`, sorted; empty if there is no such folder."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder of that name."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file or a folder with all it holds; nothing happens if there is none."""

    @abstractmethod
    def sweep(self, folder: str, *, prefix: str = "", before: datetime | None = None) -> None:
        """Remove the files in `folder` and below whose names begin with `prefix`, hidden ones too.

        With `before`, only those that were last changed before that instant, by the store's clock.
        """

    def place(self, path: str) -> str:
        """Where `path` is, for people."""
        return f"{self.address}/{path}"

    def link(self, path: str) -> str:
        """Where a browser finds `path`, if the store shows it to one; else where it is."""
        return self.place(path)

    def write(self, path: str, data: bytes) -> None:
        """Write or replace `path`, whole."""
        with self.open_output(path) as stream:
            stream.write(data)

    def read(self, path: str) -> bytes:
        """The whole content of `path`; FileNotFoundError if there is none."""
        with self.filesystem.open_input_stream(path, compression=None) as stream:
            return stream.read()


class LocalLake(Lake):
    """A lake in a folder. Files are written under a hidden name and renamed, so a killed writer leaves no half file."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve()
        super().__init__(fs.SubTreeFileSystem(str(self.root), fs.LocalFileSystem()), str(self.root))

    @contextmanager
    def open_output(self, path: str) -> Iterator[pa.NativeFile]:
        """Stream into a hidden file, which takes its name once it is whole."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=target.parent)
        os.close(handle)
        try:
            with pa.OSFile(partial, "wb") as stream:
                yield stream
            Path(partial).chmod(0o644)
            Path(partial).replace(target)
        finally:
            Path(partial).unlink(missing_ok=True)

    def create(self, path: str, data: bytes) -> bool:
        """Link a whole file to its name, which the system refuses if the name is taken."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".", suffix=".partial", dir=target.parent) as partial:
            partial.write(data)
            partial.flush()
            try:
                os.link(partial.name, target)
            except FileExistsError:
                return False
        target.chmod(0o644)
        return True

    def files(self, folder: str, *, recursive: bool = False, since: str = "") -> list[Stored]:
        """The files that are whole, tagged by the time of their last change in nanoseconds."""
        top = self.root / folder
        entries = [entry for entry in top.iterdir() if entry.name >= since] if top.is_dir() else []
        inner = (path for entry in entries if recursive and entry.is_dir() for path in entry.rglob("*"))
        whole = (path for path in chain(entries, inner) if path.is_file() and not path.name.startswith("."))
        found = ((path, path.stat()) for path in whole)
        return sorted(
            (Stored(str(path.relative_to(self.root)), stat.st_size, str(stat.st_mtime_ns)) for path, stat in found),
            key=lambda stored: stored.path,
        )

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in `folder`, sorted."""
        top = self.root / folder
        return sorted(entry.name for entry in top.iterdir() if entry.is_dir()) if top.is_dir() else []

    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder of that name."""
        return (self.root / path).exists()

    def delete(self, path: str) -> None:
        """Remove a file or a folder with all it holds."""
        target = self.root / path
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def sweep(self, folder: str, *, prefix: str = "", before: datetime | None = None) -> None:
        """Remove files; and with `before`, the folders that have been empty since then."""
        for top, _, names in os.walk(self.root / folder, topdown=False):
            emptied = before is not None and _changed_before(Path(top), before)
            for path in (Path(top, name) for name in names if name.startswith(prefix)):
                if before is None or _changed_before(path, before):
                    path.unlink(missing_ok=True)
            if emptied:
                with suppress(OSError):  # it is not empty, or another run removed it
                    Path(top).rmdir()


def _changed_before(path: Path, instant: datetime) -> bool:
    """Whether it is there and was last changed before that instant."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime < instant.timestamp()
    return False

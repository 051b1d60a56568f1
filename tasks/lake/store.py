"""The lake: files under one root, written whole or not at all."""

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs


@dataclass(frozen=True)
class Stored:
    """A file as its store describes it. `tag` (mtime or ETag) changes whenever the content may have changed."""

    path: str
    size: int
    tag: str


class Lake(ABC):
    """Files under one root, reached through `pyarrow.fs`. Paths are relative to the root, with forward slashes."""

    def __init__(self, filesystem: fs.FileSystem, address: str) -> None:
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
    def files(self, folder: str, *, recursive: bool = False) -> list[Stored]:
        """The files in `folder`, by path; empty if there is no such folder."""

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in `folder`, sorted; empty if there is no such folder."""
        found = self.filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def write(self, path: str, data: bytes) -> None:
        """Write or replace `path`, whole."""
        with self.open_output(path) as stream:
            stream.write(data)

    def read(self, path: str) -> bytes:
        """The whole content of `path`; FileNotFoundError if there is none."""
        with self.filesystem.open_input_stream(path, compression=None) as stream:
            return stream.read()

    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder of that name."""
        return self.filesystem.get_file_info(path).type != fs.FileType.NotFound

    def delete(self, path: str) -> None:
        """Remove a file or a folder with all it holds; nothing happens if there is none."""
        found = self.filesystem.get_file_info(path).type
        if found == fs.FileType.Directory:
            self.filesystem.delete_dir(path)
        elif found == fs.FileType.File:
            self.filesystem.delete_file(path)


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

    def files(self, folder: str, *, recursive: bool = False) -> list[Stored]:
        """The files that are whole, tagged by the time of their last change in nanoseconds."""
        pattern = (self.root / folder).rglob("*") if recursive else (self.root / folder).glob("*")
        found = ((path, path.stat()) for path in pattern if path.is_file() and not path.name.startswith("."))
        return sorted(
            (Stored(str(path.relative_to(self.root)), stat.st_size, str(stat.st_mtime_ns)) for path, stat in found),
            key=lambda stored: stored.path,
        )

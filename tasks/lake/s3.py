"""The lake in a bucket of S3, or of a store that speaks its language.

All requests go through boto3. Arrow's own S3 filesystem is not used: closing a file after an error makes the half of it
visible, it has no setting for the store's encryption, takes credentials from no session that renews them, and tells its
errors in text only. Through boto3 an object of 60 MB is written at 1.2 times its speed, measured on loopback.
"""

import logging
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import pyarrow as pa

from tasks.errors import LakeError, TransientError
from tasks.lake.s3_calls import Bucket, S3Access, code_of
from tasks.lake.s3_streams import ForwardReader, RandomReader, Upload
from tasks.lake.store import Lake, Stored

_PROBE = "_conditional_write"
_CLAIM = ".claim-"  # hidden, so that no listing shows it
_CLAIM_LASTS = timedelta(minutes=15)  # far more than a request with all its retries
_DELETED_AT_ONCE = 1_000
_Codec = Literal["gzip", "zstd"]


class S3Files:
    """Opens objects for Arrow."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def open_input_file(self, path: str) -> pa.NativeFile:
        """An object to read anywhere; FileNotFoundError if there is none."""
        return pa.PythonFile(RandomReader(self._bucket, path), mode="r")

    def open_input_stream(self, path: str, compression: str | None) -> pa.NativeFile:
        """An object to read from its start, decompressed; FileNotFoundError if there is none."""
        file = pa.PythonFile(ForwardReader(self._bucket, path), mode="r")
        return pa.CompressedInputStream(file, cast(_Codec, compression)) if compression else file


class S3Lake(Lake):
    """A lake in a bucket, under a prefix of it. Raises LakeError for what a person has to correct."""

    def __init__(self, bucket: str, prefix: str = "", *, access: S3Access) -> None:
        self.bucket = Bucket(bucket, prefix, access)
        self._conditional: bool | None = None if access.endpoint else True
        super().__init__(S3Files(self.bucket), self.bucket.address)

    @contextmanager
    def open_output(self, path: str) -> Iterator[pa.NativeFile]:
        """Stream an object in parts of 8 MB, which appears once the block has ended."""
        upload = Upload(self.bucket, path)
        with ExitStack() as unfinished:
            unfinished.callback(upload.abort)
            with pa.PythonFile(upload, mode="w") as stream:
                yield stream
            upload.finish()
            unfinished.pop_all()

    def create(self, path: str, data: bytes) -> bool:
        """Write an object on the condition that there is none; by claims in a store without conditional writes."""
        if self._conditional is None:
            self._conditional = self._has_conditional_writes()
        return self._create_conditionally(path, data) if self._conditional else self._create_by_claim(path, data)

    def files(self, folder: str, *, recursive: bool = False, since: str = "") -> list[Stored]:
        """The objects in `folder`, tagged by their ETag: one request for 1,000 of them."""
        after = f"{folder}/{since}" if since else ""
        pages = self.bucket.pages(f"{folder}/", after=after, delimited=not recursive)
        found = (self._stored(entry) for page in pages for entry in page.get("Contents", ()))
        return [
            stored for stored in found if not stored.path.rpartition("/")[2].startswith(".") and stored.path[-1] != "/"
        ]

    def folders(self, folder: str) -> list[str]:
        """The names between `folder` and the next slash of a key, sorted."""
        pages = self.bucket.pages(f"{folder}/", delimited=True)
        found = (entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ()))
        return sorted(key.rstrip("/").rpartition("/")[2] for key in found)

    def read(self, path: str) -> bytes:
        """The whole content of an object; FileNotFoundError if there is none."""
        return ForwardReader(self.bucket, path).read()

    def place(self, path: str) -> str:
        """The s3:// address of an object, and the store's where it is not AWS."""
        return self.bucket.place(path)

    def link(self, path: str) -> str:
        """The page of AWS's console that lists a folder (its path ends with a slash) or shows an object."""
        return self.place(path) if self.bucket.access.endpoint else self.bucket.console(path)

    def exists(self, path: str) -> bool:
        """Whether there is an object of that name, or one in a folder of that name."""
        return any(self._named(path))

    def delete(self, path: str) -> None:
        """Remove an object, or all that lie in a folder."""
        file, folder = self._named(path)
        keys = [path] if file else []
        for page in self.bucket.pages(f"{path}/") if folder else ():
            self._delete(keys + [self._stored(entry).path for entry in page.get("Contents", ())])
            keys = []
        self._delete(keys)

    def sweep(self, folder: str, *, prefix: str = "", before: datetime | None = None) -> None:
        """Remove objects: one request for each 1,000 that are there, and one for those that go."""
        for page in self.bucket.pages(f"{folder}/"):
            old = (entry for entry in page.get("Contents", ()) if before is None or entry["LastModified"] < before)
            found = (self._stored(entry).path for entry in old)
            self._delete([path for path in found if path.rpartition("/")[2].startswith(prefix)])

    def _delete(self, keys: list[str]) -> None:
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            self.bucket.delete(keys[start : start + _DELETED_AT_ONCE])

    def _named(self, path: str) -> tuple[bool, bool]:
        """Whether `path` is an object, and whether it is a folder."""
        file = folder = False
        for page in self.bucket.pages(path, delimited=True):
            file |= any(self._stored(entry).path == path for entry in page.get("Contents", ()))
            folder |= {"Prefix": f"{self.bucket.prefix}{path}/"} in page.get("CommonPrefixes", ())
        return file, folder

    def _stored(self, entry: dict[str, Any]) -> Stored:
        return Stored(entry["Key"].removeprefix(self.bucket.prefix), entry["Size"], entry["ETag"].strip('"'))

    def _put(self, path: str, data: bytes, **options: Any) -> None:
        self.bucket.call("put_object", path, Body=data, **options, **self.bucket.access.sealing)

    def _create_conditionally(self, path: str, data: bytes) -> bool:
        """The writer's mark tells a lost race from a write whose answer was lost and that was then tried again."""
        mark = {"writer": secrets.token_hex(8)}
        for failures in range(self.bucket.access.attempts):
            try:
                self._put(path, data, IfNoneMatch="*", Metadata=mark)
            except TransientError as error:
                code = code_of(error)
                if code == "PreconditionFailed":
                    return bool(self.bucket.call("get_object", path)["Metadata"] == mark)
                if code != "ConditionalRequestConflict":
                    raise
                self.bucket.wait(failures)
            else:
                return True
        raise TransientError(f"Other runs keep writing {path} in {self.address}.")

    def _has_conditional_writes(self) -> bool:
        """Whether the store refuses to write what is there: one that does not know the condition may ignore it."""
        probe = f"{_PROBE}-{secrets.token_hex(8)}"  # one of its own: others may be trying the store as well
        try:
            written = self._create_conditionally(probe, b"") and self._create_conditionally(probe, b"")
        except LakeError as error:
            if code_of(error) not in ("NotImplemented", "InvalidArgument", "InvalidRequest"):
                raise
            written = True
        finally:
            self.delete(probe)
        if written:
            logging.getLogger(__name__).warning(
                "%s has no conditional writes: runs exclude each other by claims, at three requests more a commit.",
                self.address,
            )
        return not written

    def _create_by_claim(self, path: str, data: bytes) -> bool:
        """Write an object if nobody else is about to.

        Each claims first and looks second, so of two at once at least the later sees the other and steps back; who saw
        nobody writes before the claim goes. That holds in a store whose listings show what was written.
        """
        folder, _, name = path.rpartition("/")
        claims = f"{folder}/{_CLAIM}{name}-".removeprefix("/")
        mine = claims + secrets.token_hex(8)
        self._put(mine, b"")
        try:
            entries = [entry for page in self.bucket.pages(claims) for entry in page.get("Contents", ())]
            now = next(entry["LastModified"] for entry in entries if self._stored(entry).path == mine)
            others = [entry for entry in entries if self._stored(entry).path != mine]
            if any(now - entry["LastModified"] < _CLAIM_LASTS for entry in others):
                raise TransientError(f"Another run is writing {path} in {self.address}.")
            if self.exists(path):
                return False
            self._put(path, data)
            return True
        finally:
            self._delete([mine])

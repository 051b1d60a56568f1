"""Objects of a bucket as files: read forward, read anywhere, and written in parts that become one object or none."""

import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

from tasks.errors import LakeError, PipelineError, TransientError
from tasks.lake.s3_calls import Bucket, code_of

PART_BYTES = 8 << 20
"""Size of the parts of an upload: the 10,000 that S3 takes make 78 GB."""

WINDOW_BYTES = 4 << 20
"""What is fetched at once of a file that is read anywhere: a day's part is one request, a large part a few."""

_SENDERS = 3  # parts on their way at a time: with the one that is filled, an upload keeps 40 MB at most
_WHOLE = -1


class ForwardReader(io.RawIOBase):
    """An object read once from its start, in one request; after a broken connection it goes on where it was."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key, self._at = bucket, key, 0
        answer = bucket.call("get_object", key)
        self._body, self._size, self._tag = answer["Body"], answer["ContentLength"], answer["ETag"]

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = _WHOLE, /) -> bytes:
        """At most `size` bytes, none only at the end; TransientError if it cannot be read on."""
        left = self._size - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        found = []
        while wanted > 0:
            found.append(self._some(wanted))
            wanted -= len(found[-1])
        return found[0] if len(found) == 1 else b"".join(found)

    def close(self) -> None:
        """Let go of the connection."""
        self._body.close()
        super().close()

    def _some(self, wanted: int) -> bytes:
        for failures in range(self._bucket.access.attempts):
            with suppress(TransientError):
                data = self._bucket.body(self._key, self._body, wanted)
                self._at += len(data)
                return data
            self._bucket.wait(failures)
            self._reopen()
        raise TransientError(f"{self._key} in {self._bucket.address} ended again and again at byte {self._at:,}.")

    def _reopen(self) -> None:
        self._body.close()
        rest = f"bytes={self._at}-"
        self._body = self._bucket.call("get_object", self._key, Range=rest, IfMatch=self._tag)["Body"]


class RandomReader(io.RawIOBase):
    """An object read anywhere. Its end is fetched first, where Parquet has its footer, and a window at a time then."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key, self._at = bucket, key, 0
        self._tag: dict[str, str] = {}
        self._window, self._window_at = b"", 0
        self._size, self._tail = self._fetched_tail()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to `offset` from the start, from here or from the end."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = _WHOLE, /) -> bytes:
        """`size` bytes, fewer only at the end; TransientError if they cannot be fetched."""
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        found = []
        while self._at < end:
            found.append(self._some(end))
            self._at += len(found[-1])
        return found[0] if len(found) == 1 else b"".join(found)

    def _some(self, end: int) -> bytes:
        tail_at = self._size - len(self._tail)
        if self._at >= tail_at:
            return self._tail[self._at - tail_at : end - tail_at]
        if not self._window_at <= self._at < self._window_at + len(self._window):
            last = min(tail_at, max(end, self._at + WINDOW_BYTES)) - 1
            self._window = self._fetched(f"bytes={self._at}-{last}")[1]
            self._window_at = self._at
        return self._window[self._at - self._window_at : end - self._window_at]

    def _fetched_tail(self) -> tuple[int, bytes]:
        try:
            answer, data = self._fetched(f"bytes=-{WINDOW_BYTES}")
        except LakeError as error:
            if code_of(error) != "InvalidRange":
                raise
            return 0, b""  # so does S3 tell that there are no bytes; others answer with none
        self._tag = {"IfMatch": answer["ETag"]}
        return int(answer.get("ContentRange", f"/{len(data)}").rpartition("/")[2]), data

    def _fetched(self, span: str) -> tuple[dict[str, Any], bytes]:
        """An answer with all the bytes of a span, tried again if the connection breaks."""
        for failures in range(self._bucket.access.attempts):
            answer = self._bucket.call("get_object", self._key, Range=span, **self._tag)
            with closing(answer["Body"]) as body, suppress(TransientError):
                return answer, self._bucket.body(self._key, body, _WHOLE)
            self._bucket.wait(failures)
        raise TransientError(f"{self._key} in {self._bucket.address} ended again and again before {span}.")


class Upload(io.RawIOBase):
    """An object in the making. Only `finish` makes it appear; closing does nothing, so an error can leave no half."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key = bucket, key
        self._pending = bytearray()
        self._id: str | None = None
        self._sending = deque[Future[dict[str, Any]]]()
        self._sent: list[dict[str, Any]] = []
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="upload")

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes, and send what makes a whole part."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), PART_BYTES):
            self._pending += view[start : start + PART_BYTES]
            if len(self._pending) >= PART_BYTES:
                self._send(bytes(memoryview(self._pending)[:PART_BYTES]))
                del self._pending[:PART_BYTES]
        return len(view)

    def finish(self) -> None:
        """Make the object appear: a small one in one request."""
        if self._id is None:
            self._bucket.call("put_object", self._key, Body=bytes(self._pending), **self._bucket.access.sealing)
        else:
            if self._pending:
                self._send(bytes(self._pending))
            while self._sending:
                self._sent.append(self._sending.popleft().result())
            parts = {"Parts": self._sent}
            self._bucket.call("complete_multipart_upload", self._key, UploadId=self._id, MultipartUpload=parts)
        self._senders.shutdown()

    def abort(self) -> None:
        """Have the store forget the parts that it has; its lifecycle rule does where it cannot be reached."""
        self._senders.shutdown(cancel_futures=True)
        if self._id is not None:
            with suppress(PipelineError, FileNotFoundError):
                self._bucket.call("abort_multipart_upload", self._key, UploadId=self._id)

    def _send(self, data: bytes) -> None:
        if self._id is None:
            self._id = self._bucket.call("create_multipart_upload", self._key, **self._bucket.access.sealing)[
                "UploadId"
            ]
        if len(self._sending) == _SENDERS:
            self._sent.append(self._sending.popleft().result())
        number = len(self._sent) + len(self._sending) + 1
        self._sending.append(self._senders.submit(self._send_part, number, data))

    def _send_part(self, number: int, data: bytes) -> dict[str, Any]:
        answer = self._bucket.call("upload_part", self._key, UploadId=self._id, PartNumber=number, Body=data)
        return {"PartNumber": number, "ETag": answer["ETag"]}

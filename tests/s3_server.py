"""An S3 server for tests: moto on loopback in a process of its own, which tells what it was asked.

`python -m tests.s3_server` prints its address and serves until its standard input ends, as it does with its parent.
"""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEY, SECRET = "emulated", "emulated-secret"
REGION = "us-east-1"


@dataclass(frozen=True)
class Asked:
    """A request that the server answered: its query, the headers of `_KEPT`, and the keys and prefixes it listed."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    status: int
    listed: int

    @property
    def lists(self) -> bool:
        return "list-type=2" in self.query

    @property
    def key(self) -> str:
        """The access key that signed it."""
        return self.headers["HTTP_AUTHORIZATION"].partition("Credential=")[2].partition("/")[0]


@dataclass(frozen=True)
class S3Server:
    """The address of a server that runs."""

    endpoint: str

    def session(self, key: str = KEY, secret: str = SECRET, token: str | None = None) -> Any:
        import boto3

        return boto3.Session(key, secret, token, region_name=REGION)

    def client(self, service: str = "s3") -> Any:
        return self.session().client(service, endpoint_url=self.endpoint)

    def make_bucket(self, name: str) -> str:
        self.client().create_bucket(Bucket=name)
        return name

    def asked(self) -> list[Asked]:
        """What it was asked since the last time this was."""
        with urllib.request.urlopen(f"{self.endpoint}/_asked") as answer:
            return [Asked(**one) for one in json.load(answer)]

    def check_credentials(self, *, after: int) -> None:
        """Refuse wrong keys, and what their user may not do, from the request after so many."""
        kind = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", str(after).encode(), kind)
        urllib.request.urlopen(request).close()


@contextmanager
def served() -> Iterator[S3Server]:
    """A server that runs until the block ends, or this process does."""
    command = [sys.executable, "-m", "tests.s3_server"]
    # In a group of its own: Ctrl-C is for the process that started it, which then ends it.
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    )
    try:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        assert endpoint, f"the S3 server ended at once, with {process.wait()}"
        yield S3Server(endpoint)
    finally:
        process.kill()
        process.communicate()


_SEALED = "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"
_KEPT = (_SEALED, f"{_SEALED}_AWS_KMS_KEY_ID", "HTTP_RANGE", "HTTP_AUTHORIZATION")


class _Recorder:
    """Remembers requests, and lets conditional writes in one by one: moto checks first and writes then."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._asked: list[dict[str, Any]] = []
        self._alone = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/_asked":
            asked, self._asked = self._asked, []
            start_response("200 OK", [])
            return [json.dumps(asked).encode()]
        if "HTTP_IF_NONE_MATCH" in environ:
            with self._alone:
                return self._answer(environ, start_response)
        return self._answer(environ, start_response)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        statuses: list[int] = []

        def started(status: str, *rest: Any) -> Any:
            statuses.append(int(status.split(maxsplit=1)[0]))
            return start_response(status, *rest)

        body = self._application(environ, started)
        query = environ.get("QUERY_STRING", "")
        body = list(body) if "list-type=2" in query or not statuses else body
        text = b"".join(body) if "list-type=2" in query else b""
        self._asked.append(
            {
                "method": environ["REQUEST_METHOD"],
                "path": environ["PATH_INFO"],
                "query": query,
                "headers": {name: environ[name] for name in _KEPT if name in environ},
                "status": statuses[0],
                "listed": text.count(b"<Key>") + text.count(b"<CommonPrefixes>"),
            }
        )
        return body


def main() -> None:
    """Serve until standard input ends."""
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    MotoRequestHandler.protocol_version = "HTTP/1.1"  # one connection for many requests, as at AWS
    application = _Recorder(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()

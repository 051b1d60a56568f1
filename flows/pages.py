"""What links in the dashboard lead to on this machine: the pages that the embedded stack keeps in its lake."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from blocks.stack import LOCAL_PAGES
from tasks.lake.paths import PAGES


def where_links_lead(shown: bool) -> str:
    """What to say beside the dashboard's address if its links do not open: another server has their port."""
    return "" if shown else f"\nIts links do not open: {LOCAL_PAGES} is taken by another program."


class _Pages(SimpleHTTPRequestHandler):
    """Shows the folders that people read, to a browser that asks for this machine by its own name.

    The name keeps a foreign page out, whose own domain may be made to point here.
    """

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".jsonl": "text/plain; charset=utf-8"}

    def send_head(self) -> object:  # type: ignore[override]
        """Answer with a file or a listing, or with 404 for what is not for reading here."""
        asked = Path(self.translate_path(self.path)).relative_to(self.directory)
        shown = asked.parts[:1] and asked.parts[0] in PAGES
        if not shown or self.headers["Host"] != urlsplit(self.server.address).netloc:  # type: ignore[attr-defined]
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def log_message(self, *_: object) -> None:
        """Say nothing: the screen is for the runs."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, lake: Path, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        super().__init__(("127.0.0.1", port), partial(_Pages, directory=str(lake)))


@contextmanager
def pages_of(lake: Path, address: str = LOCAL_PAGES) -> Iterator[bool]:
    """Serve the reports, docs and quarantine of a lake's folder while the block lasts; whether the port was free."""
    try:
        server = _Server(lake, urlsplit(address).port or 80)
    except OSError:
        yield False
        return
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield True
        server.shutdown()

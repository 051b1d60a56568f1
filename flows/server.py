"""A Prefect server of our own on loopback, for a machine on which none is configured.

`python -m flows.server` serves the dashboard of the runs that the embedded stack keeps, until Ctrl-C.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console

from blocks.stack import home
from flows.pages import pages_of, where_links_lead
from tasks.errors import PipelineError

_PATIENCE_SECONDS = 90
DASHBOARD_PORT = 4200
"""Where Prefect's documentation and clients expect a local server."""
PORT_SETTING = "ECOMMERCE_UI_PORT"
"""The variable that names another port for the dashboard."""
_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Registering every installed integration's blocks imports them all: 6 of the 11 seconds that a start takes.
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    # The database keeps how many turns are taken, and by default only memory keeps until when: a turn that was held
    # while the server restarted would stay taken for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # A run that waits for its turn asks again after up to half a minute, where a few seconds cost this machine nothing.
    "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
}


@contextmanager
def prefect_api(port: int = 0) -> Iterator[str]:
    """The address of the Prefect API to use: the one that is configured, else a server for as long as the block lasts.

    The server keeps its runs in the embedded stack's home, prints nothing, and ends even if this process is killed. It
    listens on that port of loopback, or on any that is free.
    """
    if configured := PREFECT_API_URL.value():
        yield configured
        return
    port = _free_port(port)
    process = start_server(port)
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_until_healthy(url, process)
        with temporary_settings({PREFECT_API_URL: url}), _delivered():
            yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_PATIENCE_SECONDS)


@contextmanager
def _delivered() -> Iterator[None]:
    """Deliver at the end what Prefect's workers still hold of logs and events: soon they will find no server.

    And at the start, since workers keep the server with which they began, whatever is configured later.
    """
    deliver()
    try:
        yield
    finally:
        deliver()


def deliver() -> None:
    """Send what Prefect's workers of this process hold of logs and events, and end them."""
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=_PATIENCE_SECONDS)


def start_server(port: int) -> "subprocess.Popen[bytes]":
    """Start the server as a child process that ends with this one."""
    folder = home() / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / "server.log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-m", "flows.server", str(port), str(os.getpid())],
        env=os.environ | _environment(folder, port),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=Path(__file__).parent.parent,
        start_new_session=True,
    )


def _environment(folder: Path, port: int) -> dict[str, str]:
    return _SETTINGS | {
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_URL": f"http://127.0.0.1:{port}",  # what notifications link to
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
    }


def _free_port(wanted: int = 0) -> int:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise PipelineError(f"Port {wanted} is taken: end what listens there, or set PREFECT_API_URL.") from error
        return int(listener.getsockname()[1])


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    process.kill()
    raise PipelineError(f"The Prefect server did not start; its log is {home() / 'prefect' / 'server.log'}.")


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, whichever way."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)


def _serve(port: int) -> None:
    import uvicorn

    uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="error")


def stop_signals() -> threading.Event:
    """What is set by Ctrl-C, or by a request to end."""
    stopped = threading.Event()

    def stop(*_: Any) -> None:
        """Note the signal; who waits for it ends everything in order."""
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopped


def main(arguments: list[str]) -> None:
    """Serve until Ctrl-C; with a port and a parent's process id, as that parent's child."""
    if arguments:
        threading.Thread(target=_end_with, args=(int(arguments[1]),), daemon=True).start()
        _serve(int(arguments[0]))
        return
    stopped = stop_signals()
    with prefect_api(int(os.environ.get(PORT_SETTING, DASHBOARD_PORT))) as api, pages_of(home() / "lake") as shown:
        Console().print(f"The dashboard is at {api.removesuffix('/api')} until Ctrl-C.{where_links_lead(shown)}")
        stopped.wait()


if __name__ == "__main__":
    main(sys.argv[1:])

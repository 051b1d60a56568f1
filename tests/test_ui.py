"""`make ui` and the server behind it, as processes of their own: what a person starts there, and what Ctrl-C leaves."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from prefect.events import emit_event
from prefect.server.concurrency.lease_storage.filesystem import ConcurrencyLeaseStorage
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.stack import Stack
from flows.server import PORT_SETTING, _free_port, prefect_api
from tasks.tables import TABLES
from tasks.turn import SETTING, WAREHOUSE, limit_name
from tests.conftest import ROOT
from tests.leaks import are_kept
from tests.test_deployments import Server
from tests.test_operations import committed, loaded_tables
from tests.waiting import PATIENCE_SECONDS, until

DAY = date(2025, 1, 1)
HOLD = f"""
import sys
from tasks.turn import turn
with turn("local", "{WAREHOUSE}"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def started(module: str, home: Path) -> Iterator[Server]:
    """`python -m <module>` on a machine without any server, once it has said where; Ctrl-C ends it and all it began."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", module],
        cwd=ROOT,
        env=environment | {"ECOMMERCE_HOME": str(home), PORT_SETTING: str(_free_port())},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = next(line for line in process.stdout if "The dashboard is at" in line)
        yield Server(said.split()[4] + "/api")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0
        assert processes_of(home) == []


def processes_of(home: Path) -> list[str]:
    """What runs on the stack of that home."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("ECOMMERCE_HOME") == str(home):
                found.append(" ".join(process.cmdline()))
    return found


def at(server: Server, home: Path) -> dict[str, str]:
    """The environment of a process that takes turns on the stack of that home."""
    own = {"PREFECT_API_URL": server.api, "ECOMMERCE_HOME": str(home), "PYTHONPATH": str(ROOT), SETTING: "strict"}
    return os.environ | own


def turns_taken(server: Server) -> int:
    limit = server.get(f"/v2/concurrency_limits/{limit_name(WAREHOUSE, 'local')}")
    return int(limit["active_slots"])


def die_holding_the_turn(server: Server, home: Path) -> None:
    """Have a process take the turn, and kill it; the turn is kept for it, here for an hour."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], env=at(server, home), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
    keep_turn(home, timedelta(hours=1))


def keep_turn(home: Path, time: timedelta) -> None:
    """Let the turn of the dead one be kept for so long from now on."""
    leases = ConcurrencyLeaseStorage(home / "prefect" / "concurrency_leases")

    async def renew() -> None:
        (lease,) = await leases.read_active_lease_ids()
        await leases.renew_lease(lease, time)

    asyncio.run(renew())


def test_events_reach_the_server_of_now_and_not_that_of_before(
    home: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit_event("before", resource={"prefect.resource.id": "test"})
    monkeypatch.delenv("PREFECT_API_URL")
    with temporary_settings(restore_defaults={PREFECT_API_URL}), prefect_api() as api:
        assert api != prefect_url
        emit_event("now", resource={"prefect.resource.id": "test"})
        until(lambda: are_kept(api, "now"))
        assert not are_kept(api, "before")
    until(lambda: are_kept(prefect_url, "before"))


def test_ctrl_c_ends_the_runs_at_work_and_a_restart_keeps_no_turn_for_ever(
    copied: Callable[[Path], Stack], tmp_path: Path
) -> None:
    stack = copied(tmp_path / "home")
    home = Path(stack.workspace)
    with started("flows.ui", home) as server:
        assert "<!doctype html>" in httpx.get(server.api.removesuffix("/api"), timeout=PATIENCE_SECONDS).text.lower()
        die_holding_the_turn(server, home)
        run = server.start("daily-increment", day=str(DAY))
        until(lambda: committed(stack, DAY) == set(TABLES))  # and then it waits for its turn
        assert server.run(run)["state_name"] == "Running"

    with started("flows.server", home) as server:
        assert server.run(run)["state_name"] == "Crashed"
        assert turns_taken(server) == 1
        keep_turn(home, timedelta(0))  # as if its 90 seconds had passed
        subprocess.run(
            [sys.executable, "-m", "flows.daily_increment", "--day", str(DAY)],
            env=at(server, home),
            cwd=ROOT,
            check=True,
        )
        assert turns_taken(server) == 0
    assert loaded_tables(stack, DAY) == set(TABLES)

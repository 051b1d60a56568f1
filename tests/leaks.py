"""Searches for secrets by value: in files, processes, texts, and everything that Prefect's API shows."""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil

from tests.waiting import PATIENCE_SECONDS

SHOWN = ("logs", "artifacts", "flow_runs", "task_runs", "block_documents", "variables", "deployments")


def forms(secret: str) -> set[bytes]:
    """A secret as it may stand somewhere: as it is, in an address, in JSON, or in base64 (from any third byte on)."""
    spelt = {secret.encode(), quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    shifted = (base64.b64encode(b"\0" * n + secret.encode())[4 if n else 0 : -4] for n in range(3))
    return spelt | {form for form in shifted if len(form) >= 8}


def leaks(secrets: Iterable[str], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """Where a secret was found, by its place; the secret is not told."""
    wanted = [(n, form) for n, secret in enumerate(secrets) for form in forms(secret)]
    return sorted({f"secret {n} in {place}" for place, content in places for n, form in wanted if form in content})


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder; sockets and what vanishes meanwhile are passed over."""
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                yield str(path), path.read_bytes()


def processes() -> Iterator[tuple[str, bytes]]:
    """The command line of every process of the machine, and the environment of every child of this one.

    Not that of the Snowflake emulator, which holds the bucket's keys in place of Snowflake's integration.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            yield f"the command line of {process.pid}", "\0".join(process.cmdline()).encode()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "tests.snowflake_server" in child.cmdline():
                continue
            yield f"the environment of {child.pid}", json.dumps(dict(child.environ())).encode()


def shown(api: str, since: datetime | None = None) -> Iterator[tuple[str, bytes]]:
    """What Prefect's API shows of runs, logs, artifacts, blocks and, from an instant on, events."""
    for kind in SHOWN:
        offset, found = 0, [0]
        while found:
            page = {"offset": offset, "limit": 200}
            answer = httpx.post(f"{api}/{kind}/filter", json=page, timeout=PATIENCE_SECONDS)
            found = answer.raise_for_status().json()
            offset += len(found)
            yield f"{api}/{kind}", answer.content
    for page in events(api, since):
        yield f"{api}/events", page


def events(api: str, since: datetime | None = None) -> Iterator[bytes]:
    """The pages of the events, newest first, as they are kept: those of the last seconds may come later."""
    chosen = {"filter": {"occurred": {"since": since.isoformat()}}} if since else {}
    answer = httpx.post(f"{api}/events/filter", json=chosen, timeout=PATIENCE_SECONDS)
    yield answer.raise_for_status().content
    while following := answer.json()["next_page"]:
        answer = httpx.get(following, timeout=PATIENCE_SECONDS)
        yield answer.raise_for_status().content


def are_kept(api: str, *kinds: str) -> bool:
    """Whether the server has an event of each of those kinds by now."""
    asked = ({"filter": {"event": {"name": [kind]}}, "limit": 1} for kind in kinds)
    answers = (httpx.post(f"{api}/events/filter", json=one, timeout=PATIENCE_SECONDS) for one in asked)
    return all(answer.raise_for_status().json()["total"] for answer in answers)

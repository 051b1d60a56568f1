"""A container engine, for the tests that need one: the image of this commit, and what runs in its containers.

ECOMMERCE_IMAGE names an image to test; without it, one is built. ECOMMERCE_BUILD_NETWORK=host is for an engine without
a bridge network, which has a stand-in for the base image.
"""

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any

from flows.image import ROOT, build
from tests.test_deployments import Server

STAND_IN = "python:3.11-slim"
CLOSED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host")
"""How the pool and compose.yaml run the image, on the network of this machine."""


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


@cache
def image() -> str:
    """The image to test."""
    if os.environ.get("ECOMMERCE_BUILD_NETWORK"):
        os.environ.setdefault("ECOMMERCE_BASE", STAND_IN)
    return str(build("docker")["image"])


def build_image(name: str, folder: Path, dockerfile: str, **files: str) -> None:
    """Build an image on the same base; `files` are those beside the Dockerfile, in which {base} stands for it."""
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text)
    (folder / "Dockerfile").write_text(dockerfile.replace("{base}", base()))
    network = os.environ.get("ECOMMERCE_BUILD_NETWORK", "default")
    docker("build", "--quiet", f"--network={network}", f"--tag={name}", str(folder))


def base() -> str:
    """The image on which that to test is built."""
    (default,) = re.findall(r"^ARG BASE=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return os.environ.get("ECOMMERCE_BASE", default)


def run_in(image: str, *command: str, volume: str | None = None) -> str:
    """What a command says in a container as closed as those of the pool."""
    mounted = [f"--volume={volume}:/var/lib/ecommerce"] if volume else []
    return docker("run", "--rm", *CLOSED, *mounted, image, *command)


def count_of(image: str, volume: str, query: str) -> int:
    """The one number that a query of the warehouse on a volume gives."""
    script = "import duckdb, sys; print(duckdb.connect(sys.argv[1]).sql(sys.argv[2]).fetchall()[0][0])"
    return int(run_in(image, "python", "-c", script, "/var/lib/ecommerce/warehouse.duckdb", query, volume=volume))


@dataclass(frozen=True)
class Run:
    """The container of a flow's run, as it was described when it started, and what it printed."""

    flow: str
    described: dict[str, Any]
    following: "subprocess.Popen[str]"

    @cached_property
    def log(self) -> str:
        return self.following.communicate()[0]


@contextmanager
def watched(image: str) -> Iterator[list[Run]]:
    """The runs whose containers start while the block lasts: when they end, their containers are gone at once."""
    what = [f"--filter=image={image}", "--filter=event=start", f"--since={int(time.time())}", "--format={{.Actor.ID}}"]
    found: list[Run] = []
    with subprocess.Popen(["docker", "events", *what], stdout=subprocess.PIPE, text=True) as events:
        watching = threading.Thread(target=_collect, args=(events.stdout, found))
        watching.start()
        yield found
        events.terminate()
        watching.join()


def _collect(started: IO[str], found: list[Run]) -> None:
    for line in started:
        container = line.strip()
        inspected = subprocess.run(["docker", "inspect", container], check=False, capture_output=True, text=True)
        described = json.loads(inspected.stdout)
        if described and "io.prefect.flow-name" in described[0]["Config"]["Labels"]:
            command = ["docker", "logs", "--follow", container]
            following = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            found.append(Run(described[0]["Config"]["Labels"]["io.prefect.flow-name"], described[0], following))


class Deployed(Server):
    """The API, as far as it concerns the deployments of one stack."""

    def __init__(self, api: str, stack: str) -> None:
        super().__init__(api)
        self._stack = stack

    def deployment(self, flow: str) -> dict[str, Any]:
        return self._client.get(f"/deployments/name/{flow}/{flow}-{self._stack}").json()

    def logs(self) -> list[str]:
        """Every message that a run has logged."""
        found: list[str] = []
        while page := self.post("/logs/filter", offset=len(found), limit=200).json():
            found += [line["message"] for line in page]
        return found

"""What the benchmarks of the flows share: scratch homes, a Prefect server, measured child processes, a report.

Linux only: peak memory and bytes read come from the kernel (`/proc`).
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import prefect_api

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "benchmarks"
MIB = 1 << 20

_SAMPLED_EVERY = 0.2
_PAGE = 200
_RECORDED_WITHIN = 60.0


@dataclass(frozen=True)
class Figure:
    """One line of a report: what was measured, and what it may be at most or at least (None: nothing is promised)."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        least, most = self.at_least, self.at_most
        return (most is None or self.value <= most) and (least is None or self.value >= least)

    @property
    def limit(self) -> str:
        """What is promised."""
        return (
            f"{self.at_most:,.2f}" if self.at_most is not None else f">= {self.at_least:,.2f}" if self.at_least else ""
        )


@dataclass(frozen=True)
class Run:
    """One flow run in a process of its own.

    `seconds` are the flow's, `process_seconds` also those of starting Python, importing, and stopping Postgres.
    `peak` is the greatest resident memory of the process, `read` what it asked the kernel to read during the flow,
    both in bytes. `counted` are the reads of the lake per folder, if they were counted.
    """

    flow_run: str
    seconds: float
    process_seconds: float
    peak: int
    read: int
    rows: int
    counted: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Step:
    """The tasks of one step of a flow run: their number, their seconds added up, and those from first to last."""

    name: str
    tasks: int
    added: float
    seconds: float


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for everything that a benchmark writes, removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="ecommerce-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A Prefect server of the benchmark's own, whatever is configured; its address."""
    before = os.environ.get("ECOMMERCE_HOME")
    os.environ["ECOMMERCE_HOME"] = str(folder)
    try:
        with temporary_settings(restore_defaults={PREFECT_API_URL}), prefect_api() as url:
            yield url
    finally:
        os.environ.pop("ECOMMERCE_HOME")
        if before is not None:
            os.environ["ECOMMERCE_HOME"] = before


def environment(home: Path, api: str | None) -> dict[str, str]:
    """The environment of a child that keeps its stack in `home`, with no other Prefect profile than the default one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    chosen = {"ECOMMERCE_HOME": str(home), "PREFECT_HOME": f"{home}-prefect"}
    return kept | chosen | ({"PREFECT_API_URL": api} if api else {})


def run_flow(name: str, arguments: Mapping[str, object], home: Path, api: str, *, count: bool = False) -> Run:
    """Run a flow of the stack in `home` in a process of its own; ends the benchmark if it fails."""
    out, log = home.with_name(f"{home.name}-measured.json"), home.with_name(f"{home.name}.log")
    command = [sys.executable, "-m", "benchmarks.child", name, json.dumps(arguments, default=str), str(out)]
    began = time.perf_counter()
    with log.open("wb") as file:
        ended = subprocess.run(
            [*command, *(["--count"] if count else [])],
            env=environment(home, api),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            check=False,
        )
    if ended.returncode:
        raise SystemExit(f"{name} failed:\n{log.read_text()[-4_000:]}")
    return Run(**json.loads(out.read_text()), process_seconds=time.perf_counter() - began)


def steps(run: Run) -> list[Step]:
    """The steps of a flow run in their order, as the Prefect API in use has recorded their tasks."""
    by_step: dict[str, list[TaskRun]] = {}
    for task in sorted(_task_runs(run.flow_run), key=_start):
        by_step.setdefault(task.name.split()[0], []).append(task)
    return [_step(name, tasks) for name, tasks in by_step.items()]


def _step(name: str, tasks: Sequence[TaskRun]) -> Step:
    starts, ends = [_start(task) for task in tasks], [_end(task) for task in tasks]
    added = sum(end - start for start, end in zip(starts, ends, strict=True))
    return Step(name, len(tasks), added, max(ends) - min(starts))


def _task_runs(flow_run: str) -> list[TaskRun]:
    """All task runs, once the server has worked off the events that tell it of them."""
    give_up = time.monotonic() + _RECORDED_WITHIN
    while time.monotonic() < give_up:
        found = _read_task_runs(flow_run)
        if any(task.name.startswith("reconcile") for task in found) and all(task.end_time for task in found):
            return found
        time.sleep(_SAMPLED_EVERY)
    raise SystemExit(f"Prefect did not record the tasks of flow run {flow_run} within {_RECORDED_WITHIN:.0f} s")


def _read_task_runs(flow_run: str) -> list[TaskRun]:
    chosen, found = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run)])), list[TaskRun]()
    with get_client(sync_client=True) as client:
        while page := client.read_task_runs(flow_run_filter=chosen, limit=_PAGE, offset=len(found)):
            found += page
    return found


def _start(task: TaskRun) -> float:
    return task.start_time.timestamp() if task.start_time else 0.0


def _end(task: TaskRun) -> float:
    return task.end_time.timestamp() if task.end_time else 0.0


class PostgresMemory(threading.Thread):
    """Watches the Postgres server of a folder: `peak` is the greatest sum of its processes' memory, in bytes.

    Memory is the proportional set size, in which the buffers that the processes share count once.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid_file = folder / "postmaster.pid"
        self._ended = threading.Event()

    def __enter__(self) -> "PostgresMemory":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Sample until the block ends."""
        while not self._ended.wait(_SAMPLED_EVERY):
            self.peak = max(self.peak, sum(map(_proportional, self._processes())))

    def _processes(self) -> list[psutil.Process]:
        try:
            postmaster = psutil.Process(int(self._pid_file.read_text().partition("\n")[0]))
            return [postmaster, *postmaster.children(recursive=True)]
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return []


def _proportional(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def warn_if_busy() -> float:
    """The machine's load of the last minute, with a warning where it spoils the figures."""
    load = os.getloadavg()[0]
    if load > 1:
        print(f"The machine is busy (load {load:.1f}): times will be too long.", flush=True)
    return load


def publish(name: str, figures: Sequence[Figure], **details: object) -> bool:
    """Print the figures as a table and write them, with the details, to build/benchmarks/<name>.json.

    Returns whether every promise is kept, for the exit code of a benchmark.
    """
    width = max(len(figure.what) for figure in figures)
    print(f"{name:{width}}{'measured':>12}{'at most':>12}")
    for figure in figures:
        verdict = "" if figure.holds else "  MISSED"
        print(f"{figure.what:{width}}{figure.value:>12,.2f}{figure.limit:>12} {figure.unit}{verdict}")
    report: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "figures": [vars(figure) | {"holds": figure.holds} for figure in figures],
        **details,
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(report, indent=2, default=vars) + "\n")
    return all(figure.holds for figure in figures)

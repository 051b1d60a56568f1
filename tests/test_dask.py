"""A cluster of two workers makes what threads make, and both workers have a part in it."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster, get_task_stream
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from flows.runner import SETTING, WORKERS, chosen_runner
from tasks import window
from tasks.errors import ReconcileError
from tasks.source import embedded
from tests.test_determinism import Digests, digests

START, THROUGH, NEXT = date(2024, 12, 1), date(2025, 1, 10), date(2025, 1, 11)


def small_chunks() -> None:
    """Have a small shop's tables taken in several chunks, as a large one's are."""
    window.plan_chunks.__defaults__ = (500,)


def move(home: Path) -> None:
    """Have a worker find the embedded stack there."""
    os.environ["ECOMMERCE_HOME"] = str(home)


@pytest.fixture(scope="module")
def cluster(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Two workers, each a process of its own."""
    folder = str(tmp_path_factory.mktemp("dask"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_url)
        patch.setattr(window.plan_chunks, "__defaults__", window.plan_chunks.__defaults__)
        small_chunks()
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, local_directory=folder
            ) as cluster,
            Client(cluster) as client,
        ):
            client.run(small_chunks)
            yield client


def load(home: Path, runner: TaskRunner[Any], patch: pytest.MonkeyPatch) -> Digests:
    """What the lake of a new stack holds after a historical load and an increment on that task runner."""
    patch.setenv("ECOMMERCE_HOME", str(home))
    historical_load.with_options(task_runner=runner)(START, THROUGH, scale=0.03, seed=5)
    report = daily_increment.with_options(task_runner=runner)(NEXT)
    assert report.warnings == ()
    return digests(home)


def test_a_cluster_makes_what_threads_make(cluster: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_threads = load(tmp_path / "threads", ThreadPoolTaskRunner(2), monkeypatch)
    embedded.stop(tmp_path / "threads" / "postgres")

    monkeypatch.setenv(SETTING, cluster.scheduler.address)
    cluster.run(move, tmp_path / "cluster")
    with get_task_stream(cluster) as stream:
        by_cluster = load(tmp_path / "cluster", chosen_runner(), monkeypatch)
    assert by_cluster == by_threads
    for name in ("generate", "extract"):
        assert len({task["worker"] for task in stream.data if task["key"].startswith(name)}) == 2, name
    assert not any(task["key"].startswith("load") for task in stream.data)  # DuckDB takes one process

    with pytest.raises(ReconcileError, match=r"orders: landing/orders/2025-01-12/ has no file"):
        daily_increment.with_options(task_runner=chosen_runner())(date(2025, 1, 12), generate=False)
    embedded.stop(tmp_path / "cluster" / "postgres")


def test_threads_are_what_runs_tasks_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", "threads"):
        monkeypatch.delenv(SETTING, raising=False) if value is None else monkeypatch.setenv(SETTING, value)
        assert chosen_runner() == ThreadPoolTaskRunner(WORKERS)

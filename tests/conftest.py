"""What several test files share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import IO, Any, TypeAlias

import pytest
from hypothesis import settings
from prefect import tags
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.stack import Stack
from flows.historical_load import historical_load
from flows.server import prefect_api
from flows.transform import transform
from tasks.source import embedded
from tests import s3_server
from tests.s3_server import S3Server

settings.register_profile("repeatable", derandomize=True)  # --hypothesis-profile=default looks for new examples
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]

QUIET = {"PREFECT_LOGGING_TO_API_ENABLED": "false"}

Flow: TypeAlias = tuple[str, dict[str, Any]]
"""Name and parameters of a flow, as JSON."""


@pytest.fixture(scope="session")
def postgres_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an embedded Postgres that all tests of the session may use; it is stopped at the end."""
    folder = tmp_path_factory.mktemp("source") / "postgres"
    yield folder
    embedded.stop(folder)


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server that all tests of the session share, whatever the machine has configured."""
    with pytest.MonkeyPatch.context() as patch, temporary_settings(restore_defaults={PREFECT_API_URL}):
        patch.setenv("ECOMMERCE_HOME", str(tmp_path_factory.mktemp("server")))
        with prefect_api() as url:
            yield url


@pytest.fixture
def home(tmp_path: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a new embedded stack."""
    monkeypatch.setenv("ECOMMERCE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    yield tmp_path / "home"
    embedded.stop(tmp_path / "home" / "postgres")


class Processes:
    """Runs flows on one stack, each step in a process of its own; see `tests/runs.py`."""

    def __init__(self, home: Path, api: str, errors: IO[str], options: Sequence[str], **environment: str) -> None:
        self._home = str(home)
        self._errors = errors
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "runs.py"), *options],
            env=os.environ | QUIET | {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": api} | environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def begin(self, *flows: Flow, death: dict[str, Any] | None = None, at_once: int = 1) -> None:
        """Have flows run, the last until its death if one is given, in so many processes at once; `end` waits."""
        assert self._process.stdin is not None
        step = {"home": self._home, "flows": flows, "death": death, "at_once": at_once}
        print(json.dumps(step), file=self._process.stdin, flush=True)

    def end(self) -> tuple[int, str | None]:
        """The exit code of the oldest step whose end nobody waited for, and the function in which it was killed."""
        assert self._process.stdout is not None
        died = None
        for line in self._process.stdout:
            answer = json.loads(line)
            died = answer.get("died", died)
            if "status" in answer:
                return answer["status"], died
        raise AssertionError(f"the process of the flows ended by itself: {self.said()}")

    def run(self, *flows: Flow, death: dict[str, Any] | None = None, at_once: int = 1) -> tuple[int, str | None]:
        self.begin(*flows, death=death, at_once=at_once)
        return self.end()

    def said(self) -> str:
        """The newest of the errors that the flows told of."""
        self._errors.seek(0)
        return "".join(line for line in self._errors if "Error" in line)[-3_000:]

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def processes(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Processes]]:
    """What starts processes that run flows on the stack of a folder; their Postgres is stopped at the end."""
    with ExitStack() as stack:

        def start(
            home: Path, *, chunk_rows: int, workers: int = 4, part_bytes: int | None = None, **environment: str
        ) -> Processes:
            options = [str(option) for option in (chunk_rows, workers, part_bytes) if option is not None]
            errors = stack.enter_context((tmp_path_factory.mktemp("errors") / "errors").open("w+"))
            started = Processes(home, prefect_url, errors, options, **environment)
            stack.callback(_stop_postgres, home / "postgres")
            stack.callback(started.close)
            return started

        yield start


def _stop_postgres(folder: Path) -> None:
    """Stop the server that a killed process left behind."""
    if folder.exists():
        embedded.start(folder)
        embedded.stop(folder)


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Path:
    """A stack at rest that holds the history of a small simulated shop, December 2024, to be copied."""
    folder = tmp_path_factory.mktemp("loaded") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOMMERCE_HOME", str(folder))
        patch.setenv("PREFECT_API_URL", prefect_url)
        historical_load(date(2024, 12, 1), date(2024, 12, 31), scale=0.02)
        embedded.stop(folder / "postgres")
    return folder


@pytest.fixture(scope="session")
def copied(loaded: Path) -> Callable[[Path], Stack]:
    """What makes a copy of `loaded`, the owner of Postgres' files included, as which the server runs."""

    def copy(folder: Path) -> Stack:
        subprocess.run(["cp", "-a", loaded, folder], check=True)
        return Stack.in_folder(folder)

    return copy


@pytest.fixture(scope="session")
def marts(copied: Callable[[Path], Stack], prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The history of `loaded` with marts, built by a run tagged `marts`; tests leave raw and marts as they are."""
    stack = copied(tmp_path_factory.mktemp("marts") / "home")
    with pytest.MonkeyPatch.context() as patch, tags("marts"):
        patch.setenv("ECOMMERCE_HOME", stack.workspace)
        patch.setenv("PREFECT_API_URL", prefect_url)
        report = transform()
    assert len(report.nodes) > 60
    assert report.warnings == ()
    return stack


@pytest.fixture
def shop(copied: Callable[[Path], Stack], home: Path) -> Stack:
    """A stack of its own with the history of `loaded`."""
    return copied(home)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server that all tests of the session share; each makes a bucket of its own."""
    with s3_server.served() as server:
        yield server


@pytest.fixture(scope="session")
def snowflake() -> Iterator[dict[str, Any]]:
    """How to connect to a Snowflake emulator that all tests of the session share; each names a database of its own."""
    from tests import snowflake_server

    with snowflake_server.served() as connection:
        yield connection

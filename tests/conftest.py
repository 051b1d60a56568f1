"""What several test files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import prefect_api
from tasks.source import embedded


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

"""No secret of a stack is found by its value after a whole run at DEBUG: not in a log, the API, a process or a file."""

import logging
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL, temporary_settings
from prefect_snowflake import SnowflakeCredentials

from blocks.register import save
from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from flows.server import prefect_api
from flows.transform import transform
from tasks import dbt
from tasks.announce import COMPLETED, FAILED
from tasks.errors import ReconcileError
from tasks.lineage import MATERIALIZED
from tests import leaks, snowflake_server
from tests.emulated import NAME, PASSWORD, emulated
from tests.s3_server import SECRET
from tests.waiting import until

START, THROUGH = date(2024, 12, 1), date(2024, 12, 10)
PASSPHRASE, WRONG, TOKEN = "phrase-sekret", "wrong-sekret", "oauth-sekret"
DEBUG = ["--log-level-file", "debug"]


class Searched(NamedTuple):
    """What a run left: its secrets, its texts by place, and what the processes showed while it ran."""

    secrets: list[str]
    api: str
    home: Path
    texts: dict[str, str]
    running: list[tuple[str, bytes]]
    inherited: list[bytes]


def private_key() -> tuple[bytes, list[str]]:
    """A key in PEM under a passphrase, and how its secret parts may be spelt."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    lock = serialization.BestAvailableEncryption(PASSPHRASE.encode())
    locked = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    lines = [text.decode().splitlines()[5] for text in (locked, plain)]
    return locked, lines


def with_a_key(stack: Stack, key: bytes) -> None:
    """Have dbt connect with a key pair, and the loader with a password."""
    stack.transformer = stack.warehouse.model_copy(deep=True)
    login = {"account": "emulated", "user": "transformer", "role": "ecommerce_transformer"}
    stack.transformer.credentials = SnowflakeCredentials(
        **login, private_key=key, private_key_passphrase=PASSPHRASE, authenticator="snowflake_jwt"
    )
    list(save(stack, NAME))


def with_a_token(stack: Stack) -> None:
    """Have the loader connect with an OAuth token."""
    login = {"account": "emulated", "user": "loader", "role": "ecommerce_loader"}
    stack.warehouse.credentials = SnowflakeCredentials(**login, token=TOKEN, authenticator="oauth")
    list(save(stack, NAME))


def whole_run(stack: Stack) -> None:
    """A load, a day more, a build, and a day that fails for a wrong password."""
    historical_load(START, THROUGH, scale=0.02, stack=NAME)
    with_a_token(stack)
    daily_increment(THROUGH + timedelta(1), NAME)
    transform(stack=NAME)
    stack.reader.connection_info.password = WRONG
    list(save(stack, NAME))
    with pytest.raises(ReconcileError, match="password"):
        daily_increment(THROUGH + timedelta(2), NAME)


def watched(ended: threading.Event, seen: list[tuple[str, bytes]]) -> None:
    while not ended.wait(2):
        seen += leaks.processes()


def in_a_child(invoke: dbt.Invoke, inherited: list[bytes]) -> dbt.Invoke:
    """What runs dbt, and as its first nodes start a process that tells its environment."""

    def invoked(manifest: Any, arguments: list[str], on_event: dbt.OnEvent) -> Any:
        def hear(event: Any) -> None:
            on_event(event)
            if event.info.name == "NodeStart" and not inherited:
                inherited.append(subprocess.run(["env"], capture_output=True, check=True).stdout)

        return invoke(manifest, arguments, hear)

    return invoked


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    home, records, running, inherited = tmp_path_factory.mktemp("secrets"), list[str](), list[Any](), list[bytes]()
    key, lines = private_key()
    ended = threading.Event()
    watcher = threading.Thread(target=watched, args=(ended, running))
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_LOGGING_LEVEL: "DEBUG"}, restore_defaults={PREFECT_API_URL}),
    ):
        patch.setenv("ECOMMERCE_HOME", str(home))
        patch.setattr(dbt, "invoke_dbt", in_a_child(dbt.invoke_dbt, inherited))
        patch.setattr(dbt, "_options", debugging(dbt._options))
        with prefect_api() as api, emulated(home) as stack, debug_records(records):
            with_a_key(stack, key)
            watcher.start()
            whole_run(stack)
            ended.set()
            watcher.join()
            secrets = [PASSWORD, SECRET, snowflake_server.PASSWORD, PASSPHRASE, WRONG, TOKEN, *lines]
            yield Searched(secrets, api, home, {"the log": "\n".join(records)}, running, inherited)


def debugging(options: Callable[..., list[str]]) -> Callable[..., list[str]]:
    return lambda *arguments: [*options(*arguments)[:-2], *DEBUG]


class _Kept(logging.Handler):
    def __init__(self, records: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(self.format(record))


class debug_records:  # noqa: N801 - a context manager
    """Everything that any logger says at DEBUG while the block runs, with tracebacks."""

    def __init__(self, records: list[str]) -> None:
        self._handler, self._records = _Kept(records), records

    def __enter__(self) -> None:
        self._loggers = [logging.getLogger(name) for name in ("", "prefect", "botocore", "snowflake", "httpcore")]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self._handler)  # at each, since a test before this one may keep them from the root

    def __exit__(self, *error: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
            logger.removeHandler(self._handler)


def test_no_log_line_has_a_secret(searched: Searched) -> None:
    text = searched.texts["the log"]
    assert [word for word in ("botocore", "rows loaded", "password authentication failed") if word not in text] == []
    assert leaks.leaks(searched.secrets, [("the log", text.encode())]) == []


def test_nothing_that_prefect_shows_has_a_secret(searched: Searched) -> None:
    until(lambda: leaks.are_kept(searched.api, COMPLETED, FAILED, MATERIALIZED))
    shown = list(leaks.shown(searched.api))
    assert any(b"password authentication failed" in content for _, content in shown)
    assert leaks.leaks(searched.secrets, shown) == []


def test_no_file_has_a_secret(searched: Searched) -> None:
    files = dict(leaks.files(searched.home))
    log = next(content for name, content in files.items() if name.endswith("dbt.log"))
    assert b"[debug]" in log
    assert leaks.leaks(searched.secrets, files.items()) == []


def test_no_process_shows_a_secret(searched: Searched) -> None:
    assert len(searched.running) > 100
    assert leaks.leaks(searched.secrets, searched.running) == []


def test_a_process_started_while_dbt_runs_inherits_no_secret(searched: Searched) -> None:
    assert searched.inherited
    for environment in searched.inherited:
        assert b"PATH=" in environment
        assert b"DBT_ENV_SECRET_" not in environment
        assert leaks.leaks(searched.secrets, [("the environment", environment)]) == []

"""`python -m blocks.register`: from variables to documents, and whether each part works."""

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from dotenv import dotenv_values

from blocks import checks, register, settings
from blocks.stack import Stack
from flows.cli import said_in_one_sentence
from tasks.errors import ParameterError
from tests import leaks
from tests.postgres_server import Postgres, served
from tests.s3_server import KEY, REGION, SECRET, S3Server

ROOT = Path(__file__).parents[1]
WRITER, READER = "wr1te/sekret?", "re4d+sekret&"
SECRETS = (WRITER, READER, SECRET)
_names = (f"stack-{n}" for n in count())

Given = Callable[..., None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Given:
    """What sets the variables of a stack, and no others: their names without the prefix, None to leave one out."""

    def set_(**variables: object) -> None:
        for name in [name for name in os.environ if name.startswith("ECOMMERCE_")]:
            monkeypatch.delenv(name)
        for name, value in {"HOME": tmp_path / "home", **variables}.items():
            if value is not None:
                monkeypatch.setenv(f"ECOMMERCE_{name}", str(value))

    monkeypatch.chdir(tmp_path)
    return set_


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server over TLS with a role that owns the schema `shop` and one that only reads it."""
    with tempfile.TemporaryDirectory(prefix="server-") as folder, served(Path(folder)) as postgres:
        postgres.execute(
            f"create role writer login password '{WRITER}'",
            f"create role reader login password '{READER}'",
            "create schema shop authorization writer",
            "grant usage on schema shop to reader",
            "alter default privileges for role writer in schema shop grant select on tables to reader",
        )
        yield postgres


@pytest.fixture
def usual(server: Postgres, s3: S3Server) -> dict[str, object]:
    """The variables of a stack in S3 and Postgres that works; its warehouse is DuckDB."""
    name = next(_names)
    return {
        "WAREHOUSE": "duckdb",
        "S3_BUCKET": s3.make_bucket(f"lake-{name}"),
        "S3_ENDPOINT": s3.endpoint,
        "S3_REGION": REGION,
        "S3_ACCESS_KEY_ID": KEY,
        "S3_SECRET_ACCESS_KEY": SECRET,
        "POSTGRES_HOST": server.host,
        "POSTGRES_PORT": server.port,
        "POSTGRES_DATABASE": server.database,
        "POSTGRES_SSLROOTCERT": server.certificate,
        "SOURCE_SCHEMA": "shop",
        "WRITER_USER": "writer",
        "WRITER_PASSWORD": WRITER,
        "READER_USER": "reader",
        "READER_PASSWORD": READER,
    }


@pytest.fixture
def api(prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    return prefect_url


def registered(name: str, *options: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended, said_in_one_sentence():
        register.app([name, *options])
    return int(ended.value.code or 0)


def test_every_missing_variable_is_named_at_once(given: Given) -> None:
    given(S3_ENCRYPTION="rot13", S3_BUCKET="b", LOADER_USER="")
    with pytest.raises(ParameterError) as raised:
        settings.read()
    missing = re.search(r"missing: ([A-Z0-9_, ]+)", str(raised.value))
    assert missing is not None
    assert missing[1].replace("ECOMMERCE_", "").split(", ") == [
        *("POSTGRES_HOST", "POSTGRES_DATABASE", "WRITER_USER", "WRITER_PASSWORD"),
        *("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_DATABASE", "LOADER_USER", "LOADER_ROLE", "LOADER_WAREHOUSE"),
    ]
    assert "ECOMMERCE_S3_ENCRYPTION" in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"S3_SECRET_ACCESS_KEY": None}, "ECOMMERCE_S3_SECRET_ACCESS_KEY are given together"),
        ({"S3_KMS_KEY": "arn:aws:kms:x"}, "ECOMMERCE_S3_KMS_KEY needs"),
        ({"POSTGRES_PORT": WRITER}, "ECOMMERCE_POSTGRES_PORT Input should be a valid integer"),
        ({"LAKE": "azure"}, "ECOMMERCE_LAKE Input should be 's3' or 'local'"),
    ],
)
def test_a_wrong_variable_is_named_without_its_value(
    given: Given, usual: dict[str, object], wrong: dict[str, object], said: str
) -> None:
    given(**(usual | wrong))
    with pytest.raises(ParameterError, match=said) as raised:
        settings.read()
    assert not leaks.leaks(SECRETS, [("the error", str(raised.value).encode())])


def test_every_variable_is_documented_and_no_credential_has_a_default() -> None:
    kinds = [kind for kind in vars(settings).values() if isinstance(kind, type) and issubclass(kind, settings.Settings)]
    prefixed = [kind for kind in kinds if kind.model_config.get("env_prefix")]
    declared = {kind.variable(field) for kind in prefixed for field in kind.model_fields}
    text = re.sub(r"^# (?=ECOMMERCE_)", "", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    documented = dotenv_values(stream=StringIO(text))  # with every variable that is optional
    assert set(documented) == declared
    secret = ("PASSWORD", "TOKEN", "PASSPHRASE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "KEY_PATH", "USER")
    assert not any(value for name, value in documented.items() if name.endswith(secret))
    assert not any("#" in (value or "") for value in documented.values())


def test_a_dry_run_shows_everything_but_the_secrets(
    given: Given, usual: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    given(**usual)
    register.main("shown", dry_run=True)
    said = capsys.readouterr().out
    for expected in ("s3-bucket/shown-lake", "sqlalchemy-connector/shown-reader", "ecommerce-stack/shown", "writer"):
        assert expected in said
    assert said.count("**********") == 3
    assert not leaks.leaks(SECRETS, [("the screen", said.encode())])


@pytest.mark.parametrize("name", ["local", "Prod", "a b", "-a", ""])
def test_a_name_that_prefect_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="cannot name a registered stack"):
        register.described(name)


def test_a_stack_is_saved_and_each_part_tried(
    api: str, given: Given, usual: dict[str, object], s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    given(**usual)
    assert registered("works") == 0
    said = capsys.readouterr().out
    assert re.search(r"works +lake: s3://lake-.*a second writer was refused", said)
    assert re.search(r"works +source: Postgres \d.*writer may write", said)
    assert re.search(r"works +reader: Postgres \d.*reader may only read; not yet there", said)
    assert re.search(r"works +warehouse: duckdb", said)
    stack = Stack.named("works")
    assert s3.client().list_objects_v2(Bucket=usual["S3_BUCKET"])["KeyCount"] == 0
    stack.open_source().create_tables()
    assert stack.open_reader().rights().readable


def test_registering_again_replaces_every_document(api: str, given: Given, usual: dict[str, object]) -> None:
    given(**usual)
    assert registered("again") == 0
    first = Stack.named("again")
    given(**(usual | {"READER_USER": None, "READER_PASSWORD": None, "LANDING_DAYS": 7, "S3_FOLDER": "below"}))
    assert registered("again") == 0
    second = Stack.named("again")
    assert (second.reader, second.landing_days, second.lake.bucket_folder) == (None, 7, "below")
    assert second._block_document_id == first._block_document_id
    given(LAKE="local", SOURCE="embedded", WAREHOUSE="duckdb")
    list(register.save(register.described("again"), "again"))
    assert Stack.named("again").lake.basepath.endswith("home/lake")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"WRITER_PASSWORD": "another"}, r"FAILED +source: .*password.*; correct username and password .*-source\)"),
        ({"WRITER_USER": "reader", "WRITER_PASSWORD": READER}, r"FAILED +source: reader may neither create .*CREATE"),
        ({"READER_USER": "writer", "READER_PASSWORD": WRITER}, r"FAILED +reader: writer may change .*SELECT alone"),
        ({"S3_BUCKET": "missing-bucket"}, r"FAILED +lake: .*missing-bucket"),
        ({"POSTGRES_DATABASE": "shops"}, r'FAILED +reader: .*"shops" does not exist; correct .*database'),
    ],
)
def test_what_does_not_work_is_said_with_what_to_do(
    api: str,
    given: Given,
    usual: dict[str, object],
    capsys: pytest.CaptureFixture[str],
    wrong: dict[str, object],
    said: str,
) -> None:
    given(**usual)
    register.described("any").open_source().create_tables()
    given(**(usual | wrong))
    assert registered("fails") == 1
    assert re.search(said, capsys.readouterr().out)


@pytest.fixture
def snowflakes(usual: dict[str, object], snowflake: dict[str, Any]) -> dict[str, object]:
    """The variables of a stack like the usual one, but with its warehouse in Snowflake."""
    address = {f"SNOWFLAKE_{name}".upper(): snowflake[name] for name in ("account", "host", "port", "protocol")}
    member = {"USER": "someone", "ROLE": "ecommerce", "WAREHOUSE": "ecommerce", "PASSWORD": snowflake["password"]}
    members = {f"{who}_{name}": value for who in ("LOADER", "TRANSFORMER") for name, value in member.items()}
    return usual | address | members | {"WAREHOUSE": "snowflake", "SNOWFLAKE_DATABASE": "registered"}


def test_snowflake_is_tried_by_each_of_its_roles(
    api: str, given: Given, snowflakes: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    given(**snowflakes)
    assert registered("flakes") == 0
    said = capsys.readouterr().out
    assert re.search(r"works +warehouse: snowflake: connected, raw is there", said)
    assert re.search(r"works +transformer: snowflake: connected", said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"LOADER_USER": "refused-390100"}, "warehouse: .*correct user and password of its credentials"),
        ({"LOADER_USER": "refused-390189"}, "warehouse: .*correct role of its credentials"),
        ({"LOADER_USER": "refused-390318", "LOADER_PASSWORD": None, "LOADER_TOKEN": "old"}, "warehouse: .*renew token"),
        ({"LOADER_WAREHOUSE": "missing"}, "warehouse: .*correct the name, or run docs/snowflake.sql"),
        ({"SNOWFLAKE_STAGE": "raw.nowhere"}, "warehouse: .*Stage 'REGISTERED.RAW.NOWHERE' .*docs/snowflake.sql"),
        ({"TRANSFORMER_USER": "refused-390189"}, "transformer: .*correct role of its credentials"),
    ],
)
def test_what_snowflake_lacks_is_said_with_what_to_do(
    api: str,
    given: Given,
    snowflakes: dict[str, object],
    capsys: pytest.CaptureFixture[str],
    wrong: dict[str, object],
    said: str,
) -> None:
    given(**(snowflakes | wrong))
    began = monotonic()
    assert registered("flaws") == 1
    assert monotonic() - began < 30
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert re.search(rf"FAILED +{said}.*\(block snowflake-server/flaws-(warehouse|transformer)\)", failed[0])


def test_no_secret_is_left_anywhere(
    api: str,
    given: Given,
    usual: dict[str, object],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    given(**usual)
    with caplog.at_level(logging.DEBUG):
        assert registered("searched") == 0
        given(**(usual | {"POSTGRES_DATABASE": "shops"}))
        assert registered("searched") == 1
        running = list(leaks.processes())
    out, err = capsys.readouterr()
    texts = {"the log": caplog.text, "the screen": out, "the errors": err}
    assert len(caplog.records) > 100
    places = [*((place, text.encode()) for place, text in texts.items()), *running, *leaks.shown(api)]
    assert leaks.leaks(SECRETS, [*places, *leaks.files(tmp_path_factory.getbasetemp())]) == []


def test_the_search_finds_what_it_should(tmp_path: Path) -> None:
    from base64 import b64encode
    from urllib.parse import quote

    (tmp_path / "leak").write_bytes(b"x" + quote(WRITER, safe="").encode())
    coded = b64encode(f"user:{READER}".encode())
    assert len(leaks.leaks([WRITER, READER], [*leaks.files(tmp_path), ("header", coded)])) == 2


def test_a_warehouse_that_a_run_writes_to_is_there(tmp_path: Path) -> None:
    stack = Stack.in_folder(tmp_path)
    script = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    command = [sys.executable, "-c", script, stack.warehouse.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline()
        assert checks._warehouse(stack) == "duckdb: a run is at work on it"
        run.kill()
    assert checks._warehouse(stack).startswith("duckdb: connected")

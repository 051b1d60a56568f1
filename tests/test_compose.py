"""compose.yaml as a person who must trust it reads it: what is open, what is pinned, what is secret."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from flows.image import build
from flows.passwords import PASSWORDS, complete, write
from tasks.errors import ParameterError
from tests.conftest import ROOT

TEXT = (ROOT / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
REQUIRED = re.compile(r"\$\{[A-Z0-9_]+:\?[^}]+\}")
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN|AUTH")
DEFAULT = re.compile(r"\$\{\w+:?-([^}]*)\}")
WRITTEN_OUT = (
    re.compile(r"://[^/\s:@]+:[^$\s@][^@\s]*@"),  # an address with a password
    re.compile(r"(?i)(?:passw|secret|token|access_?key)[\w-]*[\"']?\s*[=: ]\s*[\"']?\w"),  # an assignment, an option
    re.compile(r"[\w.*-]+:[\d*]+:[\w*]+:\w+:\w"),  # a line of a password file
)


def strings(node: Any, *path: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every value below a node of the file with the names that lead to it; NAME=value in a list is a name too."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from strings(value, *path, str(name))
    elif isinstance(node, list):
        for value in node:
            name, assigned, rest = str(value).partition("=")
            yield from strings(*((rest, *path, name) if assigned and name.isidentifier() else (value, *path)))
    elif node is not None:
        yield path, str(node)


def written_out(services: dict[str, Any]) -> list[tuple[str, ...]]:
    """Where a password stands that does not come from the environment."""
    return [
        path
        for path, value in strings(services)
        if (len(path) > 1 and SECRET.search(path[-1]) and not REQUIRED.fullmatch(value))
        or any(pattern.search(unset(value)) for pattern in WRITTEN_OUT)
    ]


def unset(value: str) -> str:
    """A value in an environment without any variable: what must come from there is a $, a default is itself."""
    return DEFAULT.sub(r"\1", REQUIRED.sub("$", value))


def test_every_password_comes_from_the_environment_and_has_no_default() -> None:
    secret = [path for path, _ in strings(SERVICES) if SECRET.search(path[-1])]
    assert len(secret) >= 8
    assert written_out(SERVICES) == []


@pytest.mark.parametrize(
    "service",
    [
        {"environment": {"POSTGRES_PASSWORD": "postgres"}},
        {"environment": {"POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:-postgres}"}},
        {"environment": {"POSTGRES_HOST_AUTH_METHOD": "trust"}},
        {"environment": {"URL": "postgresql://shop:shop@postgres/shop"}},
        {"environment": {"URL": "postgresql://shop:${SHOP:-shop}@postgres/shop"}},
        {"environment": ["RUSTFS_SECRET_KEY=rustfsadmin"]},
        {"environment": {"SERVERS": '{"Servers": {"1": {"Username": "shop", "Password": "shop"}}}'}},
        {"command": ["sh", "-c", "printf 'postgres:5432:*:shop:shop' > .pgpass"]},
        {"command": "server --console-secret rustfsadmin /data"},
        {"command": ["server", "--secret-key=rustfsadmin"]},
        {"entrypoint": ["sh", "-c", "PGPASSWORD=shop psql"]},
        {"healthcheck": {"test": ["CMD-SHELL", "curl http://admin:admin@127.0.0.1/"]}},
        {"labels": {"connect": "password: shop"}},
    ],
    ids=str,
)
def test_a_password_is_found_wherever_it_is_written_out(service: dict[str, Any]) -> None:
    assert written_out({"planted": service})


@pytest.mark.parametrize("service", SERVICES)
def test_every_port_is_of_loopback_only(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))
    assert SERVICES[service].get("network_mode") != "host"
    assert not SERVICES[service].get("privileged")


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_is_pinned(service: str) -> None:
    image = SERVICES[service]["image"]
    if not REQUIRED.fullmatch(image):  # ours, whose tag is the commit's
        name, _, tag = image.rpartition(":")
        assert name
        assert re.fullmatch(r"v?\d+(\.\d+)+(-[\w.]+)?", tag), image


@pytest.mark.parametrize("service", SERVICES)
def test_what_stays_is_watched_and_what_is_kept_has_a_name(service: str) -> None:
    description = SERVICES[service]
    assert ("restart" in description) == ("healthcheck" in description)
    assert description["logging"]["driver"] == "local"  # json-file, the default, grows for ever
    for volume in description.get("volumes", []):
        source = unset(volume).partition(":")[0]
        assert source in yaml.safe_load(TEXT)["volumes"] or source == "/var/run/docker.sock"


@pytest.mark.parametrize("service", [name for name, one in SERVICES.items() if REQUIRED.fullmatch(one["image"])])
def test_our_containers_can_write_nowhere_and_may_do_nothing(service: str) -> None:
    description = SERVICES[service]
    assert description["read_only"]
    assert description["cap_drop"] == ["ALL"]
    assert description["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("service", ["postgres", "prefect-database"])
def test_a_database_is_not_healthy_while_it_is_being_set_up(service: str) -> None:
    """The image's first start makes the database in a server that listens on its socket only."""
    assert "--host=127.0.0.1" in SERVICES[service]["healthcheck"]["test"]


def test_one_command_makes_the_passwords_once(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PGADMIN_PASSWORD=mine\nECOMMERCE_IMAGE=ecommerce-pipeline:old")
    added = complete(file)
    values = dotenv_values(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert values["PGADMIN_PASSWORD"] == "mine"
    assert "PGADMIN_PASSWORD" not in added
    assert all(len(values[name] or "") > 40 for name in PASSWORDS if name != "PGADMIN_PASSWORD")
    assert len({values[name] for name in PASSWORDS}) == len(PASSWORDS)
    assert set(values) | {"DOCKER_GROUP"} >= set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert complete(file) == []
    assert dotenv_values(file) == values


def test_a_new_image_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    complete(file)
    before = dotenv_values(file)
    for tag in ("old", "new"):
        write(file, {"ECOMMERCE_IMAGE": f"ecommerce-pipeline:{tag}"})
    assert dotenv_values(file) == before | {"ECOMMERCE_IMAGE": "ecommerce-pipeline:new"}


def test_without_a_commit_no_image_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECOMMERCE_IMAGE", raising=False)
    monkeypatch.setattr("flows.image.commit", lambda: None)
    with pytest.raises(ParameterError, match="has no git commit to tag an image with"):
        build("docker")

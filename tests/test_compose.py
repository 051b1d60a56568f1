"""compose.yaml as a person who must trust it reads it: what is open, what is pinned, what is secret."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from flows.passwords import GENERATED, complete
from tests.conftest import ROOT

TEXT = (ROOT / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
REQUIRED = re.compile(r"\$\{[A-Z0-9_]+:\?[^}]+\}")
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN|AUTH")


def environment() -> Iterator[tuple[str, str, str]]:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            yield name, variable, str(value)


def test_every_password_comes_from_the_environment_and_has_no_default() -> None:
    secret = [(name, variable, value) for name, variable, value in environment() if SECRET.search(variable)]
    assert len(secret) >= 8
    assert [found for found in secret if not REQUIRED.fullmatch(found[2])] == []
    for _, _, value in environment():
        assert not re.search(r"://[^/\s:]+:(?!\$\{\w+:\?)[^@]+@", value), "an address with a password in it"


def test_the_pattern_finds_passwords_that_are_written_out() -> None:
    assert not REQUIRED.fullmatch("minioadmin")
    assert not REQUIRED.fullmatch("${POSTGRES_PASSWORD:-postgres}")
    assert REQUIRED.fullmatch("${POSTGRES_PASSWORD:?run make up}")


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
    for volume in description.get("volumes", []):
        source = volume.partition(":")[0]
        assert source in yaml.safe_load(TEXT)["volumes"] or source == "/var/run/docker.sock"


@pytest.mark.parametrize("service", [name for name, one in SERVICES.items() if REQUIRED.fullmatch(one["image"])])
def test_our_containers_can_write_nowhere_and_may_do_nothing(service: str) -> None:
    description = SERVICES[service]
    assert description["read_only"]
    assert description["cap_drop"] == ["ALL"]
    assert description["security_opt"] == ["no-new-privileges:true"]


def test_one_command_makes_the_passwords_once(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PGADMIN_PASSWORD=mine\nECOMMERCE_NOTIFY=slack-webhook/ops\n")
    added = complete(file, tmp_path / "docker.sock")
    values = dotenv_values(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert values["PGADMIN_PASSWORD"] == "mine"
    assert "PGADMIN_PASSWORD" not in added
    assert all(len(values[name] or "") > 40 for name in GENERATED if name != "PGADMIN_PASSWORD")
    assert len({values[name] for name in GENERATED}) == len(GENERATED)
    assert set(values) >= set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert complete(file, tmp_path / "docker.sock") == []

"""The image, and a pool of containers that runs it; `make test-docker`, since it needs a container engine.

ECOMMERCE_IMAGE names an image to test; without it, one is built. ECOMMERCE_BUILD_NETWORK=host is for an engine without
a bridge network, whose base image is there already.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.image import ROOT, build
from flows.passwords import complete
from flows.setup import setup
from flows.ui import worker_of
from tests.test_deployments import FLOWS, Server, until

VOLUME = "ecommerce-test"
SECRET = "not-for-the-containers"  # in the worker's environment, as a stack's password may be


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_compose_accepts_the_file(tmp_path: Path) -> None:
    complete(tmp_path / ".env", tmp_path / "docker.sock")
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    plugin = subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode == 0
    command = ["docker", "compose"] if plugin else ["docker-compose"]
    accepted = subprocess.run(
        [*command, "config", "--quiet"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert accepted.returncode == 0, accepted.stderr


@pytest.fixture(scope="module")
def image() -> str:
    return str(build("docker")["image"])


@pytest.fixture(scope="module")
def server(prefect_url: str, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server to which the stack `local` of a volume is deployed, with a worker that starts containers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_url)
        patch.setenv("ECOMMERCE_HOME", str(tmp_path_factory.mktemp("worker")))
        patch.setenv("ECOMMERCE_IMAGE", image)
        patch.setenv("ECOMMERCE_NETWORK", "host")
        patch.setenv("ECOMMERCE_VOLUME", VOLUME)
        patch.setenv("ECOMMERCE_WRITER_PASSWORD", SECRET)
        setup(stack="local", pool="docker")
        with worker_of("docker", prefect_url):
            yield Server(prefect_url)
    docker("volume", "rm", "--force", VOLUME)


def run_in(image: str, *command: str, volume: bool = False) -> str:
    """What a command says in a container as closed as those of the pool."""
    closed = [
        "--rm",
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--network=host",
    ]
    return docker("run", *closed, *([f"--volume={VOLUME}:/var/lib/ecommerce"] if volume else []), image, *command)


def test_the_image_imports_with_nothing_to_write_to(image: str) -> None:
    run_in(image, "python", "-m", "flows.imports")


def test_the_image_is_nobody_special_and_has_no_tools_to_build_with(image: str) -> None:
    described = json.loads(docker("image", "inspect", image))[0]["Config"]
    assert described["User"] == "10001:10001"
    assert "flows.imports" in described["Healthcheck"]["Test"]
    found = run_in(
        image, "sh", "-c", "for tool in gcc cc make git; do command -v $tool; done; ls /opt/venv/bin/pip*; true"
    )
    assert found == ""


def test_no_layer_holds_what_is_not_for_it(image: str) -> None:
    listed = run_in(image, "sh", "-c", "ls -A /opt/ecommerce; find /opt/ecommerce -name '.*' -o -name 'test_*'")
    assert set(listed.split()) == {"blocks", "dbt_project", "flows", "prefect.yaml", "tasks"}
    history = docker("history", "--no-trunc", "--format={{.CreatedBy}}", image)
    assert not any(word in history.upper() for word in ("PASSWORD", "TOKEN", "SECRET"))


def test_bytecode_is_compiled(image: str) -> None:
    script = "import flows.transform, pyarrow, dbt.version as v; print(flows.transform.__cached__, v.__cached__)"
    cached = run_in(image, "python", "-c", script).split()
    assert run_in(image, "ls", *cached).split() == sorted(cached)


def test_an_increment_and_its_transform_run_in_containers(server: Server, image: str) -> None:
    history = {"start": "2024-12-01", "through": "2024-12-31", "scale": 0.02}
    loading = server.start("historical-load", **history)
    container = until(lambda: docker("ps", "--quiet", "--no-trunc", f"--filter=ancestor={image}")).split()[0]
    described = json.loads(docker("inspect", container))[0]
    log = subprocess.Popen(["docker", "logs", "--follow", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert server.ended(loading)["state_name"] == "Completed"
    assert_closed(described, log.communicate()[0].decode())

    increment = server.ended(server.start("daily-increment", day="2025-01-01"))
    assert increment["state_name"] == "Completed"
    triggered = until(lambda: found if len(found := server.runs("transform")) == 2 else None)
    built = [server.ended(run["id"]) for run in triggered]
    assert [run["state_name"] for run in built] == ["Completed"] * 2
    assert [run["parameters"]["as_of"] for run in built] == ["2025-01-01", "2025-01-02"]
    until(lambda: not docker("ps", "--all", "--quiet", f"--filter=ancestor={image}"))
    query = "select count(*) from marts.fct_conversion_funnel where session_date = '2025-01-01'"
    script = (
        f"import duckdb; print(duckdb.connect('/var/lib/ecommerce/warehouse.duckdb').sql({query!r}).fetchall()[0][0])"
    )
    assert int(run_in(image, "python", "-c", script, volume=True)) > 0


def assert_closed(container: dict[str, Any], log: str) -> None:
    """That a run's container could not write or do more than it must, and knew no secret."""
    host, config = container["HostConfig"], container["Config"]
    assert config["User"] == "10001:10001"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["AutoRemove"]
    assert os.environ["ECOMMERCE_WRITER_PASSWORD"] == SECRET
    assert SECRET not in json.dumps(container)
    assert "Beginning flow run" in log
    assert SECRET not in log


def test_every_deployment_names_the_image(server: Server, image: str) -> None:
    for flow in FLOWS:
        variables = server.deployment(flow)["job_variables"]
        assert variables == {"image": image, "image_pull_policy": "Never"}

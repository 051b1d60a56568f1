"""compose.yaml, started as `make up` starts it; `make test-docker`, since it needs a container engine.

What cannot be pulled everywhere is stood in for: the databases by Debian's Postgres, the store by moto beside the
engine, pgAdmin by nothing. The services are those of the file otherwise, on the network of this machine, each at an
address of its own.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from dotenv import dotenv_values

from flows.image import ROOT
from flows.up import compose, group_of, up
from tests import engine
from tests.engine import Deployed, count_of, docker
from tests.s3_server import S3Server
from tests.waiting import until

VOLUME = "ecommerce-composed"
STAND_IN = "ecommerce-postgres"
ADDRESSES = {
    "postgres": "127.0.7.1",
    "prefect-database": "127.0.7.2",
    "prefect-server": "127.0.7.3",
    "worker": "127.0.7.4",
    "register": "127.0.7.5",
}
API = f"http://{ADDRESSES['prefect-server']}:4200/api"
FUNNEL = "select count(*) from marts.fct_conversion_funnel where session_date = '{day}'"
POSTGRES = """
FROM {base}
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql \\
 && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ && install -d -o postgres /var/lib/postgresql/data
COPY start /
ENV PGDATA=/var/lib/postgresql/data
USER postgres
ENTRYPOINT ["sh", "-e", "/start"]
"""
START = """
if [ ! -s $PGDATA/PG_VERSION ]; then
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username=$POSTGRES_USER --pwfile=/tmp/password --auth-local=trust $POSTGRES_INITDB_ARGS
  echo "host all all all scram-sha-256" >> $PGDATA/pg_hba.conf
  pg_ctl --wait start -o "-c listen_addresses='' -c unix_socket_directories=/tmp"
  createdb --host=/tmp --username=$POSTGRES_USER $POSTGRES_DB
  pg_ctl --wait --mode=fast stop
fi
exec "$@"
"""
"""As the official image: it obeys POSTGRES_*, and while it makes the database no port is listened on."""


def on_this_machine(described: dict[str, Any], store: str) -> dict[str, Any]:
    """What compose.yaml describes, with stand-ins for what cannot be pulled, without a network of its own."""
    services = {name: described["services"][name] for name in ADDRESSES}
    for name, service in services.items():
        if service["image"].startswith("postgres:"):
            listen = [f"listen_addresses={ADDRESSES[name]}", "unix_socket_directories=/tmp"]
            service |= {"image": STAND_IN, "command": ["postgres", "-c", listen[0], "-c", listen[1]]}
        for key in ("networks", "ports"):
            service.pop(key, None)
        service["network_mode"] = "host"
        service.get("depends_on", {}).pop("store", None)
        services[name] = _at(ADDRESSES[name], service, store)
    services["register"]["environment"] |= {
        "ECOMMERCE_POSTGRES_HOST": ADDRESSES["postgres"],
        "ECOMMERCE_NETWORK": "host",
        "ECOMMERCE_VOLUME": VOLUME,
    }
    services["worker"]["environment"]["PREFECT_WORKER_WEBSERVER_HOST"] = ADDRESSES["worker"]
    return {"services": services, "volumes": described["volumes"] | {"home": {"name": VOLUME}}}


def _at(address: str, service: dict[str, Any], store: str) -> dict[str, Any]:
    """A service that listens at an address of its own, and finds the others at theirs."""
    text = json.dumps(service).replace("127.0.0.1", address).replace("0.0.0.0", address)
    for name in ("prefect-database", "prefect-server"):
        text = text.replace(f"{name}:5432", f"{ADDRESSES[name]}:5432").replace(
            f"{name}:4200", f"{ADDRESSES[name]}:4200"
        )
    return json.loads(text.replace("http://store:9000", store))


@pytest.fixture(scope="module")
def image() -> str:
    return engine.image()


@pytest.fixture(scope="module")
def stack(image: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a stack that runs; its `.env` named an older image before it was started."""
    folder = tmp_path_factory.mktemp("composed")
    engine.build_image(STAND_IN, folder / "postgres", POSTGRES, start=START)
    described = on_this_machine(yaml.safe_load((ROOT / "compose.yaml").read_text()), s3.endpoint)
    (folder / "compose.yaml").write_text(yaml.safe_dump(described))
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    (folder / ".env").write_text(f"ECOMMERCE_IMAGE=ecommerce-pipeline:old\nDOCKER_SOCKET={socket}\n")
    try:
        up(folder)
        yield folder
    finally:
        print(composed(folder, "logs", "--no-color"))  # noqa: T201 (shown where something has failed)
        composed(folder, "down")
        for container in docker("ps", "--quiet", f"--filter=volume={VOLUME}").split():
            docker("rm", "--force", container)  # a run that a test did not wait for
        composed(folder, "down", "--volumes")


def composed(folder: Path, *command: str) -> str:
    said = subprocess.run([*compose(), *command], check=False, cwd=folder, capture_output=True, text=True)
    return said.stdout + said.stderr


def state_of(folder: Path, service: str) -> dict[str, Any]:
    container = composed(folder, "ps", "--all", "--quiet", service).strip()
    return json.loads(docker("inspect", container))[0]["State"]


@pytest.fixture(scope="module")
def server(stack: Path) -> Deployed:
    return Deployed(API, "team")


def test_compose_accepts_the_file(stack: Path, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text((ROOT / "compose.yaml").read_text())
    (tmp_path / ".env").write_text((stack / ".env").read_text())
    command = [*compose(), "config", "--quiet"]
    accepted = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert accepted.returncode == 0, accepted.stderr


def test_everything_is_started_from_the_image_of_the_commit(stack: Path, image: str) -> None:
    assert dotenv_values(stack / ".env")["ECOMMERCE_IMAGE"] == image
    ended = state_of(stack, "register")
    assert (ended["Status"], ended["ExitCode"]) == ("exited", 0)
    for service in set(ADDRESSES) - {"register"}:
        until(lambda service=service: state_of(stack, service)["Health"]["Status"] == "healthy")


def test_the_engines_group_is_asked_for_in_a_container(image: str) -> None:
    """As for Docker Desktop, whose engine has another file system: here the socket stands in for one on a volume."""
    script = "touch /var/lib/ecommerce/socket && chgrp 4242 /var/lib/ecommerce/socket"
    volume = docker("volume", "create").strip()
    mounted = f"--volume={volume}:/var/lib/ecommerce"
    docker("run", "--rm", "--user=0", "--network=none", mounted, image, "sh", "-c", script)
    where = docker("volume", "inspect", "--format={{.Mountpoint}}", volume).strip()
    group = group_of(f"{where}/socket", image)
    docker("volume", "rm", volume)
    assert group == "4242"


def test_the_dashboard_is_served(stack: Path) -> None:
    page = httpx.get(API.removesuffix("/api"), headers={"Accept": "text/html"}, follow_redirects=True)
    assert page.status_code == 200
    assert "<title>Prefect" in page.text
    script = next(line for line in page.text.split('"') if line.endswith(".js"))
    assert httpx.get(API.removesuffix("/api") + script).status_code == 200


def test_a_day_runs_from_the_shop_to_the_marts(server: Deployed, image: str) -> None:
    run(server, "historical-load", start="2024-12-01", through="2024-12-31", scale=0.02)
    run(server, "daily-increment", day="2025-01-01")
    built = until(lambda: found if len(found := server.runs("transform")) == 2 else None)
    assert [server.ended(one["id"])["state_name"] for one in built] == ["Completed"] * 2
    assert count_of(image, VOLUME, FUNNEL.format(day="2025-01-01")) > 0


def test_after_a_restart_limits_are_held_by_who_held_them_and_days_run_on(
    server: Deployed, stack: Path, image: str
) -> None:
    taken = server.post(
        "/v2/concurrency_limits/increment-with-lease",
        names=["ecommerce-warehouse-team"],
        slots=1,
        lease_duration=600,
    ).json()
    before = dotenv_values(stack / ".env")
    leave_a_lock = "echo 1 > $PREFECT_HOME/concurrency_leases/expirations.lock"  # as one that is killed may
    composed(stack, "exec", "-T", "prefect-server", "sh", "-c", leave_a_lock)
    composed(stack, "down")
    up(stack)
    assert dotenv_values(stack / ".env") == before
    lease = taken["lease_id"]
    assert server.post(f"/v2/concurrency_limits/leases/{lease}/renew", lease_duration=600).status_code == 204
    assert server.post("/v2/concurrency_limits/decrement-with-lease", lease_id=lease).status_code == 204
    run(server, "daily-increment", day="2025-01-02")
    built = until(lambda: found if len(found := server.runs("transform")) == 3 else None)
    assert server.ended(built[-1]["id"])["state_name"] == "Completed"
    assert count_of(image, VOLUME, FUNNEL.format(day="2025-01-02")) > 0


def test_starting_again_while_a_run_holds_the_warehouse_waits_for_nothing(stack: Path, image: str) -> None:
    script = (
        "import duckdb, time; held = duckdb.connect('/var/lib/ecommerce/warehouse.duckdb');"
        "print('held', flush=True); time.sleep(600)"
    )
    mounted = f"--volume={VOLUME}:/var/lib/ecommerce"
    holder = docker("run", "--detach", *engine.CLOSED, mounted, image, "python", "-c", script).strip()
    until(lambda: docker("logs", holder))
    up(stack)
    docker("rm", "--force", holder)
    assert "a run is at work on it" in composed(stack, "logs", "--no-color", "register")


def test_a_block_is_named_for_notifications_once_it_is_there(server: Deployed, stack: Path) -> None:
    naming = ["run", "--rm", "-T", "register", "python", "-m", "flows.setup", "--notify", "custom-webhook/ops"]
    assert "There is no block 'custom-webhook/ops' to notify" in composed(stack, *naming)
    (kind,) = [one for one in server.post("/block_types/filter").json() if one["slug"] == "custom-webhook"]
    schemas = {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
    schema = server.post("/block_schemas/filter", **schemas).json()[0]
    server.post(
        "/block_documents/",
        name="ops",
        data={"name": "ops", "url": "http://127.0.0.1:9/"},
        block_schema_id=schema["id"],
        block_type_id=kind["id"],
    )
    composed(stack, *naming)
    assert "ecommerce team: tell of failed runs" in server.automations()


def run(server: Deployed, flow: str, **parameters: Any) -> None:
    assert server.ended(server.start(flow, **parameters))["state_name"] == "Completed"

"""The image, and a pool of containers that runs it; `make test-docker`, since it needs a container engine."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prefect_aws import AwsCredentials, S3Bucket
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector, SyncDriver

from blocks.embedded import DuckDBFile
from blocks.register import save
from blocks.stack import Stack
from flows.image import ROOT, commit, push
from flows.setup import setup
from flows.ui import worker_of
from tasks.errors import ParameterError, PipelineError
from tests import engine, postgres_server
from tests.engine import Deployed, Run, count_of, docker, run_in, watched
from tests.s3_server import REGION, S3Server
from tests.test_deployments import FLOWS
from tests.waiting import until

NAME = "contained"
VOLUME = "ecommerce-contained"
REGISTRY = """
FROM {base}
RUN apt-get update && apt-get install --yes --no-install-recommends docker-registry
COPY settings /
CMD ["docker-registry", "serve", "/settings"]
"""
PASSWORD, SECRET_KEY = (secrets.token_urlsafe(24) for _ in range(2))


@pytest.fixture(scope="module")
def image() -> str:
    return engine.image()


@pytest.fixture(scope="module")
def server(prefect_url: str, image: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A server to which a stack is deployed whose blocks hold secrets, with a worker that starts containers."""
    folder = tmp_path_factory.mktemp("worker")
    with pytest.MonkeyPatch.context() as patch, postgres_server.served(folder / "source", plain=True) as postgres:
        postgres.execute(
            f"create role shop login password '{PASSWORD}'",
            f"grant create on database {postgres.database} to shop",
            "grant create, usage on schema public to shop",
        )
        for name, value in {
            "PREFECT_API_URL": prefect_url,
            "ECOMMERCE_HOME": str(folder),
            "ECOMMERCE_IMAGE": image,
            "ECOMMERCE_NETWORK": "host",
            "ECOMMERCE_VOLUME": VOLUME,
        }.items():
            patch.setenv(name, value)
        list(save(stack_of(s3, postgres), NAME))
        setup(stack=NAME, pool="docker")
        with worker_of("docker", prefect_url):
            yield Deployed(prefect_url, NAME)
    docker("volume", "rm", "--force", VOLUME)


def stack_of(s3: S3Server, postgres: postgres_server.Postgres) -> Stack:
    """A lake in S3 and a source on a server, which each ask for a secret; the warehouse is on the pool's volume."""
    store = {"endpoint_url": s3.endpoint}
    keys = {"aws_access_key_id": "shop", "aws_secret_access_key": SECRET_KEY}
    credentials = AwsCredentials(**keys, region_name=REGION, aws_client_parameters=store)
    database = ConnectionComponents(
        driver=SyncDriver.POSTGRESQL_PSYCOPG2,
        username="shop",
        password=PASSWORD,
        host=postgres.host,
        port=postgres.port,
        database=postgres.database,
        query={"sslmode": "disable"},
    )
    return Stack(
        lake=S3Bucket(bucket_name=s3.make_bucket(NAME), credentials=credentials),
        source=SqlAlchemyConnector(connection_info=database),
        warehouse=DuckDBFile(path="/var/lib/ecommerce/warehouse.duckdb"),
        workspace="/var/lib/ecommerce",
    )


@pytest.fixture(scope="module")
def runs(server: Deployed, image: str) -> list[Run]:
    """A historical load, an increment that its schedule starts, and the build that each of them triggers."""
    with watched(image) as found:
        history = server.start("historical-load", start="2024-12-01", through="2024-12-31", scale=0.02)
        assert server.ended(history)["state_name"] == "Completed"
        server.schedule("daily-increment", day="2025-01-01")
        (due,) = until(lambda: [run for run in server.runs("daily-increment") if run["auto_scheduled"]])
        assert server.ended(due["id"])["state_name"] == "Completed"
        triggered = until(lambda: found if len(found := server.runs("transform")) == 2 else None)
        assert [server.ended(run["id"])["state_name"] for run in triggered] == ["Completed"] * 2
        until(lambda: not docker("ps", "--all", "--quiet", f"--filter=ancestor={image}"))
    return found


def test_a_scheduled_increment_and_its_transform_run_in_containers(
    runs: list[Run], server: Deployed, image: str
) -> None:
    assert sorted(run.flow for run in runs) == ["daily-increment", "historical-load", "transform", "transform"]
    assert [run["parameters"]["as_of"] for run in server.runs("transform")] == ["2025-01-01", "2025-01-02"]
    days = "select count(*) from marts.fct_conversion_funnel where session_date = '2025-01-01'"
    assert count_of(image, VOLUME, days) > 0


def test_a_runs_container_can_write_and_do_no_more_than_it_must(runs: list[Run]) -> None:
    for run in runs:
        host, config = run.described["HostConfig"], run.described["Config"]
        assert config["User"] == "10001:10001"
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["AutoRemove"]
        assert not host["Privileged"]
        assert [(mount["Type"], mount["Destination"]) for mount in run.described["Mounts"]] == [
            ("volume", "/var/lib/ecommerce")
        ]


def test_the_secrets_of_the_blocks_are_seen_nowhere(runs: list[Run], server: Deployed) -> None:
    logged = server.logs()
    worker = (Path(os.environ["ECOMMERCE_HOME"]) / "prefect" / "worker.log").read_text()
    assert len(logged) > 100
    assert all("Beginning flow run" in run.log for run in runs)
    said = [*logged, worker, *(run.log for run in runs), *(json.dumps(run.described) for run in runs)]
    assert [text for text in said if PASSWORD in text or SECRET_KEY in text] == []


def test_every_deployment_names_the_image(server: Deployed, image: str) -> None:
    for flow in FLOWS:
        variables = server.deployment(flow)["job_variables"]
        assert variables == {"image": image, "image_pull_policy": "Never"}


def test_the_image_imports_with_nothing_to_write_to(image: str) -> None:
    run_in(image, "python", "-m", "flows.imports")


def test_the_image_imports_every_package_that_is_asked_for(image: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *(one for extra in ("cloud", "dask", "deploy", "embedded") for one in extras[extra]),
    ]
    names = [re.match(r"[\w-]+", one)[0] for one in asked]
    script = """
import sys
from importlib.metadata import distribution
from flows.imports import FLOWS, USED_LATER, main
main(FLOWS + USED_LATER)
files = {module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
print(*(name for name in sys.argv[1:] if files.isdisjoint(str(f.locate()) for f in distribution(name).files)))
"""
    assert run_in(image, "python", "-c", script, *names).split() == []


def test_the_image_is_nobody_special_and_has_no_tools_to_build_with(image: str) -> None:
    described = json.loads(docker("image", "inspect", image))[0]["Config"]
    assert described["User"] == "10001:10001"
    assert "flows.imports" in described["Healthcheck"]["Test"]
    found = run_in(
        image, "sh", "-c", "for tool in gcc cc make git; do command -v $tool; done; ls /opt/venv/bin/pip*; true"
    )
    assert found == ""


def test_no_layer_holds_what_is_not_for_it(image: str, tmp_path: Path) -> None:
    """What a later layer deletes is still in the image: each layer is looked into, not only what they add up to."""
    names = layers(image, tmp_path)
    places = {"/".join(name.split("/")[:2]) for name in names}
    accounts = {"etc/group", "etc/gshadow", "etc/passwd", "etc/shadow", "etc/subgid", "etc/subuid"}
    made = accounts | {f"{file}-" for file in accounts} | {"etc/.pwd.lock", "var/lib", "var/log"}
    assert places <= made | {"etc", "opt", "tmp", "var", "opt/venv", "opt/ecommerce"}
    ours = {name.split("/")[2] for name in names if name.startswith("opt/ecommerce/")}
    assert ours == {"blocks", "dbt_project", "flows", "prefect.yaml", "tasks"}
    secret = re.compile(r"(^|/)(\.env[^/]*|\.git|\.netrc|id_(rsa|ecdsa|ed25519)|[^/]+\.(key|p8|pem))$")
    trusted = re.compile(r"/(certifi|botocore)/cacert\.pem$")
    assert [name for name in names if secret.search(name) and not trusted.search(name)] == []
    assert [name for name in names if re.match(r"opt/ecommerce/.*test_\w+\.py$", name)] == []
    history = docker("history", "--no-trunc", "--format={{.CreatedBy}}", image)
    assert not any(word in history.upper() for word in ("PASSWORD", "TOKEN", "SECRET"))


def layers(image: str, folder: Path) -> list[str]:
    """The paths of all files in the layers that the image adds to its base."""
    below = len(json.loads(docker("image", "inspect", engine.base()))[0]["RootFS"]["Layers"])
    docker("save", "--output", str(folder / "image.tar"), image)
    with tarfile.open(folder / "image.tar") as saved:
        (manifest,) = json.load(saved.extractfile("manifest.json"))
        names: list[str] = []
        for layer in manifest["Layers"][below:]:
            with tarfile.open(fileobj=saved.extractfile(layer)) as content:
                names += content.getnames()
    return names


def test_nothing_enters_a_build_but_what_the_image_is_made_of(tmp_path: Path) -> None:
    for file in (
        *("flows/daily.py", "blocks/stack.py", "tasks/shop/orders.py", "dbt_project/models/orders.sql"),
        *(".env", ".git/config", "secret.txt", "docs/notes.md", "tests/test_flows.py", "flows/.env", "tasks/.netrc"),
        *("blocks/loader.p8", "flows/server.key", "tasks/shop/client.pem", "dbt_project/logs/dbt.log"),
        "flows/__pycache__/daily.cpython-311.pyc",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("text")
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /context\n")
    docker("build", "--quiet", "--tag=ecommerce-context", str(tmp_path))
    container = docker("create", "ecommerce-context", "nothing").strip()
    docker("cp", f"{container}:/context", str(tmp_path / "sent"))
    docker("rm", container)
    docker("image", "rm", "ecommerce-context")
    sent = {str(file.relative_to(tmp_path / "sent")) for file in (tmp_path / "sent").rglob("*") if file.is_file()}
    assert sent == {"flows/daily.py", "blocks/stack.py", "tasks/shop/orders.py", "dbt_project/models/orders.sql"}


def test_the_environment_is_what_the_locked_wheels_hold(image: str) -> None:
    """Of a wheel, pip has compared the digest with the lock's; what it holds is in its list of files, with digests.

    Several wheels may hold the same file, as dbt's do: it is that of one of them.
    """
    script = """
import base64, hashlib, sysconfig
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path
known = defaultdict(set)
for dist in distributions():
    for file in dist.files:
        known[Path(file.locate()).resolve()].add(file.hash.value if file.hash else None)
for path in Path(sysconfig.get_path("purelib")).rglob("*"):
    if path.is_file() and path.suffix != ".pyc":
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode().rstrip("=")
        if not known[path.resolve()] & {digest, None}:
            print(path)
"""
    assert run_in(image, "python", "-c", script) == ""


def test_bytecode_is_compiled_and_the_same_each_time(image: str) -> None:
    """With the locked wheels' files, this makes two builds of a commit the same in every file."""
    script = """
cd /opt/venv/lib/python3*/site-packages
PYTHONHASHSEED=7 PYTHONPYCACHEPREFIX=/tmp/again python -m compileall -q -j 2 --invalidation-mode unchecked-hash \
  "$PWD/prefect" "$PWD/dbt" "$PWD/pandas" /opt/ecommerce
cd /tmp/again && find . -name '*.pyc' | sort | while read -r file; do
  cmp "$file" "/$(dirname "$file")/__pycache__/$(basename "$file")" || echo "$file"
done; find . -name '*.pyc' | wc -l
"""
    counted, *differing = run_in(image, "bash", "-c", script).splitlines()[::-1]
    assert differing == []
    assert int(counted) > 1_000


@pytest.fixture(scope="module")
def registry(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on loopback, Debian's, that holds nothing and asks for no login."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {"version": "0.1", "storage": {"filesystem": {"rootdirectory": "/tmp"}}, "http": {"addr": address}}
    folder = tmp_path_factory.mktemp("registry") / "image"
    engine.build_image("ecommerce-registry", folder, REGISTRY, settings=json.dumps(settings))
    container = docker("run", "--detach", "--rm", "--network=host", "ecommerce-registry").strip()
    until(lambda: answers(f"http://{address}/v2/"))
    yield address
    docker("rm", "--force", container)


def answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url).is_success
    return False


def test_an_image_that_was_built_is_pushed(registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOMMERCE_REGISTRY", registry)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    tags = ("0123456789ab", "given", "0123456789ab-dirty")
    built, given, changed = (f"{registry}/ecommerce-pipeline:{tag}" for tag in tags)
    docker("build", "--quiet", f"--tag={built}", f"--tag={given}", f"--tag={changed}", str(tmp_path))
    push(built, built=True)
    push(given, built=False)
    with pytest.raises(ParameterError, match="holds changes that no commit has"):
        push(changed, built=True)
    held = httpx.get(f"http://{registry}/v2/ecommerce-pipeline/tags/list").json()
    docker("image", "rm", built, given, changed)
    assert held["tags"] == ["0123456789ab"]
    with pytest.raises(PipelineError, match="docker push failed with 1"):
        push(f"{registry}/ecommerce-pipeline:absent", built=True)


def test_an_image_is_built_under_the_registrys_name(registry: str, image: str) -> None:
    environment = os.environ | {"ECOMMERCE_REGISTRY": registry}
    environment.pop("ECOMMERCE_IMAGE", None)
    script = "import json; from flows.image import build; print(json.dumps(build('docker')))"
    said = subprocess.run([sys.executable, "-c", script], check=True, env=environment, capture_output=True, text=True)
    found = json.loads(said.stdout.splitlines()[-1])
    docker("image", "rm", found["image"])
    assert found["image"] == f"{registry}/ecommerce-pipeline:{commit()}"
    assert (found["image_pull_policy"], found["built"]) == ("IfNotPresent", True)

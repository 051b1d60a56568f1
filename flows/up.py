"""Start the stack of compose.yaml on this machine, or bring it to this commit; `python -m flows.up` (make up)."""

import os
import subprocess
from pathlib import Path

from dotenv import dotenv_values

from flows.cli import CONSOLE, said_in_one_sentence
from flows.image import ROOT, build, docker
from flows.passwords import complete, write
from tasks.errors import PipelineError

_SOCKET = "/var/run/docker.sock"
_STARTED = """\
Prefect's dashboard: http://127.0.0.1:4200
pgAdmin: http://127.0.0.1:5050, as admin@example.com with PGADMIN_PASSWORD
The store's console: http://127.0.0.1:9001/rustfs/console/, with ECOMMERCE_S3_ACCESS_KEY_ID and its secret
What stands in capitals is in {file}. To begin, run the deployment historical-load-team in the dashboard."""


def up(folder: Path) -> None:
    """Start what compose.yaml in `folder` describes and wait until all is registered.

    `.env` there keeps its passwords; the image is always that of the commit, or the one that ECOMMERCE_IMAGE names.
    """
    file = folder / ".env"
    complete(file)
    image = str(build("docker")["image"])
    socket = (dotenv_values(file) | os.environ).get("DOCKER_SOCKET") or _SOCKET
    write(file, {"ECOMMERCE_IMAGE": image, "DOCKER_GROUP": group_of(socket, image)})
    command = [*compose(), "up", "--detach"]
    if subprocess.run(command, cwd=folder, check=False).returncode:
        raise PipelineError(f"{' '.join(command)} failed; {' '.join(compose())} logs register says more.")


def group_of(socket: str, image: str) -> str:
    """The id of the group that may use the engine's socket, as a container sees it.

    This machine may know another group, or no socket: the engine of Docker Desktop runs in a machine of its own.
    """
    seen = f"--mount=type=bind,source={socket},target={_SOCKET}"
    question = ["stat", "--format=%g", _SOCKET]
    return docker("run", "--rm", "--network=none", seen, image, *question, stdout=subprocess.PIPE).stdout.strip()


def compose() -> list[str]:
    """Compose as Docker's plugin, or the program of its own that some distributions have."""
    plugin = ["docker", "compose"]
    there = subprocess.run([*plugin, "version"], check=False, capture_output=True).returncode == 0
    return plugin if there else ["docker-compose"]


if __name__ == "__main__":
    with said_in_one_sentence():
        up(ROOT)
        CONSOLE.print(_STARTED.format(file=ROOT / ".env"))

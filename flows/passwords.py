"""Write what compose.yaml needs into `.env`: passwords, image, the engine's group; `python -m flows.passwords`."""

import secrets
from pathlib import Path

from dotenv import dotenv_values

from flows.cli import CONSOLE
from flows.image import ROOT, commit

GENERATED = (
    "ECOMMERCE_WRITER_PASSWORD",
    "ECOMMERCE_S3_SECRET_ACCESS_KEY",
    "PGADMIN_PASSWORD",
    "PREFECT_DATABASE_PASSWORD",
)
_SOCKET = Path("/var/run/docker.sock")


def complete(file: Path, socket: Path = _SOCKET) -> list[str]:
    """Add to a file of variables those that it lacks, and let only its owner read it; the names of those added.

    A value that is there stays: databases keep the password that they were made with.
    """
    file.touch(mode=0o600)
    file.chmod(0o600)
    known = dotenv_values(file)
    added = {name: value for name, value in _wanted(socket).items() if not known.get(name)}
    with file.open("a") as stream:
        stream.writelines(f"{name}={value}\n" for name, value in added.items())
    return list(added)


def _wanted(socket: Path) -> dict[str, str]:
    """32 random bytes each, in letters that need no quotes in a file or an address."""
    return {name: secrets.token_urlsafe(32) for name in GENERATED} | {
        "ECOMMERCE_S3_ACCESS_KEY_ID": secrets.token_hex(10),
        "ECOMMERCE_IMAGE": f"ecommerce-pipeline:{commit()}",
        "DOCKER_GROUP": str(socket.stat().st_gid if socket.exists() else 0),
    }


if __name__ == "__main__":
    CONSOLE.print(f"Added to .env: {', '.join(complete(ROOT / '.env')) or 'nothing, it is complete'}.")

"""Build and push steps of prefect.yaml: where the flows' code is, and the image that holds it on a Docker pool."""

import os
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.errors import ParameterError, PipelineError

POOLS = ("docker", "process")
ROOT = Path(__file__).parents[1]

_NAME = "ecommerce-pipeline"
_IN_IMAGE = "/opt/ecommerce"  # as the Dockerfile says


def build(pool: str) -> dict[str, Any]:
    """Where the workers of a pool find the code, building an image of it if they are Docker's and none is named.

    What prefect.yaml takes from it: `directory`, `version`, `image`, `image_pull_policy`, and for `push` whether the
    image was `built`. Raises `ParameterError` if the pool is neither docker nor process.
    """
    if pool not in POOLS:
        raise ParameterError(f"ECOMMERCE_POOL is {pool!r}: set it to one of {', '.join(POOLS)}.")
    if pool == "process":
        return {
            "directory": str(ROOT),
            "version": commit() or version(_NAME),
            "image": None,
            "image_pull_policy": None,
            "built": False,
        }
    named = os.environ.get("ECOMMERCE_IMAGE")
    image = named or _built()
    return {
        "directory": _IN_IMAGE,
        "version": image.rpartition(":")[2],
        "image": image,
        "image_pull_policy": _pull_policy(image),
        "built": not named,
    }


def push(image: str | None, built: bool) -> None:
    """Push the image that `build` has built, if a registry is named; never one that no commit describes."""
    if image and built and os.environ.get("ECOMMERCE_REGISTRY"):
        if image.endswith("-dirty"):
            raise ParameterError(f"{image} holds changes that no commit has: commit them, then deploy.")
        _push(image)


def commit() -> str | None:
    """The short id of the code's commit, with -dirty if it was changed since; None without any commit."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]  # no tags
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None


def docker(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command of Docker's, which finds the engine as its user has set it up.

    Raises `PipelineError` if it fails, after what it said itself, or if there is no Docker.
    """
    command = ["docker", *arguments]
    try:
        return subprocess.run(command, check=True, text=True, **options)
    except FileNotFoundError as error:
        raise PipelineError("There is no command docker: install Docker, or use ECOMMERCE_POOL=process.") from error
    except subprocess.CalledProcessError as error:
        raise PipelineError(f"docker {arguments[0]} failed with {error.returncode}; it has said why.") from error


def _pull_policy(image: str) -> str:
    """An image without a registry in its name exists only where it was built; a tag never changes its image."""
    return "IfNotPresent" if "/" in image else "Never"


@cache
def _built() -> str:
    """The image of this commit; built once, however many deployments there are."""
    tag = commit()
    if tag is None:
        raise ParameterError(f"{ROOT} has no git commit to tag an image with: commit, or name one in ECOMMERCE_IMAGE.")
    image = "/".join(filter(None, (os.environ.get("ECOMMERCE_REGISTRY"), f"{_NAME}:{tag}")))
    docker("build", *_build_options(), "--build-arg", f"REVISION={tag}", "--tag", image, str(ROOT))
    return image


def _build_options() -> list[str]:
    """Another base image than the Dockerfile's, and the network of an engine without a bridge, where they are named."""
    base, network = os.environ.get("ECOMMERCE_BASE"), os.environ.get("ECOMMERCE_BUILD_NETWORK")
    return [*(["--build-arg", f"BASE={base}"] if base else []), *(["--network", network] if network else [])]


@cache
def _push(image: str) -> None:
    docker("push", image)

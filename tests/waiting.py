"""How tests wait for what other processes do."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 240  # of a machine that runs two test files at once; what takes longer does not happen


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` says as soon as it says something."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < give_up, f"it did not happen in time: {found!r}"
        time.sleep(0.2)
    return found

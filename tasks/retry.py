"""How tasks are retried: transient errors only, later and later, not all at once."""

from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from tasks.errors import SnapshotLostError, is_transient


def _may_pass(_task: "Task[Any, Any]", _run: TaskRun, state: "State[Any]") -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_transient(error) and not isinstance(error, SnapshotLostError)


RETRY: dict[str, Any] = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _may_pass,
    "cache_policy": NO_CACHE,
}
"""Options of every task that touches a system: up to four retries after about 2, 4, 8 and 16 seconds."""

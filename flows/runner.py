"""Where the tasks of a flow run: in threads of its own process, or on a Dask cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.context import FlowRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

WORKERS = 2
"""Chunks worked on at once. Four on two cores take no less time (56 s against 49 s at scale 10) and 300 MiB more."""

SETTING = "ECOMMERCE_TASK_RUNNER"
"""The variable that chooses: `threads`, which it is by default, or the address of a Dask scheduler."""


def chosen_runner() -> TaskRunner[Any]:
    """The task runner that the environment names."""
    address = os.environ.get(SETTING) or "threads"
    if address == "threads":
        return ThreadPoolTaskRunner(max_workers=WORKERS)
    from prefect_dask import DaskTaskRunner

    return DaskTaskRunner(address=address)


@contextmanager
def own_process() -> Iterator[TaskRunner[Any]]:
    """A runner of tasks in the process of the flow run that calls: the flow's own if that is threads.

    It is for what only one process may do at a time, as writing to a DuckDB file.
    """
    context = FlowRunContext.get()
    if context is not None and isinstance(context.task_runner, ThreadPoolTaskRunner):
        yield context.task_runner
        return
    with ThreadPoolTaskRunner(max_workers=WORKERS) as beside:
        yield beside

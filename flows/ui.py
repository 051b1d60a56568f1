"""The dashboard and all that works behind it, on this machine and without Docker, until Ctrl-C; `python -m flows.ui`.

A Prefect server, a process pool with its worker, and the deployments of the embedded stack, whose schedules and
triggers are live as long as it runs.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import cyclopts
import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.states import Crashed, StateType

from blocks.stack import LOCAL, home
from flows.cli import CONSOLE, said_in_one_sentence
from flows.image import ROOT
from flows.server import DASHBOARD_PORT, PORT_SETTING, prefect_api, stop_signals
from flows.setup import Pool, setup
from tasks.errors import PipelineError

_POLLING = {"PREFECT_WORKER_QUERY_SECONDS": "2"}  # a person waits for the run that they started; the default is 10
_PATIENCE_SECONDS = 30  # for runs at work to say that they were ended
_AT_WORK = FlowRunFilter(
    state=FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    )
)

app = cyclopts.App(name="python -m flows.ui", version_flags=[], help_format="plaintext")


@app.default
def main(*, port: Annotated[int, cyclopts.Parameter(env_var=PORT_SETTING)] = DASHBOARD_PORT) -> None:
    """Serve the dashboard of the embedded stack, and run what is started there.

    Args:
        port: Port of loopback to serve on; the Prefect server that PREFECT_API_URL names is used instead if it is set.
    """
    stopped = stop_signals()
    with prefect_api(port) as api:
        setup(stack=LOCAL, pool="process")
        with worker_of("process", api) as worker:
            CONSOLE.print(f"The dashboard is at {api.removesuffix('/api')} until Ctrl-C; the worker's log is {_log()}.")
            while not stopped.wait(1):
                if worker.poll() is not None:
                    raise PipelineError(f"The worker has ended by itself; its log is {_log()}.")
            CONSOLE.print("Ending the worker and the server ...")


def _log() -> Path:
    return home() / "prefect" / "worker.log"


@contextmanager
def worker_of(pool: Pool, api: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker of a pool, which ends with the block, and all processes of its runs with it."""
    name, arguments = str(uuid4()), ["--pool", f"ecommerce-{pool}", "--type", pool]
    _log().parent.mkdir(parents=True, exist_ok=True)
    with _log().open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--name", name, *arguments],
            env=os.environ | _POLLING | {"PREFECT_API_URL": api, "ECOMMERCE_HOME": str(home())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for this process, which ends the worker in order
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            worker = psutil.Process(process.pid)
            # The runs first: each then says itself that it crashed, and frees its turn. One without its worker hangs.
            for one in (*worker.children(), worker):
                _end(one)
            if pool == "process":  # containers go on without their worker
                _crash_runs_of(name)
        process.wait()


def _end(process: psutil.Process) -> None:
    """End a process and all that it started, first asking it to."""
    with suppress(psutil.NoSuchProcess):
        everyone = [*process.children(recursive=True), process]
        process.terminate()
        _, alive = psutil.wait_procs(everyone, timeout=_PATIENCE_SECONDS)
        for one in alive:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def _crash_runs_of(worker: str) -> None:
    """Tell the server which runs ended without a word, as those still starting do: it would show them for ever."""
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=_AT_WORK):
            if run.labels.get("prefect.worker.name") == worker:
                client.set_flow_run_state(run.id, Crashed(message="It was ended with its worker."), force=True)


if __name__ == "__main__":
    with said_in_one_sentence():
        app()

"""Flows in processes of their own, which can be told where to die.

`python tests/runs.py CHUNK_ROWS WORKERS [PART_BYTES]` reads steps from its standard input, one JSON object a line,
and answers each with a line. A step has the `home` of a stack, `flows` to run in order (names with parameters), and
perhaps a `death`: the point of the last flow at which its process kills itself. Every step is a process of its own, or
several `at_once`, forked from one that has only imported the flows, which saves the seconds that an import takes; with
PART_BYTES, which is the size of the parts of an upload to S3 then, those of the cloud stack as well.

The point of a death is found by Python's profiling hooks, so that the code under test needs none: its N-th call or
return of a function, or of a function in C that it calls, counting only those with certain local variables.
"""

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib import import_module
from operator import attrgetter
from types import CodeType, FrameType
from typing import Any


@dataclass(frozen=True)
class Death:
    """A point in a flow: the `n`-th `event` (call, return, c_call, c_return) of `function` (`module:name`).

    Of functions in C, `function` is the one that calls, and `calls` the name of what is called. `where` maps local
    variables, or attributes of theirs, to regular expressions that must be found in them.
    """

    event: str
    function: str
    n: int = 1
    calls: str | None = None
    where: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> CodeType:
        module, _, name = self.function.partition(":")
        found: Any = attrgetter(name)(import_module(module))
        code: CodeType = (found.fget if isinstance(found, property) else found).__code__
        return code

    def await_(self) -> Callable[[FrameType, str, Any], None]:
        """A profiling function that kills this process when the point is reached."""
        code, counted, turn = self.code, 0, threading.Lock()

        def profile(frame: FrameType, event: str, called: Any) -> None:
            nonlocal counted
            if frame.f_code is not code or event != self.event or not self._is_here(frame, called):
                return
            with turn:
                counted += 1
                if counted == self.n:
                    answer({"died": self.function})
                    os.kill(os.getpid(), signal.SIGKILL)

        return profile

    def _is_here(self, frame: FrameType, called: Any) -> bool:
        if self.calls is not None and called.__name__ != self.calls:
            return False
        found = frame.f_locals
        return all(re.search(text, str(attrgetter(name)(_Locals(found)))) for name, text in self.where.items())


class _Locals:
    def __init__(self, found: dict[str, Any]) -> None:
        self.__dict__.update(found)


def answer(line: dict[str, Any]) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def prepare(chunk_rows: int, workers: int) -> dict[str, Callable[..., Any]]:
    """Import the flows, for that many workers, and with small chunks: a small shop then has several, as a large one.

    What a killed run extracted is nobody's for the next one already: no others are at work.
    """
    from tasks import prune, window

    prune.ABANDONED = timedelta(0)
    window.CHUNK_ROWS = chunk_rows
    window.plan_chunks.__defaults__ = (chunk_rows,)

    import dbt.cli.main  # noqa: F401
    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.daily_increment import daily_increment
    from flows.historical_load import historical_load
    from flows.transform import transform

    loads = (
        flow.with_options(task_runner=ThreadPoolTaskRunner(workers)) for flow in (historical_load, daily_increment)
    )
    return {flow.fn.__name__: flow for flow in (*loads, transform)}


def prepare_cloud(part_bytes: int) -> None:
    """Import what the cloud stack needs, and have small objects uploaded in parts, as large ones are."""
    from blocks import postgres, s3, snowflake  # noqa: F401
    from tasks.lake import s3_streams
    from tasks.warehouse import snowflake as _  # noqa: F401

    s3_streams.PART_BYTES = part_bytes


def run(flows: dict[str, Callable[..., Any]], step: dict[str, Any]) -> None:
    os.environ["ECOMMERCE_HOME"] = step["home"]
    *before, last = step["flows"]
    for name, parameters in before:
        flows[name](**_dated(parameters))
    if step["death"]:
        profile = Death(**step["death"]).await_()
        threading.setprofile(profile)
        sys.setprofile(profile)
    name, parameters = last
    flows[name](**_dated(parameters))


def _dated(parameters: dict[str, Any]) -> dict[str, Any]:
    days = ("start", "through", "day", "as_of")
    return {name: date.fromisoformat(value) if name in days else value for name, value in parameters.items()}


def main() -> None:
    chunk_rows, workers, *part_bytes = map(int, sys.argv[1:])
    flows = prepare(chunk_rows, workers)
    for given in part_bytes:
        prepare_cloud(given)
    for line in sys.stdin:
        step, children = json.loads(line), []
        for _ in range(step["at_once"]):
            children.append(os.fork())
            if not children[-1]:
                run(flows, step)
                return
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        answer({"status": next(filter(None, statuses), 0)})


if __name__ == "__main__":
    main()

"""How long the tasks of a run work, told by their results."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import ParamSpec, Protocol, TypeVar


class Timed(Protocol):
    """A dataclass that has room for the seconds it took to make."""

    @property
    def seconds(self) -> float:
        """Wall time of the work."""


@dataclass(frozen=True)
class Work:
    """What a task did that has nothing else to tell: rows written, and the seconds it took."""

    rows: int
    seconds: float = 0.0


P = ParamSpec("P")
T = TypeVar("T", bound=Timed)


def timed(work: Callable[P, T]) -> Callable[P, T]:
    """Put the seconds that `work` takes into its result."""

    @functools.wraps(work)
    def measured(*arguments: P.args, **named: P.kwargs) -> T:
        """What `work` returns, with its wall time in seconds."""
        began = perf_counter()
        done = work(*arguments, **named)
        return replace(done, seconds=perf_counter() - began)  # type: ignore[type-var]

    return measured

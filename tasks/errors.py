"""The pipeline's errors: one root, and whether trying again can help."""

from collections.abc import Sequence
from datetime import date
from typing import Any


class PipelineError(Exception):
    """Root of every error the pipeline raises on purpose; the message says what, where, and what to do next."""

    transient = False


class TransientError(PipelineError):
    """Trying again may succeed: a dropped connection, a lock, a commit that another run won."""

    transient = True


class ParameterError(PipelineError):
    """A flow was asked for something that cannot be done; the message is one sentence for the caller."""


class FeedError(PipelineError):
    """A source delivered something that cannot be taken as a whole: no file, a damaged file, too many bad records."""


class SourceError(PipelineError):
    """The source database refused or lacks what the pipeline asked it for."""


class LakeError(PipelineError):
    """The lake's store refused: no such bucket, wrong or expired credentials, no permission, a wrong setting."""


class SnapshotLostError(TransientError):
    """The snapshot of the source database that a run reads is gone; reading all its tables anew may succeed."""


class HistoryError(PipelineError):
    """The history contradicts itself: a part that its manifest names is missing or differs."""


class WarehouseError(PipelineError):
    """The warehouse refused or contradicts the history."""


class WarehouseMemoryError(WarehouseError):
    """The warehouse needs more memory than it may take."""


class ReconcileError(PipelineError):
    """The numbers of a run do not add up, or a table of the run failed; `reasons` says of which batch and table why."""

    def __init__(self, message: str, reasons: Sequence[tuple[date, str, str]] = ()) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)


class TransformError(PipelineError):
    """dbt failed; the message names each node and its reason, `nodes` are the results of all that dbt came to."""

    def __init__(self, message: str, nodes: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.nodes = tuple(nodes)


def is_transient(error: BaseException) -> bool:
    """Whether `error`, or what caused it, may pass by itself.

    Operating-system errors of connections and timeouts count as transient; everything else the pipeline did not
    mark as transient is permanent and fails at once.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, PipelineError):
            return seen.transient
        if isinstance(seen, ConnectionError | TimeoutError):
            return True
        seen = seen.__cause__
    return False

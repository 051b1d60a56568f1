"""The pipeline's errors: one root, and whether trying again can help."""


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


class HistoryError(PipelineError):
    """The history contradicts itself: a part that its manifest names is missing or differs."""


class WarehouseError(PipelineError):
    """The warehouse refused or contradicts the history."""


class ReconcileError(PipelineError):
    """The numbers of a run do not add up, or a table of the run failed."""


class TransformError(PipelineError):
    """dbt failed; the message names each node and its reason."""


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

"""What a flow knows and nothing below it does: the time, and the id of its run."""

from datetime import UTC, date, datetime, timedelta

from prefect.runtime import flow_run

from tasks.plan import Occasion


def yesterday() -> date:
    """The last day that is over, in UTC."""
    return datetime.now(UTC).date() - timedelta(days=1)


def named_after_day() -> str:
    """The name of a run of one day: its stack, and the day that it takes where none was given."""
    parameters = flow_run.parameters
    return f"{parameters['stack']} {parameters['day'] or yesterday()}"


def occasion(stack: str, generate: bool = False, max_bad: float = 0.01) -> Occasion:
    """The occasion of the flow run that calls."""
    return Occasion(str(flow_run.id), datetime.now(UTC), stack, generate, max_bad)

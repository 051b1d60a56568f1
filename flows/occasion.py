"""What a flow knows and nothing below it does: the time, and the id of its run."""

from datetime import UTC, date, datetime, timedelta

from prefect.runtime import flow_run

from tasks.plan import Occasion


def today() -> date:
    """The day that has begun, in UTC."""
    return datetime.now(UTC).date()


def yesterday() -> date:
    """The last day that is over, in UTC."""
    return today() - timedelta(days=1)


def named_after_day() -> str:
    """The name of a run of one day: its stack, and the day that it takes where none was given."""
    parameters = flow_run.parameters
    return f"{parameters['stack']} {parameters['day'] or yesterday()}"


def named_after_feed() -> str:
    """The name of a run that lands a feed: its stack, the table, and the day on which the feed counts as arrived."""
    parameters = flow_run.parameters
    return f"{parameters['stack']} {parameters['table']} {parameters['day'] or yesterday()}"


def named_after_cut() -> str:
    """The name of a build: its stack and cut, or the day on which it began where it finds the newest cut itself."""
    parameters = flow_run.parameters
    as_of = parameters["as_of"]
    return f"{parameters['stack']} as of {as_of}" if as_of else f"{parameters['stack']} newest on {today()}"


def occasion(stack: str, generate: bool = False, max_bad: float = 0.01) -> Occasion:
    """The occasion of the flow run that calls."""
    return Occasion(str(flow_run.id), datetime.now(UTC), stack, generate, max_bad)

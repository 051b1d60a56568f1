"""Take one more day: the last 30 days of every table, of which the history keeps what is new."""

from prefect import flow

from flows.ingest import ingest
from flows.occasion import named_after_day, occasion, yesterday
from flows.parameters import Day, Share, StackName
from flows.runner import chosen_runner
from tasks.announce import announce, announce_failure
from tasks.balance import IngestReport
from tasks.begin import begin_increment


@flow(
    name="daily-increment",
    flow_run_name=named_after_day,
    task_runner=chosen_runner(),
    on_failure=[announce_failure],
)
def daily_increment(
    day: Day | None = None,
    stack: StackName = "local",
    generate: bool = True,
    max_bad: Share = 0.01,
) -> IngestReport:
    """Bring the history and the warehouse's raw layer to the end of a day.

    Days that no run has taken yet are caught up. Running a day again, late or out of order changes no current record.

    Args:
        day: The day to take (UTC), such as 2025-02-01; yesterday if it is not given.
        stack: Name of the stack: local, or a saved Stack block document.
        generate: Let the simulated shop write first; without it, the run takes what a real shop has written.
        max_bad: Share of bad records at which a table fails before it commits (ten are always tolerated).
    """
    run = begin_increment(occasion(stack, generate, max_bad), day or yesterday())
    report = ingest(run)
    announce(report)
    return report


if __name__ == "__main__":
    from flows.cli import main

    main(daily_increment, days=True)

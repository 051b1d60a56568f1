"""Load a shop's history, from its opening day through a given day."""

from datetime import date

from prefect import flow

from flows.ingest import ingest
from flows.occasion import occasion
from flows.parameters import Day, Scale, Seed, Share, StackName
from flows.runner import chosen_runner
from tasks.announce import announce, announce_failure
from tasks.balance import IngestReport
from tasks.begin import begin_history
from tasks.shop.shop import Shop


@flow(
    name="historical-load",
    flow_run_name="{stack} through {through}",
    task_runner=chosen_runner(),
    on_failure=[announce_failure],
)
def historical_load(
    start: Day = date(2023, 1, 1),
    through: Day = date(2025, 1, 31),
    scale: Scale = 1.0,
    seed: Seed = 42,
    stack: StackName = "local",
    generate: bool = True,
    max_bad: Share = 0.01,
    reset: bool = False,
) -> IngestReport:
    """Load the history of a shop, from its opening day through the end of `through`, into the warehouse's raw layer.

    A stack keeps the shop it began with: a later `through` continues it, an earlier one finds everything there, and
    another shop is refused unless `reset`. Running it again finishes what a killed run began.

    Args:
        start: The shop's opening day (UTC), such as 2023-01-01.
        through: The last day to load, such as 2025-01-31.
        scale: Size of the simulated shop; 1 makes about 19,000 orders in these two years.
        seed: Which simulated shop; another seed is another shop.
        stack: Name of the stack: local, or a saved Stack block document.
        generate: Let the simulated shop write first; without it, the run takes what a real shop has written.
        max_bad: Share of bad records at which a table fails before it commits (ten are always tolerated).
        reset: First delete the simulated shop that the stack holds: lake, source, raw and marts.
    """
    run = begin_history(occasion(stack, generate, max_bad), Shop(start, seed, scale), through, reset)
    report = ingest(run)
    announce(report)
    return report


if __name__ == "__main__":
    from flows.cli import main

    main(historical_load)

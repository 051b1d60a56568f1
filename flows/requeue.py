"""Put repaired records of the quarantine back; the next increment takes them."""

from typing import Any

from prefect import flow

from flows.occasion import named_after_feed, occasion, yesterday
from flows.parameters import Day, FeedName, StackName
from tasks.announce import announce_failure
from tasks.requeue import requeue as land


@flow(name="requeue", flow_run_name=named_after_feed, on_failure=[announce_failure])
def requeue(
    table: FeedName,
    records: list[dict[str, Any]] | None = None,
    file: str | None = None,
    day: Day | None = None,
    stack: StackName = "local",
) -> str:
    """Land repaired records as a feed, which the next increment takes like any other.

    Every record is checked first: if one still cannot be taken, none is landed and the reasons are told. Requeuing the
    same records again lands nothing new. What the quarantine holds stays there.

    Args:
        table: The table whose records they are; those of Postgres are mended in Postgres itself.
        records: The repaired records as JSON objects, for a few of them; without a file.
        file: Path in the lake of a repaired copy of a quarantine file, for many, such as repaired/orders.jsonl.
        day: The day on which the feed counts as arrived (UTC); yesterday if it is not given.
        stack: Name of the stack: local, or a saved Stack block document.
    """
    return land(occasion(stack), table, day or yesterday(), records or [], file)


if __name__ == "__main__":
    from flows.cli import main

    main(requeue)

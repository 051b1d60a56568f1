"""Build the warehouse's staging, intermediate and marts with dbt."""

from prefect import flow

from flows.occasion import named_after_cut, occasion
from flows.parameters import Day, Observability, StackName
from tasks.announce import announce_failure
from tasks.publish import publish_shop
from tasks.transform import TransformReport, build, document, mark, plan_build
from tasks.turn import DBT, WAREHOUSE, turn


@flow(name="transform", flow_run_name=named_after_cut, on_failure=[announce_failure])
def transform(
    stack: StackName = "local",
    as_of: Day | None = None,
    full_refresh: bool = False,
    select: list[str] | None = None,
    observability: Observability = "summary",
    unless_later: bool = False,
) -> TransformReport:
    """Build and test dbt's models from what the warehouse's raw layer holds.

    Every model sees the same cut: the batches of days before `as_of`. A complete build is noted in `raw._built`, so
    that the next one processes only what was loaded since, and documented: the run links the page.

    Args:
        stack: Name of the stack: local, or a saved Stack block document.
        as_of: The date whose first instant (UTC) ends the cut; by default the end of the newest day all tables have.
        full_refresh: Rebuild everything from the whole of raw; needed for an as_of before that of the last build.
        select: Names of the models to build, in dbt's own syntax; a partial build is not noted.
        observability: With summary dbt runs as one task, with nodes every model and test is a task run of its own.
        unless_later: Where a later as_of was built, do nothing instead of refusing: that build saw all of this one.
    """
    with turn(stack, WAREHOUSE, DBT):
        cut = plan_build(occasion(stack), as_of, full_refresh, unless_later)
        if cut is None:
            return TransformReport(stack, as_of, (), 0.0)
        report = build(cut, select or [], observability)
        if not select:
            mark(cut)
            document(cut)
            publish_shop(stack, cut.as_of)
    return report


if __name__ == "__main__":
    from flows.cli import main

    main(transform)

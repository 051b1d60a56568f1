"""What a stack holds, per table and day: landed, committed, loaded, built, and what is missing.

`python -m flows.status [--stack local] [--days 14] [--full]`
"""

import sys
from itertools import groupby
from typing import Annotated

import cyclopts
from cyclopts.validators import Number
from rich.table import Table

from blocks.stack import Stack
from flows.cli import CONSOLE, said_in_one_sentence
from tasks.status import DayStatus, audit_stack, gaps, status

app = cyclopts.App(name="python -m flows.status", version_flags=[], help_format="plaintext")


@app.default
def main(
    *,
    stack: str = "local",
    days: Annotated[int, cyclopts.Parameter(validator=Number(gte=1))] = 14,
    full: bool = False,
) -> None:
    """Show what a stack holds of the newest days, and what is missing.

    Args:
        stack: Name of the stack.
        days: How many of the newest days to show.
        full: Also hold every part of the history against the warehouse, row counts and digests.
    """
    opened = Stack.named(stack)
    lake = opened.open_lake()
    with opened.open_warehouse() as warehouse:
        found = status(lake, warehouse, days)
        problems = audit_stack(lake, warehouse) if full else []
    if not found:
        CONSOLE.print(f"Stack {stack!r} holds no history yet: run historical_load.")
        return
    CONSOLE.print(_sheet(stack, found))
    _tell("missing", "yellow", gaps(found), "Nothing is missing in these days.")
    if full:
        _tell("differs", "red", problems, "The warehouse holds the history row for row.")
    sys.exit(1 if problems else 0)


def _tell(what: str, colour: str, sentences: list[str], otherwise: str) -> None:
    for sentence in sentences:
        CONSOLE.print(f"[{colour}]{what}:[/{colour}] {sentence}")
    if not sentences:
        CONSOLE.print(otherwise)


def _sheet(stack: str, found: list[DayStatus]) -> Table:
    """A line per day and table, the newest last: files landed, and revisions in each place."""
    sheet = Table("day", "table", title=f"stack {stack}")
    for column in ("landed", "committed", "loaded", "built"):
        sheet.add_column(column, justify="right")
    for day, lines in groupby(found, lambda line: line.day):
        for line in lines:
            landed = "" if line.landed is None else str(line.landed)
            colour = "yellow" if line.missing else None
            sheet.add_row(str(day), line.table, landed, *_revisions(line), style=colour)
        sheet.add_section()
    return sheet


def _revisions(line: DayStatus) -> tuple[str, ...]:
    """Revisions in each place; of a day that a later batch caught up, that batch."""
    if line.taken_with not in (None, line.day):
        return (f"by {line.taken_with}", "", "")
    return tuple(str(number) for number in (line.committed, line.loaded, line.built))


if __name__ == "__main__":
    with said_in_one_sentence():
        app(exit_on_error=False, print_error=False)

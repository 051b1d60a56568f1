"""What a stack holds, per table and day: landed, committed, loaded, built, and what is missing.

`python -m flows.status [--stack local] [--days 14] [--full]`
"""

import sys

import cyclopts
from rich.table import Table

from blocks.stack import Stack
from flows.cli import CONSOLE, said_in_one_sentence
from tasks.status import DayStatus, audit_stack, status

app = cyclopts.App(name="python -m flows.status", version_flags=[], help_format="plaintext")


@app.default
def main(*, stack: str = "local", days: int = 14, full: bool = False) -> None:
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
    CONSOLE.print(_sheet(stack, found))
    for line in found:
        for missing in line.missing:
            CONSOLE.print(f"[yellow]missing:[/yellow] {line.table} {line.day}: {missing}")
    for problem in problems:
        CONSOLE.print(f"[red]differs:[/red] {problem}")
    sys.exit(1 if problems else 0)


def _sheet(stack: str, found: list[DayStatus]) -> Table:
    sheet = Table("day", "table", title=f"stack {stack}")
    for column in ("landed", "committed", "loaded", "built"):
        sheet.add_column(column, justify="right")
    for line in found:
        landed = "" if line.landed is None else str(line.landed)
        sheet.add_row(str(line.day), line.table, landed, str(line.committed), str(line.loaded), str(line.built))
    return sheet


if __name__ == "__main__":
    with said_in_one_sentence():
        app()

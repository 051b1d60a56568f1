"""The demo as its user runs it: in a process of its own, and again on the same home."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.stack import Stack
from tasks.source import embedded
from tasks.tables import TABLES

ROOT = Path(__file__).parents[1]
STEPS = (
    "historical load through 2025-01-31",
    "daily increment 2025-02-01",
    "daily increment 2025-02-02",
    "daily increment 2025-02-03",
    "transform",
)
SHOWN = (
    "rows per table and layer",
    "balance sheet of these four runs",
    "the best months (fct_sales_by_date)",
    "the best products since 2024-02-05 (fct_sales_by_product, dim_products)",
    "sessions since 2024-02-05 (fct_conversion_funnel)",
    "Where everything lies",
    "What to try next",
    "Done in ",
)


@pytest.fixture(scope="module")
def screens(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], list[str]]]:
    """What the screen shows of the demo on a new home, and of the demo on the same home again, line by line."""
    home = tmp_path_factory.mktemp("demo") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOMMERCE_HOME", str(home))
        patch.setenv("PREFECT_API_URL", prefect_url)
        yield demo(), demo()
        embedded.stop(home / "postgres")


def demo() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "flows.demo", "--scale", "0.02"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3_000:]
    assert not re.search("warning|traceback|error", done.stdout, re.IGNORECASE)
    return done.stdout.splitlines()


def table(lines: list[str], title: str) -> dict[str, list[str]]:
    """The rows of a table on the screen, by their first cell."""
    start = lines.index(title)
    end = next(n for n in range(start, len(lines)) if lines[n].startswith("└"))
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines[start:end] if line[0] in "│┃"]
    return {name: rest for name, *rest in cells}


def test_every_step_tells_of_its_progress_and_its_outcome(screens: tuple[list[str], list[str]]) -> None:
    first, again = screens
    begun = [n for n, line in enumerate(first) if line.startswith("──")]
    assert [first[n].strip("─ ") for n in begun] == [*STEPS, "what there is now"]
    for step, start, end in zip(STEPS, begun, begun[1:], strict=False):
        told = "\n".join(first[start:end])
        outcome = r"\d+ models built as of 2025-02-04, (\d+) of \1 tests passed"
        assert re.search(
            f"^{step}: {outcome if step == 'transform' else r'[1-9][0-9,]* rows are new'} ", told, re.MULTILINE
        )
        progress = r"fct_sales_by_date: success in" if step == "transform" else r"orders: \d+ new of \d+ records"
        assert re.search(progress, told)
    assert len([line for line in again if ": everything was there already (" in line]) == len(STEPS) - 1


def test_the_end_shows_rows_balance_marts_and_where_they_lie(screens: tuple[list[str], list[str]]) -> None:
    first, again = screens
    shown = [next(n for n, line in enumerate(first) if line.startswith(title)) for title in SHOWN]
    assert shown == sorted(shown)
    rows = table(first, SHOWN[0])
    assert rows == table(again, SHOWN[0])
    assert list(rows) == ["table", *TABLES]
    stack = Stack.named("local")
    with stack.open_warehouse() as warehouse:
        for name in TABLES:
            raw, staging = (
                warehouse.query(f"select count(*) from {relation}")[0][0]
                for relation in (f"raw.{name}", f"staging.stg_{name}")
            )
            assert rows[name] == [f"{raw:,}", f"{raw:,}", f"{staging:,}"]
    balance = {name: line for name, line in table(first, SHOWN[1]).items() if name in TABLES}
    assert {name: (line[1], line[5]) for name, line in balance.items()} == {
        name: (rows[name][0], rows[name][1]) for name in TABLES
    }
    assert {line[1] for line in table(again, SHOWN[1]).values()} == {"appended", "0"}
    assert [len(table(first, title)) for title in SHOWN[2:5]] == [1 + 5, 1 + 5, 1 + 4]
    for place in (stack.lake.basepath, stack.source.folder, stack.warehouse.path):
        assert any(str(place) in line and Path(str(place)).exists() for line in first)


def test_what_to_try_next_works(screens: tuple[list[str], list[str]], prefect_url: str) -> None:
    first, _ = screens
    start = next(n for n, line in enumerate(first) if line.startswith("What to try next"))
    next_steps = {line[2:22].strip(): line[22:] for line in first[start:]}
    assert Path(next_steps["open the report"]).read_text().startswith("<!doctype html>")
    assert next_steps["see these runs"] == prefect_url.removesuffix("/api")
    program = next_steps["query the marts"].split('"')[1]
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "customer_id" in asked.stdout
    assert next_steps["take the next day"].endswith("-m flows.daily_increment --day 2025-02-04")

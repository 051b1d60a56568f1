"""What the flows are asked for, from Python and on the command line, and what they say when it cannot be done."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from blocks.stack import Stack
from flows.daily_increment import daily_increment
from flows.historical_load import historical_load
from flows.status import main as status_main
from flows.transform import transform
from tasks.errors import ParameterError
from tasks.lake import paths
from tasks.lake.manifests import read_manifest, revisions
from tasks.plan import Occasion, check_begun
from tasks.tables import TABLES

OPENING, THROUGH, NEXT = date(2024, 12, 1), date(2024, 12, 31), date(2025, 1, 1)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unchanged(
    copied: Callable[[Path], Stack], prefect_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack with a simulated shop that no test of this module changes."""
    stack = copied(tmp_path_factory.mktemp("unchanged") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOMMERCE_HOME", stack.workspace)
        patch.setenv("PREFECT_API_URL", prefect_url)
        yield stack


def load(through: date = THROUGH, **parameters: Any) -> Any:
    return historical_load(**({"start": OPENING, "through": through, "scale": 0.02} | parameters))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: load(scale=-1), r"scale: Input should be greater than or equal to 0\.000001"),
        (lambda: load(scale=1_001), r"scale: Input should be less than or equal to 1000"),
        (lambda: load(scale="large"), r"scale: Input should be a valid number.*"),
        (lambda: load(seed=1.5), r"seed: Input should be a valid integer.*"),
        (lambda: load(stack=""), r"stack: String should have at least 1 character"),
        (lambda: daily_increment(NEXT, max_bad=2), r"max_bad: Input should be less than or equal to 1"),
        (lambda: daily_increment("tomorrow"), r"day: Input should be a valid date.*"),
        (lambda: transform(observability="all"), r"observability: Input should be 'summary' or 'nodes'"),
    ],
)
def test_value_that_does_not_fit_is_refused_before_anything_runs(
    home: Path, call: Callable[[], Any], reason: str
) -> None:
    with pytest.raises(ParameterTypeError) as refusal:
        call()
    assert re.fullmatch(f"Flow run received invalid parameters:\n - {reason}", str(refusal.value))
    assert not home.exists()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: daily_increment(THROUGH), r"day 2024-12-31 is part of the historical load.* through 2024-12-31"),
        (lambda: load(date(2024, 11, 30)), r"through \(2024-11-30\) is before start \(2024-12-01\)"),
        (lambda: load(date(2024, 11, 30), reset=True), r"is before start \(2024-12-01\)"),
        (
            lambda: daily_increment(date(2999, 1, 1)),
            r"day 2999-01-01 has not begun: the last .* is today, 20.* \(UTC\)",
        ),
        (lambda: load(date(2999, 1, 1), reset=True), r"through 2999-01-01 has not begun"),
        (lambda: load(seed=7), r"holds the simulated shop with seed 42.*not .* seed 7.*reset=True"),
        (lambda: load(scale=0.03), r"scale 0\.02.*not .*scale 0\.03"),
        (lambda: load(start=date(2024, 12, 2)), r"start 2024-12-01.*not .*start 2024-12-02"),
        (lambda: load(stack="nowhere"), r"There is no stack 'nowhere': use 'local', or save a Stack block"),
    ],
    ids=[
        *("day of the history", "through before start", "through before start, with reset", "day to come"),
        *("through to come, with reset", "seed", "scale", "start", "stack"),
    ],
)
def test_what_a_stack_cannot_do_is_refused(unchanged: Stack, call: Callable[[], Any], reason: str) -> None:
    before = everything(unchanged)
    with pytest.raises(ParameterError, match=reason) as refusal:
        call()
    assert "\n" not in str(refusal.value)
    assert everything(unchanged) == before


def test_day_that_has_begun_can_be_taken() -> None:
    occasion = Occasion("run", datetime(2025, 2, 1, 0, 0, 1, tzinfo=UTC), "local", generate=True, max_bad=0.01)
    check_begun(occasion, "day", date(2025, 2, 1))
    with pytest.raises(ParameterError, match="day 2025-02-02 has not begun"):
        check_begun(occasion, "day", date(2025, 2, 2))


def everything(stack: Stack) -> dict[str, int]:
    lake = Path(str(stack.lake.basepath))
    return {str(path): path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}


def test_day_before_any_history_is_refused(home: Path) -> None:
    with pytest.raises(ParameterError, match="holds no history yet: run historical_load before daily_increment"):
        daily_increment(NEXT)
    with pytest.raises(
        ParameterError, match="has loaded no day in all tables yet: run historical_load before transform"
    ):
        transform()


def test_shop_of_another_version_is_not_continued(shop: Stack) -> None:
    lake = shop.open_lake()
    lake.write(paths.LAKE, json.dumps(json.loads(lake.read(paths.LAKE)) | {"version": "older"}).encode())
    with pytest.raises(ParameterError, match=r"holds a shop of version older, this code makes version \w+: .*reset"):
        daily_increment(NEXT)
    with pytest.raises(ParameterError, match=r"version older, not the simulated shop .*reset=True"):
        load()


def test_through_again_and_earlier_do_nothing_and_later_is_one_increment(shop: Stack) -> None:
    before = everything(shop)
    assert load().tables == ()
    assert load(date(2024, 12, 15)).tables == ()
    assert everything(shop) == before

    later = date(2025, 2, 15)
    assert load(later).appended > 100
    lake = shop.open_lake()
    for table in TABLES:
        assert [batch for batch, _ in revisions(lake, table)] == [THROUGH, later]
        window = read_manifest(lake, table, later, 1).window
        assert (window.start, window.end) == (NEXT, later + timedelta(1))
    with pytest.raises(ParameterError, match=r"day 2025-02-01 is part of the historical load"):
        daily_increment(date(2025, 2, 1))


def test_reset_replaces_the_shop(shop: Stack) -> None:
    with shop.open_warehouse() as warehouse:
        warehouse.query("create schema marts")
    report = load(date(2024, 12, 20), seed=7, reset=True)
    lake = shop.open_lake()
    assert json.loads(lake.read(paths.LAKE))["seed"] == 7
    assert not lake.exists(paths.RESETTING)
    assert {batch for table in TABLES for batch, _ in revisions(lake, table)} == {date(2024, 12, 20)}
    with shop.open_warehouse() as warehouse:
        assert warehouse.query("select distinct batch from raw._batches") == [(date(2024, 12, 20),)]
        assert warehouse.query("select 1 from information_schema.schemata where schema_name = 'marts'") == []
    with shop.open_source()._transaction("look") as cursor:
        cursor.execute("select count(*), max(created_at) < '2024-12-21' from interactions")
        interactions = next(line for line in report.tables if line.table == "interactions")
        assert cursor.fetchall() == [(interactions.appended, True)]


def started(stack: Stack, *arguments: str) -> "subprocess.Popen[str]":
    """`python -m flows.<arguments>` on a stack, with the Prefect server of the tests."""
    return subprocess.Popen(
        [sys.executable, "-m", *(f"flows.{arguments[0]}", *arguments[1:])],
        cwd=ROOT,
        env=os.environ | {"ECOMMERCE_HOME": stack.workspace, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit status and output of a command; it says nothing on the error stream."""
    out, err = process.communicate(timeout=120)
    assert err == ""
    return process.returncode, out


def test_help_names_every_parameter(unchanged: Stack) -> None:
    commands = {
        "historical_load": "start through scale seed stack generate max-bad reset",
        "daily_increment": "day stack generate max-bad from to",
        "transform": "stack as-of full-refresh select observability",
        "status": "stack days full",
        "demo": "scale",
    }
    running = {name: started(unchanged, name, "--help") for name in commands}
    for name, process in running.items():
        status, out = said(process)
        assert status == 0
        assert all(f"--{option}" in out for option in commands[name].split()), (name, out)


def test_command_line_refuses_in_one_sentence(unchanged: Stack) -> None:
    refused = {
        ("historical_load", "--scale", "-1"): 'Invalid value "-1.0" for --scale: Input should be greater than or equal',
        ("demo", "--scale", "2000"): 'Invalid value "2000.0" for --scale: Input should be less than or equal to 1000.',
        ("daily_increment", "--day", "tomorrow"): "tomorrow",
        ("daily_increment", "--from", "2025-01-02", "--to", "2025-01-01"): "--to that is not before --from",
        ("daily_increment", "--day", "2024-12-31"): "part of the historical load",
        ("status", "--stack", "nowhere"): "There is no stack 'nowhere'",
        ("status", "--days", "0"): "--days",
    }
    running = {command: started(unchanged, *command) for command in refused}
    for command, process in running.items():
        status, out = said(process)
        assert status == 1, command
        assert re.fullmatch(r"Error: [^\n]*\.?\n", out), (command, out)
        assert refused[command] in out


def test_events_that_are_still_to_be_delivered_are_no_warning(home: Path) -> None:
    program = """
from prefect.events import emit_event
from flows.cli import quiet
with quiet():
    for n in range(200):
        emit_event(event="ecommerce.test", resource={"prefect.resource.id": f"ecommerce.test.{n}"})
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_failed_run_ends_in_one_sentence(shop: Stack) -> None:
    status, out = said(started(shop, "daily_increment", "--day", "2025-01-01", "--no-generate"))
    assert status == 1
    assert "Traceback" not in out
    assert re.search(r"^Error: local 2025-01-01: .*orders: landing/orders/2025-01-01/ has no file", out, re.MULTILINE)
    assert out.count("has no file") == 4


def test_command_line_runs_a_range_and_status_tells_what_is_there(shop: Stack) -> None:
    status, out = said(started(shop, "daily_increment", "--from", "2025-01-01", "--to", "2025-01-02"))
    assert status == 0
    assert [f"local 2025-01-0{n}: balance sheet" in out for n in (1, 2, 3)] == [True, True, False]

    status, out = said(started(shop, "status", "--full", "--days", "2"))
    assert status == 0
    assert re.search(r"2025-01-02 │ orders +│ +1 │ +1 │ +1 │ +0 ", out)
    assert "missing: all tables 2025-01-01, 2025-01-02: 1 revision is not built: run transform" in out
    assert out.rstrip().endswith("The warehouse holds the history row for row.")

    (part, *_) = Path(str(shop.lake.basepath), "history/orders/batch=2024-12-31").glob("part-*")
    part.write_bytes(part.read_bytes()[:-100])
    with shop.open_warehouse() as warehouse:
        warehouse.query("update raw.reviews set _version = _version + 1 where _batch = '2024-12-31'")
        warehouse.query("delete from raw._batches where \"table\" = 'reviews' and batch = '2025-01-02'")
    status, out = said(started(shop, "status", "--full"))
    assert status == 1
    assert re.search(r"differs: orders: .*part-", out)
    assert re.search(r"differs: reviews: batch 2024-12-31 revision 1 has .* raw has", out)
    assert "missing: reviews 2025-01-02: 1 revision is not loaded: the next run loads what is missing" in out


def test_status_of_a_stack_without_a_history_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status_main()
    assert capsys.readouterr().out == "Stack 'local' holds no history yet: run historical_load.\n"

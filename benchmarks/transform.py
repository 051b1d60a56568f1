"""What a day's transform costs, and that it costs the same however long the history is.

    python -m benchmarks.transform

Two copies of one stack at rest, of which one has its history padded to 20 times its size (see padding.py) by days so
old that no window of a mart reaches them. That is 20 times the rows of every table: orders, items, reviews, sessions
and events, and also the customers and products of those days, which the dimensions keep. Each copy takes the same
days, one on the one, then on the other, and transforms after each. Counted are the seconds that the warehouse spent
on the SQL of each model and test, as dbt's adapter tells them; what dbt takes beside them is the runner's overhead.
One node runs at a time: two would wait for each other's cores, and their seconds overlap. Of each node the least of
the days counts, since what else the machine does only ever adds to it.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import ROOT, Figure, environment, publish, run_flow, scratch, server, warn_if_busy
from benchmarks.padding import pad
from blocks.stack import Stack

RATIO = 1.3
BATCHES_PER_COPY = 30
THROUGH = date(2025, 1, 31)
KINDS = ("model", "test")


@dataclass(frozen=True)
class Build:
    """One transform: its wall seconds, and the seconds of SQL per node (`model.name`, `test.name`)."""

    seconds: float
    sql: Mapping[str, float]

    def total(self, kind: str = "") -> float:
        """The seconds of all nodes, or of those of a kind."""
        return sum(seconds for name, seconds in self.sql.items() if name.startswith(kind))


def measured(out: Path) -> None:
    """Transform the stack of this process, and write what was measured."""
    from flows.transform import transform
    from tasks import dbt

    sql: dict[str, float] = defaultdict(float)
    invoke = dbt.invoke_dbt

    def timed(manifest: Any, arguments: list[str], on_event: dbt.OnEvent) -> Any:
        def hear(event: Any) -> None:
            """Add the seconds of a statement that has ended to those of its node."""
            on_event(event)
            if event.info.name == "SQLQueryStatus":
                kind, _, name = event.data.node_info.unique_id.partition(".")
                sql[f"{kind}.{name.split('.')[1] if name else ''}"] += event.data.elapsed

        return invoke(manifest, [*arguments, "--threads", "1"], hear)

    dbt.invoke_dbt = timed
    began = time.perf_counter()
    transform()
    kept = {name: seconds for name, seconds in sql.items() if name.startswith(KINDS)}
    out.write_text(json.dumps({"seconds": time.perf_counter() - began, "sql": kept}))


def build(home: Path, api: str) -> Build:
    """Transform the stack in `home` in a process of its own."""
    out, log = home.with_name(f"{home.name}-built.json"), home.with_name(f"{home.name}.log")
    command = [sys.executable, "-m", "benchmarks.transform", "--measured", str(out)]
    with log.open("wb") as file:
        ended = subprocess.run(command, env=environment(home, api), cwd=ROOT, stdout=file, stderr=file, check=False)
    if ended.returncode:
        raise SystemExit(f"transform failed:\n{log.read_text()[-4_000:]}")
    return Build(**json.loads(out.read_text()))


def compared(chosen: argparse.Namespace, folder: Path, api: str) -> dict[str, list[Build]]:
    """The same days with a history as loaded, and with one of so many times the size."""
    homes = {"as loaded": folder / "as-loaded", "padded": folder / "padded"}
    start = THROUGH - timedelta(chosen.days - 1)
    run_flow("historical_load", {"start": start, "through": THROUGH, "scale": chosen.scale}, homes["as loaded"], api)
    subprocess.run(["cp", "-a", homes["as loaded"], homes["padded"]], check=True)
    rows = pad(Stack.in_folder(homes["padded"]), chosen.times - 1, BATCHES_PER_COPY, datetime.now(UTC))
    print(f"padded {chosen.days} days at scale {chosen.scale:g} with {rows:,} rows of the time before", flush=True)
    for name, home in homes.items():
        print(f"full build, {name}: {build(home, api).seconds:.1f} s", flush=True)
    builds: dict[str, list[Build]] = {name: [] for name in homes}
    for day in (THROUGH + timedelta(1 + n) for n in range(chosen.runs)):
        for name, home in homes.items():
            run_flow("daily_increment", {"day": day}, home, api)
            builds[name].append(build(home, api))
    return builds


def least(builds: Sequence[Build]) -> Build:
    """The build whose nodes took what each took at least; its wall seconds are those of the fastest."""
    names = {name for one in builds for name in one.sql}
    sql = {name: min(one.sql[name] for one in builds if name in one.sql) for name in names}
    return Build(min(one.seconds for one in builds), sql)


def show(builds: Mapping[str, Sequence[Build]]) -> None:
    """Print the seconds of each model, and of the tests that take long."""
    loaded, padded = (least(found).sql for found in builds.values())
    print(f"{'SQL seconds':80}{'as loaded':>12}{'padded':>12}")
    for name in sorted(loaded.keys() | padded.keys(), key=lambda name: -padded.get(name, 0.0)):
        if name.startswith("model") or padded.get(name, 0.0) >= 0.05:
            print(f"{name[:79]:80}{loaded.get(name, 0.0):>12.3f}{padded.get(name, 0.0):>12.3f}")


def figures(builds: Mapping[str, Sequence[Build]]) -> list[Figure]:
    """Those of the report."""
    quiet = {name: least(ones) for name, ones in builds.items()}
    found = [
        Figure(f"SQL of the {kind}s, {name}", one.total(kind), "s") for kind in KINDS for name, one in quiet.items()
    ]
    found += [
        Figure(f"runner overhead, {name}", median(one.seconds - one.total() for one in ones), "s")
        for name, ones in builds.items()
    ]
    ratio = quiet["padded"].total() / quiet["as loaded"].total()
    return [*found, Figure("SQL, padded over as loaded", ratio, "", RATIO)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of a day's transform, and whether it feels the history.")
    parser.add_argument("--scale", type=float, default=1.0, help="scale of the shop")
    parser.add_argument("--days", type=int, default=400, help="days of the historical load; more than a year's window")
    parser.add_argument("--times", type=int, default=20, help="size of the padded history over the other's")
    parser.add_argument("--runs", type=int, default=4, help="days timed")
    parser.add_argument("--measured", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    if chosen.measured:
        measured(chosen.measured)
        return
    load = warn_if_busy()
    with scratch() as folder, server(folder / "server") as api:
        builds = compared(chosen, folder, api)
    show(builds)
    publish("transform", figures(builds), parameters=vars(chosen), load_before=load, builds=builds)


if __name__ == "__main__":
    main()

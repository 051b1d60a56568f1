"""What a day costs, and that it costs the same however long the history is.

    python -m benchmarks.daily

First, days at scale 1 after two years of history, without the transform. Then the same days on two copies of one
stack at scale 10, of which one has its history padded to 20 times the bytes (see padding.py), in lake and warehouse:
the next day on the one, on the other, the day after on the one, and so on. Every day runs in a process of its own,
whose whole time counts, with the Prefect server up before. The first day is a rehearsal in which every read of the
lake is counted; the medians of the other days are compared. What the process reads at all, DuckDB's file included, is
counted by the kernel.
"""

import argparse
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.measure import MIB, Figure, Run, publish, run_flow, scratch, server, warn_if_busy
from benchmarks.padding import pad, size
from blocks.stack import Stack

SECONDS_AT_1 = 8.0
SAME_READS, SAME_COST = 2.0, 10.0
BATCHES_PER_COPY = 30
THROUGH = date(2025, 1, 31)
FOLDERS = ("landing", "extracted", "commits", "history")


@dataclass(frozen=True)
class Days:
    """The same days on one stack: the run whose reads were counted, and those that were timed."""

    name: str
    history_bytes: int
    counted: Run
    timed: list[Run]

    def median(self, what: str) -> float:
        """The median of a number of the timed runs."""
        return float(median(getattr(run, what) for run in self.timed))

    def reads(self, what: str) -> int:
        """Files, bytes, listings or entries counted in the lake, over all of its folders."""
        return sum(folder.get(what, 0) for folder in self.counted.counted.values())


def increments(scale: float, runs: int, folder: Path, api: str) -> list[Run]:
    """Days after two years of history."""
    home = folder / "increments"
    run_flow("historical_load", {"start": date(2023, 1, 1), "through": THROUGH, "scale": scale}, home, api)
    return [run_flow("daily_increment", {"day": day}, home, api) for day in _days_after(runs)]


def compared(scale: float, days: int, times: int, runs: int, folder: Path, api: str) -> list[Days]:
    """The same days with a history as loaded, and with one of so many times the bytes."""
    homes = {"as loaded": folder / "as-loaded", "padded": folder / "padded"}
    start = THROUGH - timedelta(days - 1)
    run_flow("historical_load", {"start": start, "through": THROUGH, "scale": scale}, homes["as loaded"], api)
    subprocess.run(["cp", "-a", homes["as loaded"], homes["padded"]], check=True)
    rows = pad(Stack.in_folder(homes["padded"]), times - 1, BATCHES_PER_COPY, datetime.now(UTC))
    print(f"padded {days} days at scale {scale:g} with {rows:,} rows of the time before", flush=True)
    sizes = {name: size(Stack.in_folder(home).open_lake()) for name, home in homes.items()}
    rehearsal, *others = _days_after(1 + runs)
    counted = {name: run_flow("daily_increment", {"day": rehearsal}, homes[name], api, count=True) for name in homes}
    timed: dict[str, list[Run]] = {name: [] for name in homes}
    for day in others:
        for name, home in homes.items():
            timed[name].append(run_flow("daily_increment", {"day": day}, home, api))
    return [Days(name, sizes[name], counted[name], timed[name]) for name in homes]


def _days_after(number: int) -> list[date]:
    return [THROUGH + timedelta(1 + n) for n in range(number)]


def show(both: Sequence[Days]) -> None:
    print(f"{'':28}" + "".join(f"{days.name:>14}" for days in both))
    rows = {
        "history, MiB": [f"{days.history_bytes / MIB:,.1f}" for days in both],
        "process, s": [f"{days.median('process_seconds'):.2f}" for days in both],
        "flow, s": [f"{days.median('seconds'):.2f}" for days in both],
        "peak memory, MiB": [f"{days.median('peak') / MIB:,.1f}" for days in both],
        "read by the process, MiB": [f"{days.median('read') / MIB:,.1f}" for days in both],
    }
    rows |= {
        f"lake: {what}": [f"{days.reads(what):,}" for days in both]
        for what in ("files", "bytes", "listings", "entries")
    }
    for name, values in rows.items():
        print(f"{name:28}" + "".join(f"{value:>14}" for value in values))
    for folder in FOLDERS:
        print(f"  {folder}: " + "; ".join(f"{days.name} {days.counted.counted.get(folder)}" for days in both))


def figures(both: Sequence[Days]) -> list[Figure]:
    loaded, padded = both

    def difference(of: float, over: float) -> float:
        return 100 * (of / over - 1)

    found = [Figure("bytes of the padded history over the other's", padded.history_bytes / loaded.history_bytes, "")]
    for what, name, limit in (
        ("files", "files read", SAME_READS),
        ("bytes", "bytes read", SAME_READS),
        ("listings", "folders listed", None),
        ("entries", "names seen in listings", None),
    ):
        percent = difference(padded.reads(what), loaded.reads(what))
        found.append(Figure(f"{name} in the lake, difference", abs(percent), "%", limit))
    for name, what, limit in (
        ("bytes read by the process", "read", SAME_READS),
        ("time of the process", "process_seconds", SAME_COST),
        ("time of the flow", "seconds", SAME_COST),
        ("peak memory", "peak", SAME_COST),
    ):
        percent = difference(padded.median(what), loaded.median(what))
        found.append(Figure(f"{name}, difference of the medians", percent, "%", limit))
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of a day, and whether it feels the history.")
    parser.add_argument("--increment-scale", type=float, default=1.0, help="scale of the days after two years")
    parser.add_argument("--scale", type=float, default=10.0, help="scale of the two stacks compared")
    parser.add_argument("--days", type=int, default=90, help="days of their historical load")
    parser.add_argument("--times", type=int, default=20, help="bytes of the padded history over the other's")
    parser.add_argument("--runs", type=int, default=5, help="days timed")
    return parser.parse_args()


def main() -> None:
    chosen, load = arguments(), warn_if_busy()
    with scratch() as folder, server(folder / "server") as api:
        days = increments(chosen.increment_scale, chosen.runs, folder, api)
        both = compared(chosen.scale, chosen.days, chosen.times, chosen.runs, folder, api)
    show(both)
    name = f"daily increment at scale {chosen.increment_scale:g}"
    own = [
        Figure(f"{name}: process", median(run.process_seconds for run in days), "s", SECONDS_AT_1),
        Figure(f"{name}: flow", median(run.seconds for run in days), "s"),
    ]
    details = {"increments": [asdict(run) for run in days], "compared": [asdict(one) for one in both]}
    publish("daily", own + figures(both), parameters=vars(chosen), load_before=load, **details)


if __name__ == "__main__":
    main()

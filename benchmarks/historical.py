"""What a historical load costs: wall time, peak memory, and how both grow with the shop.

    python -m benchmarks.historical --scales 10 40

Each scale is loaded into a home of its own, by a process of its own; the Prefect server is up before. The memory of
the flow's process and that of the Postgres server that it starts are given apart.
"""

import argparse
import shutil
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from benchmarks.measure import (
    MIB,
    Figure,
    PostgresMemory,
    Run,
    Step,
    publish,
    run_flow,
    scratch,
    server,
    steps,
    warn_if_busy,
)

SECONDS_AT_10 = 240.0
MIB_AT_10 = 1.5 * 1024
GROWTH = 1.15


@dataclass(frozen=True)
class Load:
    """One historical load: its scale, its run, the peak of Postgres in bytes, and its steps."""

    scale: float
    run: Run
    postgres_peak: int
    steps: list[Step]


def measure(scale: float, start: date, through: date, home: Path, api: str) -> Load:
    arguments = {"start": start, "through": through, "scale": scale}
    with PostgresMemory(home / "postgres") as postgres:
        run = run_flow("historical_load", arguments, home, api)
    load = Load(scale, run, postgres.peak, steps(run))
    shutil.rmtree(home)
    return load


def show(load: Load) -> None:
    run = load.run
    speed, peak = f"{run.rows / run.seconds:,.0f} rows/s", f"peak {run.peak / MIB:,.0f} MiB"
    print(f"scale {load.scale:g}: {run.rows:,} rows in {run.seconds:.1f} s, {speed}, {peak}")
    print(f"  {'step':12}{'tasks':>7}{'seconds':>10}{'added up':>10}{'rows/s':>12}")
    for step in load.steps:
        pace = f"{run.rows / step.seconds:,.0f}" if step.seconds >= 1 else "-"
        print(f"  {step.name:12}{step.tasks:>7}{step.seconds:>10.1f}{step.added:>10.1f}{pace:>12}", flush=True)


def figures(loads: list[Load]) -> list[Figure]:
    found = []
    for load in loads:
        name, promised = f"scale {load.scale:g}", load.scale == 10
        found += [
            Figure(f"{name}: wall time", load.run.seconds, "s", SECONDS_AT_10 if promised else None),
            Figure(f"{name}: peak memory", load.run.peak / MIB, "MiB", MIB_AT_10 if promised else None),
            Figure(f"{name}: peak memory of Postgres", load.postgres_peak / MIB, "MiB"),
        ]
    first, last = loads[0], loads[-1]
    if first is not last:
        name = f"peak memory at scale {last.scale:g} over that at {first.scale:g}"
        found.append(Figure(name, last.run.peak / first.run.peak, "", GROWTH))
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Wall time and peak memory of the historical load.")
    parser.add_argument("--scales", type=float, nargs="+", default=[10.0, 40.0])
    parser.add_argument("--start", type=date.fromisoformat, default=date(2023, 1, 1))
    parser.add_argument("--through", type=date.fromisoformat, default=date(2025, 1, 31))
    return parser.parse_args()


def main() -> None:
    chosen, load, loads = arguments(), warn_if_busy(), list[Load]()
    with scratch() as folder, server(folder / "server") as api:
        for scale in chosen.scales:
            loads.append(measure(scale, chosen.start, chosen.through, folder / f"scale-{scale:g}", api))
            show(loads[-1])
    window = f"{chosen.start} through {chosen.through}"
    publish("historical", figures(loads), window=window, load_before=load, loads=[asdict(one) for one in loads])


if __name__ == "__main__":
    main()

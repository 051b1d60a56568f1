"""What a newcomer waits for: the demo from a clean home, and again, with and without a Prefect server running before.

    python -m benchmarks.demo

The demo is `python -m flows.demo` in a process of its own, as `make demo` starts it once everything is installed. A
word on its standard error counts as a failure.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.measure import ROOT, Figure, environment, publish, scratch, server, warn_if_busy

ALONE, WITH_SERVER = 75.0, 45.0


@dataclass(frozen=True)
class Timed:
    """Seconds of the demo on a clean home, and of the demo on the same home again."""

    first: float
    again: float


def demo(home: Path, api: str | None) -> float:
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "flows.demo"],
        env=environment(home, api),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    if ended.returncode or ended.stderr:
        raise SystemExit(f"the demo ended with status {ended.returncode}:\n{ended.stdout[-4_000:]}\n{ended.stderr}")
    return took


def twice(home: Path, api: str | None) -> Timed:
    timed = Timed(demo(home, api), demo(home, api))
    print(f"{home.name}: {timed.first:.1f} s, again {timed.again:.1f} s", flush=True)
    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of the demo.")
    parser.add_argument("--runs", type=int, default=1, help="how often to measure; the median counts")
    chosen, load = parser.parse_args(), warn_if_busy()
    with scratch() as folder:
        alone = [twice(folder / f"alone-{n}", None) for n in range(chosen.runs)]
        with server(folder / "server") as api:
            beside = [twice(folder / f"with-server-{n}", api) for n in range(chosen.runs)]
    figures = [
        Figure("server started and stopped by the demo", median(timed.first for timed in alone), "s", ALONE),
        Figure("  again, on the same home", median(timed.again for timed in alone), "s"),
        Figure("server running before", median(timed.first for timed in beside), "s", WITH_SERVER),
        Figure("  again, on the same home", median(timed.again for timed in beside), "s"),
    ]
    publish("demo", figures, load_before=load, alone=alone, with_server=beside)


if __name__ == "__main__":
    main()

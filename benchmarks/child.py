"""One flow in a process of its own, measured; the other benchmarks start it.

    python -m benchmarks.child FLOW ARGUMENTS OUT [--count]

ARGUMENTS are the flow's as JSON, OUT is the file for what was measured. With `--count` every read of the lake is
counted per folder, which takes time of its own.
"""

import argparse
import json
import time
from importlib import import_module
from pathlib import Path

from benchmarks.counting import Counts, counted_lake
from flows.cli import quiet


def peak_memory() -> int:
    """Greatest resident memory of this process in bytes; getrusage's would include that of the parent before exec."""
    return 1024 * _kernel("/proc/self/status", "VmHWM")


def bytes_read() -> int:
    """What this process has read through system calls, from files, pipes and the page cache alike."""
    return _kernel("/proc/self/io", "rchar")


def _kernel(path: str, name: str) -> int:
    lines = (line.split() for line in Path(path).read_text().splitlines())
    return next(int(words[1]) for words in lines if words and words[0] == f"{name}:")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run one flow and measure it.")
    parser.add_argument("flow")
    parser.add_argument("arguments", type=json.loads)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", action="store_true")
    chosen = parser.parse_args()
    flow = getattr(import_module(f"flows.{chosen.flow}"), chosen.flow)
    counts = Counts()
    if chosen.count:
        counted_lake(counts)
    before, began = bytes_read(), time.perf_counter()
    with quiet():
        state = flow(**chosen.arguments, return_state=True)
    measured = {
        "seconds": time.perf_counter() - began,
        "read": bytes_read() - before,
        "rows": state.result().appended,
        "flow_run": str(state.state_details.flow_run_id),
        "counted": counts.by_folder,
        "peak": peak_memory(),
    }
    chosen.out.write_text(json.dumps(measured))


if __name__ == "__main__":
    main()

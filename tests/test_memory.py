"""Memory that was freed goes back to the system: measured in a process of its own, since it holds for a process."""

import os
import subprocess
import sys

import pytest

PROBE = """
import sys
from pathlib import Path
import pyarrow as pa
from tasks.memory import return_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

if sys.argv[1] == "returned":
    return_freed_memory()
bytes(64 << 20)  # glibc keeps blocks of up to this size from here on, if it is left alone
before, blocks, arrow = resident(), [], []
for _ in range(100):
    blocks += [bytes(range(256)) * (4 << 12), b"x" * 100_000]
    arrow.append(pa.array([b"y" * (1 << 20)]))
del blocks[::2], arrow
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_returns_what_it_frees() -> None:
    kept, returned = (grown(how) for how in ("kept", "returned"))

    assert returned < kept / 2


def grown(how: str) -> int:
    """MiB by which the process is larger than before when all but 5 of them are free."""
    # Dask sets MALLOC_TRIM_THRESHOLD_ in the process that starts its workers: a test before this one may be that.
    glibc_alone = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    ended = subprocess.run(
        [sys.executable, "-c", PROBE, how], env=glibc_alone, capture_output=True, text=True, check=True
    )
    return int(ended.stdout)

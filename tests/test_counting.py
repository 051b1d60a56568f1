"""What the benchmarks count of a lake: every way in which the pipeline reads it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

PROGRAM = """
import json
from benchmarks.counting import Counts, counted_lake
from blocks import stack
counts = Counts()
counted_lake(counts)
lake = stack.LocalLake(stack.home() / "lake")
assert lake.files("history/orders", since="batch=2025-01-02") == []
assert lake.folders("history") == ["orders"]
assert lake.read("history/orders/batch=2025-01-02/a") == b"123"
with lake.filesystem.open_input_file("landing/b") as file:
    assert file.read(2) == b"45"
print(json.dumps(counts.by_folder))
"""


def test_files_bytes_listings_and_the_names_in_them_are_counted(tmp_path: Path) -> None:
    batches = [tmp_path / "lake" / "history" / "orders" / f"batch=2025-01-0{day}" for day in (1, 2, 3)]
    landing = tmp_path / "lake" / "landing"
    for folder in (*batches, landing):
        folder.mkdir(parents=True)
    for path, content in ((batches[1] / "a", b"123"), (batches[2] / "b", b"4"), (landing / "b", b"4567")):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"ECOMMERCE_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        "history": {"listings": 2, "entries": 3 + 1, "files": 1, "bytes": 3},
        "landing": {"files": 1, "bytes": 2},
    }

"""The same seed, scale and days give the same bytes, whichever process makes them, with however many workers."""

import json
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from blocks.stack import Stack
from tasks.lake import paths

DAYS = {"start": "2024-12-01", "through": "2025-01-10"}
CHUNK_ROWS = 500  # up to five chunks of a table, so that many workers have something to overtake each other with
FOREIGN = [
    {
        "review_id": 9_000_000_000 + n,
        "review_score": 4,
        "origin": "shop b",
        "Überschrift": None,
        "note": {"b": n, "a": 1},
    }
    for n in range(700)
]
BAD = [{"review_id": None}, {"review_id": 1.5}, {"review_id": 9_000_000_000, "review_score": 1}]

Digests: TypeAlias = dict[str, str]


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory, processes: Callable[..., Any]) -> tuple[Digests, Digests]:
    """The SHA-256 of every file of two lakes of the same shop and the same days."""
    homes = [tmp_path_factory.mktemp("lake") for _ in range(2)]
    for home in homes:
        deliver(home)
    started = [
        processes(home, chunk_rows=CHUNK_ROWS, workers=workers, PYTHONHASHSEED=seed)
        for home, workers, seed in zip(homes, (1, 6), ("1", "4294967295"), strict=True)
    ]
    for one in started:
        one.begin(
            ("historical_load", DAYS | {"scale": 0.03, "seed": 5}),
            ("daily_increment", {"day": "2025-01-11"}),
            ("daily_increment", {"day": "2025-01-13"}),
        )
    for one in started:
        assert one.end() == (0, None), one.said()
    first, second = map(digests, homes)
    return first, second


def deliver(home: Path) -> None:
    """Put a feed of another producer beside the shop's own: unknown columns, contradictions and bad records."""
    folder = home / "lake" / paths.landing("reviews", date(2025, 1, 13))
    folder.mkdir(parents=True)
    (folder / "foreign.json").write_text(json.dumps({"metadata": {}, "data": [*FOREIGN, *BAD]}))


def digests(home: Path) -> Digests:
    lake = Stack.in_folder(home).open_lake()
    files = [file.path for folder in paths.FOLDERS for file in lake.files(folder, recursive=True)]
    return {path: sha256(content(path, lake.read(path))).hexdigest() for path in files}


def content(path: str, data: bytes) -> bytes:
    """The bytes of a file; of a manifest without the instants at which the feeds were written."""
    if "_manifest-" not in path:
        return data
    manifest = json.loads(data)
    for source in manifest["sources"]:
        del source["tag"]
    return json.dumps(manifest).encode()


@pytest.mark.parametrize("folder", ["landing", "history", "quarantine"])
def test_two_processes_write_the_same_bytes(lakes: tuple[Digests, Digests], folder: str) -> None:
    first, second = ({path: found for path, found in lake.items() if path.startswith(folder)} for lake in lakes)
    assert first == second
    assert len(first) >= {"landing": 10, "history": 40, "quarantine": 2}[folder]
    assert any("/part-00001-" in path for path in first) == (folder == "history")

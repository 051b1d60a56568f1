"""What the lake says of itself: whose history it holds, and since and until when it was loaded at once."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import date

from tasks.lake import paths
from tasks.lake.store import Lake


@dataclass(frozen=True)
class LakeInfo:
    """Opening day and last day of the historical load; `seed`, `scale` and `version` of a simulated shop, else None."""

    start: date
    through: date
    seed: int | None = None
    scale: float | None = None
    version: str | None = None

    @property
    def simulated(self) -> bool:
        """Whether the shop is our own."""
        return self.seed is not None

    @property
    def identity(self) -> str:
        """Whose history it is, in words."""
        if not self.simulated:
            return f"a real shop since {self.start}"
        return (
            f"the simulated shop with seed {self.seed}, scale {self.scale}, start {self.start}, version {self.version}"
        )


def read(lake: Lake) -> LakeInfo | None:
    """What the lake says of itself; None for a lake without a historical load."""
    if not lake.exists(paths.LAKE):
        return None
    stored = json.loads(lake.read(paths.LAKE))
    days = {name: date.fromisoformat(stored[name]) for name in ("start", "through")}
    return LakeInfo(**(stored | days))


def begin(lake: Lake, info: LakeInfo) -> LakeInfo:
    """Say whose history the lake will hold, unless it says so already; what it says then."""
    lake.create(paths.LAKE, _text(info))
    return read(lake) or info


def extend(lake: Lake, info: LakeInfo, through: date) -> LakeInfo:
    """Say that the historical load reaches `through`, if that is later than before."""
    extended = replace(info, through=max(info.through, through))
    if extended != info:
        lake.write(paths.LAKE, _text(extended))
    return extended


def _text(info: LakeInfo) -> bytes:
    return json.dumps(asdict(info), default=str, indent=2).encode()


def is_resetting(lake: Lake) -> bool:
    """Whether a reset was begun and not finished."""
    return lake.exists(paths.RESETTING)


def begin_reset(lake: Lake) -> None:
    """Mark the lake as being reset, so that a reset that is cut short is finished by the next run."""
    lake.create(paths.RESETTING, b"")


def finish_reset(lake: Lake) -> None:
    """Empty the lake, and say last that it is no longer being reset."""
    for folder in (*paths.FOLDERS, paths.COMMITS, paths.DOCS, paths.LAKE, paths.RESETTING):
        lake.delete(folder)


def is_empty(lake: Lake) -> bool:
    """Whether the lake holds nothing at all of the pipeline's."""
    return not any(lake.exists(path) for path in (*paths.FOLDERS, paths.LAKE))


def prune_landing(lake: Lake, before: date) -> int:
    """Remove the landing folders of days before that; how many there were."""
    folders = [
        f"landing/{table}/{day}" for table in lake.folders("landing") for day in lake.folders(f"landing/{table}")
    ]
    old = [folder for folder in folders if _is_day_before(folder.rsplit("/", 1)[1], before)]
    for folder in old:
        lake.delete(folder)
    return len(old)


def _is_day_before(name: str, day: date) -> bool:
    try:
        return date.fromisoformat(name) < day
    except ValueError:
        return False

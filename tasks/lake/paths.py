"""Where everything lies in the lake; every path is relative to the lake's root."""

from datetime import date
from hashlib import blake2b

LAKE = "_lake.json"
RESETTING = "_resetting"
EXTRACTED = "extracted"
FOLDERS = ("landing", EXTRACTED, "history", "quarantine", "reports")
COMMITS = "commits"
DOCS = "docs"
DOCS_PAGE = f"{DOCS}/index.html"
PAGES = (DOCS, "reports", "quarantine")
"""The folders that people read."""


def landing(table: str, day: date) -> str:
    """Folder in which the feeds of `table` that arrived on `day` lie, under any file name."""
    return f"landing/{table}/{day}"


def extracted(table: str, batch: date) -> str:
    """Folder of what the runs of `batch` took of `table`, until it is committed."""
    return f"{EXTRACTED}/{table}/batch={batch}"


def extracted_by(run: str) -> str:
    """How the names of the parts that one run extracted begin, by which several runs of a batch share its folder."""
    return f"part-{blake2b(run.encode(), digest_size=8).hexdigest()}"


def quarantine(table: str, batch: date) -> str:
    """Folder of the records of `table` that the run of `batch` could not take."""
    return f"quarantine/{table}/batch={batch}"


def history(table: str, batch: date) -> str:
    """Folder of the parts and manifests of one batch."""
    return f"history/{table}/batch={batch}"


def report(as_of: date) -> str:
    """The page of the shop report made of the marts as of that date."""
    return f"reports/shop-{as_of}.html"


def manifest(table: str, batch: date, revision: int) -> str:
    """The file whose existence commits a revision."""
    return f"{history(table, batch)}/_manifest-{revision}.json"

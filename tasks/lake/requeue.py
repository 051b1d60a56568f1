"""Repaired records on their way back: out of quarantine, checked, into landing as a feed like any other."""

import json
from collections.abc import Sequence
from datetime import date
from hashlib import blake2b

from tasks.errors import ParameterError
from tasks.lake import paths
from tasks.lake.checks import check_records
from tasks.lake.store import Lake
from tasks.tables import Home, Table

_SHOWN = 5  # reasons in one error


def repaired(lake: Lake, file: str) -> list[bytes]:
    """The records of a file in the lake that has the form of quarantine's: JSON Lines with the text under `record`.

    Raises `ParameterError` if there is no such file, or it has another form.
    """
    try:
        return [json.loads(line)["record"].encode() for line in lake.read(file).splitlines() if line.strip()]
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"{file} in the lake is no repaired copy of a quarantine file ({type(error).__name__}: {error}): keep its "
            "lines, and mend only the text under record."
        ) from error


def land(lake: Lake, table: Table, records: Sequence[bytes], day: date, as_of: date) -> str:
    """Put records (JSON objects as text) into landing as a feed of `day`; its path, which follows from their content.

    Landing them again changes nothing. Raises `ParameterError`, and lands none, if one of them is still bad, or if the
    table's records come from Postgres.
    """
    if table.home is not Home.JSON:
        raise ParameterError(f"{table.name} comes from Postgres: mend its rows there, and the next run takes them.")
    if not records:
        raise ParameterError("There is nothing to requeue: the file has no records.")
    bad = check_records(table, enumerate(records, 1), as_of).bad
    if bad:
        reasons = "; ".join(f"record {one.position}: {one.reason}" for one in bad[:_SHOWN])
        raise ParameterError(f"{len(bad)} of {len(records)} records cannot be taken yet: {reasons}.")
    feed = b"".join(record.replace(b"\n", b" ").strip() + b"\n" for record in records)
    path = f"{paths.landing(table.name, day)}/requeued-{blake2b(feed, digest_size=8).hexdigest()}.jsonl"
    lake.create(path, feed)
    return path

"""Put repaired records back where the next run takes them."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from prefect import get_run_logger, task

from blocks.stack import Stack
from tasks.errors import ParameterError
from tasks.lake.requeue import land, repaired
from tasks.plan import Occasion, check_begun
from tasks.retry import RETRY
from tasks.tables import TABLES


@task(task_run_name="requeue {table}", **RETRY)
def requeue(occasion: Occasion, table: str, day: date, records: Sequence[Mapping[str, Any]], file: str | None) -> str:
    """Land repaired records, given or in a file of the lake, as a feed of `day`; the feed's path.

    Raises `ParameterError`, and lands none, if one of them is still bad, or it is unclear which are meant.
    """
    check_begun(occasion, "day", day)
    if bool(records) == bool(file):
        raise ParameterError("Give either records or a file of them: one of the two, and not both.")
    lake = Stack.named(occasion.stack).open_lake()
    texts = [json.dumps(record, ensure_ascii=False).encode() for record in records]
    texts += repaired(lake, file) if file else []
    path = land(lake, TABLES[table], texts, day, day + timedelta(days=1))
    get_run_logger().info("%s: %s records landed as %s", table, f"{len(texts):,}", path)
    return path

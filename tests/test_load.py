"""Loading the history into DuckDB's raw layer."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from tasks.errors import HistoryError, TransientError, WarehouseError, WarehouseMemoryError
from tasks.lake import paths
from tasks.lake.manifests import Manifest, Part
from tasks.lake.store import LocalLake
from tasks.tables import TABLES
from tasks.warehouse.duckdb import DuckDBWarehouse
from tasks.warehouse.protocol import Revision, Warehouse
from tasks.warehouse.raw import declared_columns, raw_names
from tasks.window import Window

ROOT = Path(__file__).parents[1]
ITEMS, ORDERS = TABLES["order_items"], TABLES["orders"]
DAY, NEXT = date(2025, 1, 1), date(2025, 1, 2)
AT = datetime(2025, 1, 3, 4, 5, 6, tzinfo=UTC)
KEYS = pa.table({"order_item_id": [1, 2, 3], "quantity": [4, 5, None]})


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    """An empty lake."""
    return LocalLake(tmp_path / "lake")


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    """A warehouse with an empty raw layer."""
    with DuckDBWarehouse(tmp_path / "w" / "warehouse.duckdb") as opened:
        opened.prepare(TABLES.values())
        yield opened


def at(instant: str) -> datetime:
    """An instant in UTC, without a zone, as raw has them."""
    return datetime.fromisoformat(instant)


def commit(
    lake: LocalLake, *parts: pa.Table, table: str = "order_items", batch: date = DAY, revision: int = 1
) -> Manifest:
    """Write parts of business columns into the history, with a cursor and a large version each; their manifest."""
    folder = lake.root / paths.history(table, batch)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, records in enumerate(parts):
        versions = [2**63 - 1 - row for row in range(records.num_rows)]
        cursors = pa.array([at("2025-01-01 12:00")] * records.num_rows, pa.timestamp("us"))
        name = f"part-{revision}-{number}.parquet"
        full = records.append_column("_cursor", cursors).append_column("_version", pa.array(versions, pa.int64()))
        parquet.write_table(full, folder / name)
        written.append(Part(name, records.num_rows, sum(versions), None, None, 0))
    columns = {field.name: str(field.type) for records in parts for field in records.schema}
    return Manifest(
        table=table,
        batch=batch,
        revision=revision,
        window=Window(batch, batch + timedelta(1)),
        rows=sum(part.rows for part in written),
        known=0,
        quarantined=0,
        digest=sum(part.digest for part in written),
        columns=columns,
        parts=tuple(written),
        sources=(),
        shop=None,
    )


def keys(first: int, rows: int = 2) -> pa.Table:
    return pa.table({"order_item_id": range(first, first + rows)})


def raw(warehouse: Warehouse, columns: str, table: str = "order_items") -> list[tuple[Any, ...]]:
    return warehouse.query(f"select {columns} from raw.{table} order by all")


# Raw


def test_raw_has_the_declared_and_the_technical_columns(warehouse: Warehouse) -> None:
    statement = (
        "select column_name, data_type from duckdb_columns() where schema_name = 'raw' and table_name = ? "
        "order by column_index"
    )
    for table in TABLES.values():
        assert dict(warehouse.query(statement, [table.name])) == declared_columns(table)
    assert list(dict(warehouse.query(statement, ["order_items"])).items())[4:] == [
        ("unit_price", "DECIMAL(12,2)"),
        ("total_price", "DECIMAL(12,2)"),
        ("created_at", "TIMESTAMP"),
        ("updated_at", "TIMESTAMP"),
        ("_batch", "DATE"),
        ("_revision", "INTEGER"),
        ("_part", "VARCHAR"),
        ("_cursor", "TIMESTAMP"),
        ("_version", "BIGINT"),
    ]
    assert warehouse.query(statement, ["_batches"]) == [
        ("table", "VARCHAR"),
        ("batch", "DATE"),
        ("revision", "INTEGER"),
        ("rows", "BIGINT"),
        ("digest", "DECIMAL(38,0)"),
        ("loaded_at", "TIMESTAMP"),
        ("run", "VARCHAR"),
    ]


def test_raw_is_prepared_by_many_at_once(tmp_path: Path) -> None:
    with DuckDBWarehouse(tmp_path / "new.duckdb") as warehouse, ThreadPoolExecutor(4) as pool:
        list(pool.map(warehouse.prepare, [TABLES.values()] * 8))
        assert warehouse.query("select count(*) from duckdb_tables()") == [(10,)]


def test_raw_gets_the_columns_it_lacks(lake: LocalLake, warehouse: Warehouse) -> None:
    warehouse.load(lake, ITEMS, commit(lake, KEYS), "run", AT)
    warehouse.query("alter table raw.order_items drop column unit_price")
    warehouse.prepare(TABLES.values())
    assert raw(warehouse, "order_item_id, unit_price") == [(1, None), (2, None), (3, None)]
    assert len(warehouse.ledger("order_items")) == 1


def test_a_revision_is_loaded_row_for_row(lake: LocalLake, warehouse: Warehouse) -> None:
    manifest = commit(lake, KEYS, keys(7))
    paris = datetime(2025, 1, 3, 5, 5, 6, tzinfo=timezone(timedelta(hours=1)))
    assert warehouse.load(lake, ITEMS, manifest, "run-1", paris)
    noon = at("2025-01-01 12:00")
    assert raw(warehouse, "order_item_id, quantity, unit_price, _batch, _revision, _part, _cursor, _version") == [
        (1, 4, None, DAY, 1, "part-1-0.parquet", noon, 2**63 - 1),
        (2, 5, None, DAY, 1, "part-1-0.parquet", noon, 2**63 - 2),
        (3, None, None, DAY, 1, "part-1-0.parquet", noon, 2**63 - 3),
        (7, None, None, DAY, 1, "part-1-1.parquet", noon, 2**63 - 1),
        (8, None, None, DAY, 1, "part-1-1.parquet", noon, 2**63 - 2),
    ]
    assert warehouse.query("select * from raw._batches") == [
        ("order_items", DAY, 1, 5, manifest.digest, at("2025-01-03 04:05:06"), "run-1")
    ]
    assert manifest.digest > 2**64


def test_every_declared_type_is_loaded(lake: LocalLake, warehouse: Warehouse) -> None:
    for table in TABLES.values():
        records = table.history_schema.empty_table()
        row = pa.Table.from_pylist([dict.fromkeys(records.column_names)], records.schema)
        assert warehouse.load(lake, table, commit(lake, row, table=table.name), "run", AT)
        assert set(warehouse.totals(table.name, None)) == {(DAY, 1)}


def test_a_large_part_and_an_empty_revision_are_loaded(lake: LocalLake, warehouse: Warehouse) -> None:
    assert warehouse.load(lake, ITEMS, commit(lake, keys(0, 150_000)), "run", AT)
    assert warehouse.load(lake, ITEMS, commit(lake, batch=NEXT), "run", AT)
    assert raw(warehouse, "count(*), min(order_item_id), max(order_item_id)") == [(150_000, 0, 149_999)]
    assert warehouse.ledger("order_items")[NEXT, 1] == (0, 0)


def test_memory_is_that_of_a_part_not_of_a_revision(lake: LocalLake, warehouse: Warehouse) -> None:
    def peak(manifest: Manifest) -> int:
        usual = pa.default_memory_pool()
        counting = pa.proxy_memory_pool(usual)
        pa.set_memory_pool(counting)
        try:
            assert warehouse.load(lake, ITEMS, manifest, "run", AT)
        finally:
            pa.set_memory_pool(usual)
        return counting.max_memory() or 0

    one = peak(commit(lake, keys(0, 60_000)))
    many = peak(commit(lake, *(keys(n * 60_000, 60_000) for n in range(1, 21)), batch=NEXT))
    assert 0 < many < 2 * one


# Once


def large_values(*numbers: int) -> list[pa.Table]:
    """A part for each number: 30 records whose value does not fit a block of DuckDB's file, 45 MB of them."""
    text = "0123456789" * 150_000
    return [pa.table({"order_item_id": range(30 * n, 30 * n + 30), "note": [text] * 30}) for n in numbers]


def test_values_that_cannot_be_spilled_are_loaded_with_more_memory(lake: LocalLake, tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    manifest = commit(lake, *large_values(0, 1, 2))
    with DuckDBWarehouse(path, memory_limit="100MB") as cramped:
        cramped.prepare([ITEMS])
        with pytest.raises(WarehouseMemoryError, match="raise memory_limit of the DuckDB File block"):
            cramped.load(lake, ITEMS, manifest, "run", AT)
        assert cramped.ledger("order_items") == {}
    with DuckDBWarehouse(path) as warehouse:
        assert warehouse.load(lake, ITEMS, manifest, "run", AT)
        assert raw(warehouse, "count(*), min(length(note)), count(distinct order_item_id)") == [(90, 1_500_000, 90)]


def test_more_memory_is_taken_only_when_a_load_needs_it(lake: LocalLake, tmp_path: Path) -> None:
    path, limit = tmp_path / "warehouse.duckdb", "select current_setting('memory_limit')"
    manifest = commit(lake, *large_values(0, 1))
    with DuckDBWarehouse(path) as warehouse:
        warehouse.prepare([ITEMS])
        assert warehouse.query(limit) == [("61.0 MiB",)]
        assert warehouse.load(lake, ITEMS, manifest, "run", AT)
        with DuckDBWarehouse(path):  # another thread's must not take it away again
            assert warehouse.query(limit) == [("488.2 MiB",)]


def test_loading_twice_is_loading_once(lake: LocalLake, warehouse: Warehouse) -> None:
    manifest = commit(lake, KEYS)
    assert [warehouse.load(lake, ITEMS, manifest, run, AT) for run in ("one", "two")] == [True, False]
    assert warehouse.query('select run, "rows" from raw._batches') == [("one", 3)]
    assert [warehouse.loaded_by(run, "order_items") for run in ("one", "two")] == [3, 0]
    assert warehouse.totals("order_items", None) == warehouse.ledger("order_items")


def test_two_threads_load_once(lake: LocalLake, warehouse: Warehouse, tmp_path: Path) -> None:
    manifests = [commit(lake, keys(0, 20_000), keys(20_000, 20_000), revision=revision) for revision in range(1, 7)]
    together = Barrier(2)

    def load(manifest: Manifest) -> bool:
        with DuckDBWarehouse(tmp_path / "w" / "warehouse.duckdb") as mine:
            together.wait()
            return mine.load(lake, ITEMS, manifest, "run", AT)

    with ThreadPoolExecutor(2) as pool:
        for manifest in manifests:
            assert sorted(pool.map(load, [manifest, manifest])) == [False, True]
    expected = {(DAY, manifest.revision): (manifest.rows, manifest.digest) for manifest in manifests}
    assert warehouse.totals("order_items", None) == warehouse.ledger("order_items") == expected


def test_threads_load_different_tables_and_revisions(lake: LocalLake, warehouse: Warehouse) -> None:
    work = [
        (table, commit(lake, pa.table({table.key: range(5_000)}), table=table.name, batch=day))
        for table in TABLES.values()
        for day in (DAY, NEXT)
    ]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda item: warehouse.load(lake, item[0], item[1], "run", AT), work))
    assert warehouse.query('select count(*), sum("rows") from raw._batches') == [(16, 80_000)]


LOADER = """
import pickle, sys
from datetime import datetime, UTC
from pathlib import Path
from tasks.errors import TransientError
from tasks.lake.store import LocalLake
from tasks.tables import TABLES
from tasks.warehouse.duckdb import DuckDBWarehouse
root, table, patient = Path(sys.argv[1]), TABLES["order_items"], sys.argv[2] == "patient"
manifest = pickle.loads(sys.stdin.buffer.read())
while True:
    try:
        with DuckDBWarehouse(root / "w" / "warehouse.duckdb") as warehouse:
            warehouse.prepare([table])
            print(warehouse.load(LocalLake(root / "lake"), table, manifest, "run", datetime.now(UTC)))
        break
    except TransientError as error:
        if not patient:
            print(error)
            break
"""


def loader(root: Path, manifest: Manifest, *, patient: bool) -> subprocess.Popen[bytes]:
    """A process that loads one revision; a patient one tries until the file is free."""
    command = [sys.executable, "-c", LOADER, str(root), "patient" if patient else "hasty"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(manifest))
    process.stdin.close()
    process.stdin = None
    return process


def said(process: subprocess.Popen[bytes]) -> str:
    output, _ = process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


def test_two_processes_load_once(lake: LocalLake, tmp_path: Path) -> None:
    manifest = commit(lake, keys(0, 20_000))
    path = tmp_path / "w" / "warehouse.duckdb"
    with DuckDBWarehouse(path):
        message = said(loader(tmp_path, manifest, patient=False))
    assert message.startswith(f"{path} is held by process {os.getpid()} (")
    racers = [loader(tmp_path, manifest, patient=True) for _ in range(2)]
    assert sorted(map(said, racers)) == ["False", "True"]
    with DuckDBWarehouse(path) as warehouse:
        assert warehouse.totals("order_items", None) == {(DAY, 1): (20_000, manifest.digest)}


def test_a_query_is_asked_again_with_more_memory(tmp_path: Path) -> None:
    large = "select length(string_agg(repeat('x', 1500000), '')) from range(60)"
    too_little = pytest.raises(WarehouseMemoryError, match="could not answer a query: DuckDB has too little memory")
    with DuckDBWarehouse(tmp_path / "small.duckdb", memory_limit="70MB") as cramped, too_little:
        cramped.query(large)
    with DuckDBWarehouse(tmp_path / "warehouse.duckdb") as warehouse:
        assert warehouse.query(large) == [(90_000_000,)]


def row_groups(path: Path) -> int:
    """The row groups of order_items in a file, looked at without changing it."""
    with duckdb.connect(path, read_only=True) as connection:
        ((number,),) = connection.execute(
            "select count(distinct row_group_id) from pragma_storage_info('raw.order_items')"
        ).fetchall()
    return int(number)


def test_a_build_merges_what_loads_keep_apart(lake: LocalLake, tmp_path: Path) -> None:
    path = tmp_path / "w" / "warehouse.duckdb"
    days = [DAY + timedelta(n) for n in range(3)]
    for day in days:
        with DuckDBWarehouse(path) as warehouse:
            warehouse.prepare([ITEMS])
            assert warehouse.load(lake, ITEMS, commit(lake, keys(0, 2_000), batch=day), "run", AT)
    assert row_groups(path) == len(days)
    with duckdb.connect(path) as dbt:
        dbt.execute("create table built as select * from raw.order_items limit 1")
    assert row_groups(path) == 1


# All or nothing


def test_a_revision_with_a_missing_part_leaves_nothing(lake: LocalLake, warehouse: Warehouse) -> None:
    manifest = commit(lake, KEYS, keys(7), keys(9))
    lost = lake.root / paths.history("order_items", DAY) / manifest.parts[1].name
    data = lost.read_bytes()
    for damage in (lost.unlink, lambda: lost.write_bytes(data[:-100]), lambda: lost.write_bytes(b"")):
        damage()
        with pytest.raises(HistoryError, match=r"part-1-1.parquet .*restore it"):
            warehouse.load(lake, ITEMS, manifest, "run", AT)
        assert raw(warehouse, "*") == []
        assert warehouse.ledger("order_items") == {}
    lost.write_bytes(data)
    assert warehouse.load(lake, ITEMS, manifest, "run", AT)


def test_a_revision_that_is_not_its_manifest_leaves_nothing(lake: LocalLake, warehouse: Warehouse) -> None:
    manifest = commit(lake, KEYS, keys(7))
    one_more = replace(manifest, rows=manifest.rows + 1)
    other = replace(manifest, digest=manifest.digest + 1)
    for wrong in (one_more, other):
        with pytest.raises(WarehouseError, match=r"order_items 2025-01-01 revision 1 has 5 rows .* nothing was loaded"):
            warehouse.load(lake, ITEMS, wrong, "run", AT)
        assert raw(warehouse, "*") == []
        assert warehouse.ledger("order_items") == {}


def test_a_killed_load_leaves_nothing(lake: LocalLake, tmp_path: Path) -> None:
    manifest = commit(lake, keys(0, 50_000), keys(7))
    second = lake.root / paths.history("order_items", DAY) / manifest.parts[1].name
    data = second.read_bytes()
    second.unlink()
    os.mkfifo(second)
    process = loader(tmp_path, manifest, patient=False)
    with second.open("wb"):  # opens when the loader, done with the first part, wants the second
        process.kill()
        process.communicate()
    second.unlink()
    second.write_bytes(data)
    with DuckDBWarehouse(tmp_path / "w" / "warehouse.duckdb") as warehouse:
        assert raw(warehouse, "*") == []
        assert warehouse.load(lake, ITEMS, manifest, "run", AT)
        assert warehouse.totals("order_items", None) == warehouse.ledger("order_items")


def test_raw_dropped_and_loaded_again_is_equal(lake: LocalLake, warehouse: Warehouse) -> None:
    manifests = [
        commit(lake, KEYS),
        commit(lake, keys(7), batch=NEXT),
        commit(lake, KEYS.append_column("note", pa.array(["a", None, ""])), revision=2),
    ]

    def load() -> list[tuple[Any, ...]]:
        for manifest in manifests:
            assert warehouse.load(lake, ITEMS, manifest, "run", AT)
        return raw(warehouse, "*") + warehouse.query("select * from raw._batches order by all")

    before = load()
    warehouse.query("create schema marts")
    warehouse.clear()
    assert warehouse.query("select schema_name from duckdb_schemas() where schema_name in ('raw', 'marts')") == []
    warehouse.prepare(TABLES.values())
    assert load() == before


# Columns


def test_new_columns_are_added_as_text(lake: LocalLake, warehouse: Warehouse) -> None:
    warehouse.load(lake, ITEMS, commit(lake, KEYS), "run", AT)
    odd = ['quo"te', "bra{ce}", "Größe", "select", "a b", "semi;colon"]
    wide = pa.table({"order_item_id": [9]} | {name: [name] for name in odd})
    warehouse.load(lake, ITEMS, commit(lake, wide, keys(10), batch=NEXT), "run", AT)
    listed = ", ".join('"' + name.replace('"', '""') + '"' for name in odd)
    assert raw(warehouse, f"order_item_id, {listed}") == [
        (1, *[None] * 6),
        (2, *[None] * 6),
        (3, *[None] * 6),
        (9, *odd),
        (10, *[None] * 6),
        (11, *[None] * 6),
    ]


def test_columns_that_differ_in_case_stay_apart(lake: LocalLake, warehouse: Warehouse) -> None:
    clash = pa.table(
        {"order_item_id": [1], "Quantity": ["q"], "_BATCH": ["b"], "Note": ["N"], "note": ["n"], "": ["e"]}
    )
    warehouse.load(lake, ITEMS, commit(lake, clash), "run", AT)
    assert raw(warehouse, '"quantity", "Quantity_", "_batch", "_BATCH_", "Note", "note_", "_"') == [
        (None, "q", DAY, "b", "N", "n", "e")
    ]


def test_names_in_raw_do_not_depend_on_order() -> None:
    names = ["note", "NOTE", "order_id", "Order_ID", ""]
    assert raw_names(ITEMS, names) == raw_names(ITEMS, reversed(names))
    assert raw_names(ITEMS, names)["order_id"] == "order_id"


def test_a_column_of_another_type_is_refused(lake: LocalLake, warehouse: Warehouse) -> None:
    text = pa.table({"order_item_id": [1], "quantity": ["4"]})
    with pytest.raises(WarehouseError, match=r"raw.order_items has another type .*quantity \(BIGINT, not VARCHAR\)"):
        warehouse.load(lake, ITEMS, commit(lake, text), "run", AT)
    with pytest.raises(WarehouseError, match="no type for Arrow's float"):
        warehouse.load(lake, ITEMS, commit(lake, pa.table({"x": pa.array([1.0], pa.float32())})), "run", AT)


# Totals and builds


def test_totals_are_counted_in_raw_itself(lake: LocalLake, warehouse: Warehouse) -> None:
    manifests = [commit(lake, keys(n), batch=DAY + timedelta(n)) for n in range(3)]
    for manifest in manifests:
        warehouse.load(lake, ITEMS, manifest, "run", AT)
    warehouse.query("delete from raw.order_items where order_item_id = 1 and _batch = ?", [NEXT])
    assert warehouse.totals("order_items", [DAY, NEXT]) == {
        (DAY, 1): (2, manifests[0].digest),
        (NEXT, 1): (1, 2**63 - 2),
    }
    assert set(warehouse.totals("order_items", None)) == {(DAY + timedelta(n), 1) for n in range(3)}
    assert warehouse.totals("order_items", []) == warehouse.totals("orders", None) == {}


def test_the_newest_cut_is_what_all_tables_have(lake: LocalLake, warehouse: Warehouse) -> None:
    both = ["order_items", "orders"]
    assert warehouse.newest_cut(both) is None
    for batch in (NEXT, DAY):
        warehouse.load(lake, ITEMS, commit(lake, keys(1), batch=batch), "run", AT)
    assert warehouse.newest_cut(both) is None
    warehouse.load(lake, ORDERS, commit(lake, pa.table({"order_id": [1]}), table="orders"), "run", AT)
    assert warehouse.newest_cut(both) == NEXT
    assert warehouse.newest_cut(["order_items"]) == date(2025, 1, 3)


def test_the_newest_cut_is_before_a_day_that_one_table_lacks(lake: LocalLake, warehouse: Warehouse) -> None:
    days = [DAY + timedelta(n) for n in range(4)]
    for batch in (days[0], days[1], days[3]):
        warehouse.load(lake, ITEMS, commit(lake, keys(1), batch=batch), "run", AT)
    for batch in (days[0], days[2]):
        orders = commit(lake, pa.table({"order_id": [1]}), table="orders", batch=batch)
        warehouse.load(lake, ORDERS, orders, "run", AT)
    both = ["order_items", "orders"]
    assert warehouse.newest_cut(both) == days[1]
    assert warehouse.newest_batches(days[2]) == {"order_items": days[1], "orders": days[0]}
    assert warehouse.newest_batches(days[0]) == {}
    warehouse.load(lake, ORDERS, commit(lake, pa.table({"order_id": [2]}), table="orders", batch=days[3]), "run", AT)
    assert warehouse.newest_cut(both) == days[3] + timedelta(1)


def test_a_build_takes_what_was_loaded_before_it(lake: LocalLake, warehouse: Warehouse) -> None:
    def load(batch: date, revision: int) -> None:
        warehouse.load(lake, ITEMS, commit(lake, keys(1), batch=batch, revision=revision), "run", AT)

    load(DAY, 1)
    load(NEXT, 1)
    assert warehouse.last_as_of() is None
    taken = warehouse.unbuilt(NEXT)
    assert taken == [Revision("order_items", DAY, 1)]
    load(DAY, 2)
    warehouse.mark_built(taken, NEXT, "build-1", AT)
    built = ("order_items", DAY, 1, NEXT, AT.replace(tzinfo=None), "build-1")
    assert warehouse.query("select * from raw._built") == [built]
    assert warehouse.unbuilt(date(2025, 1, 3)) == [Revision("order_items", DAY, 2), Revision("order_items", NEXT, 1)]
    assert warehouse.last_as_of() == NEXT


def test_the_last_build_is_remembered_without_news_and_forgotten(lake: LocalLake, warehouse: Warehouse) -> None:
    warehouse.load(lake, ITEMS, commit(lake, keys(1)), "run", AT)
    revisions = warehouse.unbuilt(NEXT)
    warehouse.mark_built(revisions, NEXT, "one", AT)
    warehouse.mark_built(revisions, NEXT, "one", AT)
    warehouse.mark_built([], date(2025, 1, 9), "two", AT + timedelta(1))
    assert warehouse.last_as_of() == date(2025, 1, 9)
    assert warehouse.unbuilt(date(2025, 1, 9)) == []
    warehouse.clear_built()
    assert warehouse.last_as_of() is None
    assert warehouse.unbuilt(NEXT) == revisions


# The file


def test_dbt_can_open_the_same_file_in_the_same_process(warehouse: Warehouse, tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "w" / "warehouse.duckdb", read_only=False, config={}) as connection:
        connection.execute("create schema staging; create table staging.t as select 1 as a")
    assert warehouse.query("select a, current_setting('memory_limit'), current_setting('threads') from staging.t") == [
        (1, "61.0 MiB", 2)
    ]


def test_a_file_that_this_process_has_open_otherwise_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(path, config={"memory_limit": "1GB"}), pytest.raises(TransientError, match="in other use"):
        DuckDBWarehouse(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(WarehouseError, match="could not open"):
        DuckDBWarehouse(path)


def test_errors_speak_the_pipelines_language(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match=r"could not answer a query: .*nowhere"):
        warehouse.query("from nowhere")
    assert not issubclass(WarehouseError, TransientError)

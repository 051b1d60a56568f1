"""A Snowflake emulator on loopback: fakesnow 0.12.1 with mends, run as a child process that ends with its parent.

    python -m tests.snowflake_server [--s3 URL]

It catches mistakes and proves nothing about Snowflake itself: what passes here is written for Snowflake's documentation
and checked with an account by `make smoke`. The mends replace internals of exactly that release. Whatever a login says
is accepted, except a user named `refused-<code>`, who is answered as Snowflake answers with that code. A virtual
warehouse is there unless it is named `missing`, and may be used unless it is named `exhausted`.

With an S3 endpoint, stages under `s3://` are read from it, with the keys in AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY.
"""

import argparse
import gzip
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import traceback
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import duckdb
import fakesnow.server as server  # noqa: PLR0402 - the package has a function of that name
import pyarrow as pa
import pyarrow.compute as pc
import uvicorn
from fakesnow import arrow, copy_into, info_schema, transforms
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.instance import FakeSnow
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow import fs
from snowflake.connector.errors import Error, ProgrammingError
from sqlglot import exp
from starlette.responses import JSONResponse
from starlette.routing import Route

ROOT = Path(__file__).parents[1]

REFUSALS = {
    "390100": "Incorrect username or password was specified.",
    "390144": "JWT token is invalid.",
    "390189": "Role 'NOBODY' specified in the connect string does not exist or not authorized.",
    "390201": "The requested warehouse does not exist or not authorized.",
    "390303": "Invalid OAuth access token.",
    "390318": "OAuth access token expired.",
    "390999": "This login failed for a reason that nobody has thought of.",
}
"""What Snowflake says when it refuses a login, by its code."""

NOT_EMULATED = [
    r"\s*alter\s+(table|view)\s+\S+\s+alter\s+\"?\w+\"?\s+comment\b",
    r"\s*alter\s+(account|session|warehouse|user|storage\s+integration)\b",
    r"\s*comment\s+on\b",
    r"\s*(use\s+(role|secondary|warehouse)|grant|revoke)\b",
    r"\s*create\s+(or\s+replace\s+)?(warehouse|role|user|resource\s+monitor|storage\s+integration)\b",
    r"\s*remove\s+",
]
"""Statements that succeed and do nothing; a removed file is only space."""

PASSWORD = "sf-sekret"
"""What clients are told to log in with; any other does as well."""

_IDLE_SECONDS = 2.0  # Snowflake rolls back an idle transaction that others wait for after five minutes
_LOCK_SECONDS = 60.0
_WRITES = re.compile(
    r"\s*(?:merge\s+into|insert\s+into|insert\s+overwrite\s+into|update|delete\s+from|copy\s+into|truncate\s+table"
    r"|truncate|alter\s+table|(?:create|drop)\s+(?:or\s+replace\s+)?(?:\w+\s+)??(?:table|view)"
    r"(?:\s+if\s+(?:not\s+)?exists)?)\s+([\w$.\"]+)",
    re.IGNORECASE,
)
_DDL = re.compile(r"\s*(create|alter|drop)\b", re.IGNORECASE)
_TEMPORARY = re.compile(
    r"^(\s*create\s+(?:or\s+replace\s+)?)temp(?:orary)?\s+((?:table|view)\s+(?:if\s+not\s+exists\s+)?[\w\"$]+\.[\w\"$]+)",
    re.IGNORECASE,
)
_QUOTED_TARGET = re.compile(r"^(\s*put\s+'[^']+'\s+)'(@[^']+)'", re.IGNORECASE)
_SWAP = re.compile(r"\s*alter\s+table\s+(\S+)\s+swap\s+with\s+([^\s;]+)", re.IGNORECASE)


@contextmanager
def served(s3: str | None = None, environment: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Run the emulator in a child process; yields the arguments that a Snowflake client reaches it with."""
    command = [sys.executable, "-m", "tests.snowflake_server", *(["--s3", s3] if s3 else [])]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C is for the process that started it, which then ends it
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"the Snowflake emulator ended with {process.wait()} before it listened")
        yield arguments(int(port))
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def arguments(port: int) -> dict[str, Any]:
    """What `snowflake.connector.connect` takes to reach the emulator."""
    return {
        "account": "emulated",
        "host": "127.0.0.1",
        "port": port,
        "protocol": "http",
        "user": "loader",
        "password": PASSWORD,
        "role": "ecommerce_loader",
        "warehouse": "ecommerce_loading",
        "database": "ecommerce",
        "platform_detection_timeout_seconds": 0,
    }


# The mends


def null_timestamps() -> None:
    """A NULL timestamp in a result stays NULL; fakesnow sends 1970-01-01."""
    original = arrow.timestamp_to_sf_struct

    def mended(instants: Any) -> Any:
        whole = instants.combine_chunks() if isinstance(instants, pa.ChunkedArray) else instants
        struct = original(whole)
        children = [pc.fill_null(struct.field(n), 0) for n in range(struct.type.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(struct.type), mask=whole.is_null())

    arrow.timestamp_to_sf_struct = mended


def errors_are_answers() -> None:
    """What fakesnow fails on is answered as an error of SQL; it answers 500, which clients try again for minutes."""
    refused, encode = server.ServerError, server.to_sf

    class Answered(refused):  # type: ignore[misc, valid-type]
        def __init__(self, status_code: int, code: str, message: str) -> None:
            super().__init__(200 if status_code == 500 else status_code, code, message)

    def encoded(*results: Any) -> Any:
        try:
            return encode(*results)
        except (ValueError, TypeError, AssertionError, NotImplementedError) as error:
            raise Answered(500, "000603", f"result encoding: {error}") from error

    server.ServerError, server.to_sf = Answered, encoded


class Sent(NamedTuple):
    """A statement as it came: its query tag, and the role of its session."""

    statement: str
    tag: str
    role: str


_received: list[Sent] = []
_sessions: dict[str, tuple[str, str]] = {}


def statements() -> None:
    """Statements that fakesnow does not know are put as it does; those that write wait for the table's lock."""
    original, locks = FakeSnowflakeCursor.execute, Locks()

    def execute(cursor: Any, command: str, *others: Any, **named: Any) -> Any:
        try:
            with locks.held(cursor, command):
                _refuse(command)
                for statement in _rewritten(command):
                    result = original(cursor, statement, *others, **named)
                return result
        except Error:
            raise
        except (duckdb.Error, AssertionError, KeyError, ValueError, TypeError, AttributeError) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            message = f"{type(error).__name__}: {error} (fakesnow's {place.name}: {place.line})"
            raise ProgrammingError(msg=message, errno=1003, sqlstate="42000") from error

    FakeSnowflakeCursor.execute = execute


def _refuse(command: str) -> None:
    """A virtual warehouse named `missing` is, as those that the role may not use, and one named `exhausted` sleeps."""
    used = re.match(r"\s*use\s+warehouse\s+(missing|exhausted)\b", command, re.IGNORECASE)
    if used and used[1].lower() == "missing":
        message = "SQL compilation error: Object does not exist, or operation cannot be performed."
        raise ProgrammingError(msg=message, errno=2043, sqlstate="02000")
    if used:
        message = "Warehouse 'EXHAUSTED' cannot be resumed because resource monitor 'M' has exceeded its quota."
        raise ProgrammingError(msg=message, errno=90073, sqlstate="22000")


def _rewritten(command: str) -> list[str]:
    """A qualified temporary object becomes a permanent one, a swap three renames; PUT has a target without quotes."""
    swap = _SWAP.match(command)
    if swap is None:
        return [_QUOTED_TARGET.sub(r"\1\2", _TEMPORARY.sub(r"\1\2", command))]
    one, other = swap.groups()
    schema, _, name = one.rpartition(".")
    put = f"{schema}." if schema else ""
    return [
        f"alter table {one} rename to {name}__swapped",
        f"alter table {other} rename to {name}",
        f"alter table {put}{name}__swapped rename to {other.rpartition('.')[2]}",
    ]


class Locks:
    """A lock per table that a transaction writes, as Snowflake's; one for all definitions, which DuckDB lets collide.

    DuckDB begins a transaction with its first statement that reads a database: what waited for a lock sees what its
    holder committed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders: dict[str, Any] = {}
        self._busy: dict[int, int] = {}
        self._idle_since: dict[int, float] = {}
        self._local = threading.local()

    @contextmanager
    def held(self, cursor: Any, command: str) -> Iterator[None]:
        """Hold what the statement needs while it runs, and until the transaction's end if it is in one."""
        if getattr(self._local, "inside", False):  # fakesnow's own statements about a statement
            yield
            return
        connection, names = cursor._conn, _locked(command)
        self._local.inside = True
        try:
            self._take(connection, names)
            yield
        finally:
            self._local.inside = False
            self._release(connection, command)

    def _take(self, connection: Any, names: list[str]) -> None:
        deadline = monotonic() + _LOCK_SECONDS
        with self._changed:
            self._busy[id(connection)] = self._busy.get(id(connection), 0) + 1
            while waited := [name for name in names if self._holders.get(name, connection) is not connection]:
                self._roll_back_idle(self._holders[waited[0]])
                if monotonic() > deadline:
                    message = f"Statement has locked table '{waited[0]}' and this lock has not yet been released."
                    raise ProgrammingError(msg=message, errno=625, sqlstate="57014")
                self._changed.wait(0.2)
            self._holders.update(dict.fromkeys(names, connection))

    def _roll_back_idle(self, holder: Any) -> None:
        idle = id(holder) in self._idle_since and not self._busy.get(id(holder))
        if idle and (holder._is_closed or monotonic() - self._idle_since[id(holder)] > _IDLE_SECONDS):
            holder._duck_conn.rollback()
            self._forget(holder)

    def _release(self, connection: Any, command: str) -> None:
        with self._changed:
            self._busy[id(connection)] -= 1
            self._idle_since[id(connection)] = monotonic()
            if not _in_transaction(connection, command):
                self._forget(connection)
            self._changed.notify_all()

    def _forget(self, connection: Any) -> None:
        self._holders = {name: holder for name, holder in self._holders.items() if holder is not connection}


def _locked(command: str) -> list[str]:
    write = _WRITES.match(command)
    names = [write[1].replace('"', "").upper().rpartition(".")[2]] if write else []
    return [*names, "definitions"] if _DDL.match(command) else names


def _in_transaction(connection: Any, command: str) -> bool:
    """Whether a transaction is open after a statement."""
    word = command.split(None, 1)[0].rstrip(";").lower() if command.strip() else ""
    if word in ("begin", "commit", "rollback"):
        connection.is_in_explicit_transaction = word == "begin"
    return bool(getattr(connection, "is_in_explicit_transaction", False))


def merges() -> None:
    """MERGE takes expressions and unqualified names of its source as values, and works in a transaction."""
    module = sys.modules["fakesnow.transforms.merge"]
    original, candidates, comment = (
        transforms.merge,
        module._create_merge_candidates,
        info_schema.insert_table_comment_sql,
    )

    def qualified(statement: Any) -> Any:
        if isinstance(statement, exp.Merge):
            source = statement.args["using"].alias_or_name
            for column in _inserted_columns(statement):
                if not column.table:
                    column.set("table", exp.to_identifier(source))
        return original(statement)

    def complete(statement: Any) -> Any:
        created = candidates(statement)
        selected = created.expression
        there = {column.sql().upper() for column in selected.expressions}
        for column in _value_columns(statement):
            if (
                column.table.upper() == statement.args["using"].alias_or_name.upper()
                and column.sql().upper() not in there
            ):
                there.add(column.sql().upper())
                selected.expressions.insert(0, column.copy())
        return created

    def local(catalog: str, schema: str, table: str, text: str) -> str:
        # fakesnow's notes are in a database of their own, and DuckDB's transactions write to one
        return "select 1" if table.upper() == "MERGE_CANDIDATES" else comment(catalog, schema, table, text)

    transforms.merge, module._create_merge_candidates, info_schema.insert_table_comment_sql = qualified, complete, local


def _inserted_columns(merge: Any) -> list[Any]:
    inserts = [when.args.get("then") for when in merge.args["whens"]]
    return [
        column
        for insert in inserts
        if isinstance(insert, exp.Insert) and insert.expression
        for column in insert.expression.find_all(exp.Column)
    ]


def _value_columns(merge: Any) -> list[Any]:
    """The columns that the values of a MERGE are made of."""
    updates = [when.args.get("then") for when in merge.args["whens"]]
    updated = [
        column
        for update in updates
        if isinstance(update, exp.Update)
        for assignment in update.expressions
        for column in assignment.expression.find_all(exp.Column)
    ]
    return updated + _inserted_columns(merge)


def transformed_copies() -> None:
    """COPY from a SELECT reads columns of Parquet by their exact names, and knows METADATA$FILENAME."""
    original, located, indexed = copy_into._inserts, copy_into._from_source, transforms.indices_to_json_extract

    def inserts(statement: Any, params: Any, urls: list[str], info: Any = None) -> list[Any]:
        source = statement.args["files"][0]
        if not isinstance(source, exp.Subquery):
            return list(original(statement, params, urls, info))
        return [_insert_of_file(statement.this, source.this, params.file_format, url) for url in urls]

    def source(statement: Any) -> str:
        table = statement.args["files"][0].this
        if isinstance(table, exp.Select):
            place = table.args["from_"].this.this
            return str(place.name if isinstance(place, exp.Literal) else place.this)
        return str(located(statement))

    copy_into._inserts, copy_into._from_source = inserts, source
    transforms.indices_to_json_extract = lambda node: node if _is_of_file(node) else indexed(node)
    copy_into._source_urls = lambda folder, files: [folder + file for file in files]  # of internal stages as well


def _insert_of_file(target: Any, select: Any, file_format: Any, url: str) -> Any:
    columns, read = _parquet_columns(url), file_format.read_expression(url)
    # else `batch=2025-01-01` in the path becomes a column, before one of that name in the file
    read.append("expressions", exp.EQ(this=exp.column("hive_partitioning"), expression=exp.false()))

    def mended(node: Any) -> Any:
        if isinstance(node, exp.Column) and node.name.upper() == "METADATA$FILENAME":
            return exp.Literal.string(url)
        if not _is_of_file(node):
            return node
        name = node.expressions[0].name
        return exp.column(columns[name], quoted=True) if name in columns else exp.null()

    values = [value.transform(mended) for value in select.expressions]
    return exp.Insert(this=target, expression=exp.Select(expressions=values).from_(exp.Table(this=read)))


def _is_of_file(node: Any) -> bool:
    """Whether a node is `$1['name']`."""
    return isinstance(node, exp.Bracket) and isinstance(node.this, exp.Parameter)


def _parquet_columns(url: str) -> dict[str, str]:
    """DuckDB's name for each column of a file: it tells `note` from `NOTE` by a suffix."""
    connection = server.shared_fs.duck_conn.cursor()
    names = connection.execute("select name from parquet_schema(?) offset 1", [url]).fetchall()
    if len({name.upper() for (name,) in names}) == len(names):
        return {name: name for (name,) in names}
    there = connection.execute(
        "select column_name from (describe select * from read_parquet(?, hive_partitioning=false))", [url]
    ).fetchall()
    return {name: known for (name,), (known,) in zip(names, there, strict=True)}


def logins() -> None:
    """A user named `refused-<code>` is refused with that code; others can log out, and their session is known."""
    original = server.login_request

    async def login(request: Any) -> Any:
        data = (await _body(request))["data"]
        _, refused, code = (data.get("LOGIN_NAME") or "").partition("refused-")
        if refused:
            return JSONResponse({"data": {}, "code": code, "message": REFUSALS[code], "success": False})
        answer = json.loads((await original(request)).body)
        token = answer["data"]["masterToken"] = answer["data"]["token"]
        tag, role = data["SESSION_PARAMETERS"].get("QUERY_TAG", ""), request.query_params.get("roleName", "")
        _sessions[token] = tag, role
        return JSONResponse(answer)

    server.app.router.routes.insert(0, Route("/session/v1/login-request", login, methods=["POST"]))


async def _body(request: Any) -> Any:
    body = await request.body()
    return json.loads(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)


def exact_numbers() -> None:
    """SUM of a NUMBER is a NUMBER, and NUMBER(38,0) has 38 digits; fakesnow makes FLOAT and 64 bits of them."""
    original = transforms.integer_precision

    def precise(node: Any) -> Any:
        explicit = isinstance(node, exp.DataType) and node.this == exp.DataType.Type.DECIMAL and node.expressions
        return node if explicit else original(node)

    transforms.integer_precision, transforms.numeric_agg_implicit_cast = precise, lambda node: node


def order_by_all() -> None:
    """ORDER BY ALL is a word of Snowflake, not the name of a column."""
    original = transforms.upper_case_unquoted_identifiers

    def kept(node: Any) -> Any:
        is_all = isinstance(node, exp.Identifier) and not node.quoted and node.name.lower() == "all"
        return exp.var("ALL") if is_all and node.find_ancestor(exp.Ordered) else original(node)

    transforms.upper_case_unquoted_identifiers = kept


class _S3Files(ArrowFSWrapper):
    """Arrow's S3 as DuckDB knows it, by the start of an address."""

    protocol = "s3"

    def open(self, path: str, *_others: Any, **_named: Any) -> Any:
        """An object to read."""
        return _SharedFile(self.fs.open_input_file(self._strip_protocol(path)))


class _SharedFile:
    """A file in which each thread is at a place of its own: DuckDB's share one, and seek before they read."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file, self._local = file, threading.local()

    def tell(self) -> int:
        return int(getattr(self._local, "at", 0))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._local.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._file.size()}[whence]
        return self.tell()

    def read(self, size: int = -1) -> bytes:
        left = self._file.size() - self.tell()
        data: bytes = self._file.read_at(left if size < 0 else min(size, left), self.tell())
        self._local.at = self.tell() + len(data)
        return data

    def close(self) -> None:
        self._file.close()


def stages_on_s3(endpoint: str) -> None:
    """`s3://` is read from an endpoint of its own."""
    scheme, _, address = endpoint.partition("://")
    store = fs.S3FileSystem(
        endpoint_override=address,
        scheme=scheme,
        region="us-east-1",
        access_key=os.environ.get("AWS_ACCESS_KEY_ID"),
        secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY"),
    )
    filesystem = _S3Files(store)
    server.shared_fs.duck_conn.register_filesystem(filesystem)


def public_schema() -> None:
    """A session in a database is in its schema PUBLIC unless it names one."""
    original = FakeSnow.connect

    def connect(instance: Any, database: str | None = None, schema: str | None = None, **named: Any) -> Any:
        return original(instance, database, schema or (database and "PUBLIC"), **named)

    FakeSnow.connect = connect


def record() -> None:
    """The statements that came, and that one was cancelled, are told and forgotten at `/statements`."""
    original = server.query_request

    async def asked(request: Any) -> Any:
        body = await _body(request)
        tag, role = _sessions.get(server.to_token(request), ("", ""))
        _received.append(Sent(body["sqlText"], (body.get("parameters") or {}).get("QUERY_TAG", tag), role))
        return await original(request)

    async def cancelled(_request: Any) -> JSONResponse:
        _received.append(Sent(CANCELLED, "", ""))
        return JSONResponse({"success": True})

    async def told(_request: Any) -> JSONResponse:
        statements, _received[:] = _received[:], []
        return JSONResponse(statements)

    server.app.router.routes[:0] = [
        Route("/queries/v1/query-request", asked, methods=["POST"]),
        Route("/queries/v1/abort-request", cancelled, methods=["POST"]),
        Route("/statements", told),
    ]


CANCELLED = "a statement was cancelled"


def sent(connection: Mapping[str, Any]) -> list[Sent]:
    """What the emulator was sent since the last time this was asked."""
    with urllib.request.urlopen(f"http://{connection['host']}:{connection['port']}/statements") as answer:
        return [Sent(*one) for one in json.load(answer)]


def received(connection: Mapping[str, Any]) -> list[str]:
    """The statements that the emulator was sent since the last time."""
    return [one.statement for one in sent(connection)]


MENDS: tuple[Callable[[], None], ...] = (
    null_timestamps,
    errors_are_answers,
    statements,
    merges,
    transformed_copies,
    exact_numbers,
    order_by_all,
    logins,
    public_schema,
    record,
)


def main() -> None:
    """Listen on a free port, print it, and serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--s3", help="URL of the endpoint that s3:// stages are read from")
    options = parser.parse_args()
    for mend in MENDS:
        mend()
    warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")  # of fakesnow's use of DuckDB
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it tells of each property that DuckDB lacks
    server.shared_fs = FakeSnow(nop_regexes=NOT_EMULATED)
    if options.s3:
        stages_on_s3(options.s3)
    listening = socket.create_server(("127.0.0.1", 0))
    # asyncio sets it for its own sockets only; without it each answer waits 40 ms for the client's system
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.Server(uvicorn.Config(server.app, log_level="critical", log_config=None, access_log=False)).run([listening])


def _end_with_parent() -> None:
    with suppress(OSError):
        sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()

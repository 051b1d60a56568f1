"""A real Postgres server reached over TCP and TLS, as one in a cloud is.

The server is the embedded one, whose build speaks no TLS and listens on a Unix socket only; the front here listens on
loopback, answers libpq's request for TLS with a certificate, and passes the rest on. `python -m tests.postgres_server
FOLDER [--plain] [--standby]` serves until its input ends; `served` and `replicated` run it as a child process.
"""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psycopg2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg2.extensions import make_dsn, parse_dsn

from tasks.source import embedded

ROOT = Path(__file__).parents[1]
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
UNENCRYPTED = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"
"""What a server says that takes connections over TLS only."""

ACCESS = "local all,replication postgres trust\nlocal all all scram-sha-256\n"
"""Everyone but the superuser, who sets up the roles, needs a password."""


@dataclass(frozen=True)
class Postgres:
    """The address of a served database, how its superuser reaches it past the front, and the front's process id."""

    host: str
    port: int
    database: str
    certificate: Path
    superuser: str
    front: int

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the superuser; the rows of the last one, if it has any."""
        with closing(psycopg2.connect(self.superuser)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def dsn(self, **options: object) -> str:
        """A connection string over TCP; TLS is required and verified unless the options say otherwise."""
        usual = {"host": self.host, "port": self.port, "dbname": self.database, "sslmode": "verify-full"}
        return make_dsn(**(usual | {"sslrootcert": str(self.certificate)} | options))


@contextmanager
def served(folder: Path, *, plain: bool = False) -> Iterator[Postgres]:
    """A server that lives for as long as the block, or as this process."""
    with _served(folder, *(["--plain"] if plain else [])) as (postgres,):
        yield postgres


@contextmanager
def replicated(folder: Path) -> Iterator[tuple[Postgres, Postgres]]:
    """A primary and a standby that streams from it and is read from, each with an address of its own."""
    with _served(folder, "--standby") as (primary, standby):
        yield primary, standby


@contextmanager
def _served(folder: Path, *options: str) -> Iterator[list[Postgres]]:
    command = [sys.executable, "-m", "tests.postgres_server", str(folder), *options]
    # In a group of its own: Ctrl-C is for the process that started it, which then ends it.
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout is not None
        try:
            ports, superusers = (process.stdout.readline().rstrip("\n").split("\t") for _ in range(2))
            certificate = folder / "server.pem"
            yield [
                Postgres("localhost", int(port), "postgres", certificate, superuser, process.pid)
                for port, superuser in zip(ports, superusers, strict=True)
            ]
        finally:
            process.communicate()


def certify(folder: Path) -> ssl.SSLContext:
    """A self-signed certificate of localhost, in `folder/server.pem`; what a server shows it with."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    start = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=30))
    builder = builder.add_extension(names, critical=False)
    signed = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    (folder / "server.pem").write_bytes(signed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    sink.close()


async def serve(superusers: list[str], context: ssl.SSLContext | None) -> None:
    """Have a front before each server, tell their ports and the superusers' ways past them, and wait."""
    fronts = [await front(Path(parse_dsn(one)["host"]) / ".s.PGSQL.5432", context) for one in superusers]
    print(*(served.sockets[0].getsockname()[1] for served in fronts), sep="\t")  # noqa: T201 (for the parent)
    print(*superusers, sep="\t", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)


async def front(socket: Path, context: ssl.SSLContext | None) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            first = await reader.readexactly(8)
            if first == SSL_REQUEST:
                writer.write(b"N" if context is None else b"S")
                await writer.drain()
                if context is not None:
                    await writer.start_tls(context)
                first = b""
            elif context is not None:
                writer.write(b"E" + (len(UNENCRYPTED) + 4).to_bytes(4) + UNENCRYPTED)
                writer.close()
                return
            behind, to_behind = await asyncio.open_unix_connection(str(socket))
            to_behind.write(first)
            await asyncio.gather(pump(reader, to_behind), pump(behind, writer))

    return await asyncio.start_server(answer, "127.0.0.1", 0)


def execute(superuser: str, *statements: str) -> None:
    with closing(psycopg2.connect(superuser)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)


def start(folder: Path) -> str:
    """A server that asks everyone but its superuser for a password; the connection string of that one."""
    superuser = embedded.start(folder)
    (folder / "pg_hba.conf").write_text(ACCESS)
    execute(superuser, "select pg_reload_conf()")
    return superuser


def start_standby(primary: Path, superuser: str, folder: Path) -> str:
    """A standby of a server, which is started again for it: the embedded one's log is not made to be replayed."""
    execute(superuser, "alter system set wal_level = 'replica'", "alter system set max_wal_senders = 4")
    embedded.stop(primary)
    embedded.start(primary)
    folder.mkdir(mode=0o700)
    embedded._open_to_server(folder)
    copy = [embedded._binary("pg_basebackup"), "--dbname", superuser, "--pgdata", str(folder)]
    options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
    subprocess.run([*copy, *options], check=True, capture_output=True, **embedded._identity())
    (folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)  # of the primary, whose socket is in its folder
    return embedded.start(folder)


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    superusers = [start(folder / "postgres")]
    if "--standby" in arguments:
        superusers.append(start_standby(folder / "postgres", superusers[0], folder / "standby"))
    asyncio.run(serve(superusers, None if "--plain" in arguments else certify(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])

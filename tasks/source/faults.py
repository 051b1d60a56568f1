"""What Postgres and libpq say is wrong, as the pipeline's own errors: whether it may pass, and what to do.

libpq gives no SQLSTATE for a connection that failed, so those are told by what its messages hold (in English, as the
server speaks unless its `lc_messages` says otherwise; what is not recognised counts as passing and is tried again).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from tasks.errors import PipelineError, SnapshotLostError, SourceError, TransientError

_REFUSED = (
    ("certificate", "correct sslmode, sslrootcert and host, so that the server's certificate can be verified"),
    ("password", "correct username and password"),
    ("does not exist", "correct username and database, or create them"),
    ("is not permitted to log in", "name a role that may log in"),
    ("permission denied for database", "grant CONNECT on the database to the role"),
    ("pg_hba.conf", "let pg_hba.conf admit this user from this address, or correct sslmode and username"),
    ("server does not support SSL", "correct sslmode, or let the server speak TLS"),
    ("Name or service not known", "correct host"),
    ("nodename nor servname", "correct host"),
    ("invalid connection option", "correct query and connect_args"),
    ("invalid sslmode", "correct sslmode"),
    ("unsupported startup parameter", "correct query and connect_args"),
)
"""Of a connection that will fail again: words of the message, and the setting to correct."""

_PASSING = (
    "Connection reset",
    "SYSCALL error",
    "closed the connection unexpectedly",
    "closed unexpectedly",
    "timeout expired",
)
"""Words of a connection that broke, perhaps amid the exchange of certificates or passwords."""

_STATES = {
    "3F": "create the schema, or correct the stack's source_schema",
    "42501": "grant it to the role that the block names",
    "42P01": "let the shop create its tables, or correct the stack's source_schema",
    "25006": "let the stack's source be the primary and its role one that may write",
    "0A": "let the block name a server that can do it, such as the primary",
    "28": "correct username and password",
    "3D": "correct database, or create it",
}
"""Of errors with an SQLSTATE, by its beginning: what to do."""


@contextmanager
def translated(doing: str, name: str) -> Iterator[None]:
    """Raise what psycopg2 raises as the pipeline's own errors, which tell the block of that `name`."""
    try:
        yield
    except psycopg2.Error as error:
        raise _error(f"could not {doing}", error, f"({name}), then run again") from error


def _error(failure: str, error: psycopg2.Error, then: str) -> PipelineError:
    said = " ".join(str(error).split()) or type(error).__name__
    if error.pgcode in ("22023", "42704") and "snapshot" in said:
        return SnapshotLostError(f"{failure}: {said}; its holder lost its connection: read all tables again {then}")
    if "conflict with recovery" in said:
        patience = "set hot_standby_feedback = on at the standby, or a longer max_standby_streaming_delay"
        return TransientError(f"{failure}: {said}; if it lasts, {patience} {then}")
    remedy = _remedy(error, said)
    if remedy is not None:
        return SourceError(f"{failure}: {said}; {remedy} {then}")
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or _is_cut(error):
        return TransientError(f"{failure}: {said}; check that Postgres is up and reachable {then}")
    return SourceError(f"{failure}: {said}; correct the database or its grants {then}")


def _is_cut(error: psycopg2.Error) -> bool:
    """Whether a COPY ended in the middle, which psycopg2 raises as a bare DatabaseError of which nobody knows more."""
    return type(error) is psycopg2.DatabaseError and error.pgcode is None


def _remedy(error: psycopg2.Error, said: str) -> str | None:
    """What to do about an error that trying again does not help; None for others and unknown ones."""
    if error.pgcode is not None:
        return next((remedy for state, remedy in _STATES.items() if error.pgcode.startswith(state)), None)
    if not isinstance(error, psycopg2.OperationalError | psycopg2.ProgrammingError) or any(w in said for w in _PASSING):
        return None
    return next((remedy for words, remedy in _REFUSED if words in said), None)

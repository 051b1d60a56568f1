"""How Snowflake is reached: with which limits of time, under which tag, and what its errors mean.

The connector's own limits are none: left to itself it asks a server that has gone for ever. And it has one number for
two things: `network_timeout` ends the attempts at one request, and cancels a statement that takes longer. Here a
request is given up after two minutes, while a statement may take as long as Snowflake lets it
(STATEMENT_TIMEOUT_IN_SECONDS): a server at work says so every 45 seconds, so silence tells that it has gone.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from snowflake import connector
from snowflake.connector import SnowflakeConnection, errors
from snowflake.connector.cursor import SnowflakeCursor

from tasks.errors import PipelineError, TransientError, WarehouseError
from tasks.warehouse.sql import sentence

_LIMITS: Mapping[str, int] = {
    "login_timeout": 20,
    "network_timeout": 120,
    "socket_timeout": 60,  # of one answer, which comes within 45 s
}
_STATEMENT_SECONDS = 604_800  # a week, the most that STATEMENT_TIMEOUT_IN_SECONDS may be

_TRANSIENT_CLASSES = (
    errors.BadGatewayError,
    errors.GatewayTimeoutError,
    errors.InternalServerError,
    errors.OtherHTTPRetryableError,
    errors.RequestExceedMaxRetryError,
    errors.RequestTimeoutError,
    errors.ServiceUnavailableError,
    errors.TooManyRequests,
)
_TRANSIENT = {
    604: "the statement was cancelled",
    625: "another transaction kept the table locked for a minute",
    250001: "no server answers",
    250002: "the connection was closed",
    250003: "a request was lost",
    251011: "the connection took too long",
    253003: "the upload to the stage broke off",
    390111: "the session is gone",
    390112: "the session has expired",
    390114: "the session's token has expired",
}
_ACCOUNT = "correct account of its credentials, or the network policy"
_WAREHOUSE = "correct warehouse: one that exists and that the role may use"
_REMEDIES = {
    606: _WAREHOUSE,
    630: "give it a larger warehouse: a statement of the loader may take an hour",
    2003: "correct the name, or run docs/snowflake.sql to create and grant what is missing",
    2043: "correct the name, or run docs/snowflake.sql to create and grant what is missing",
    3001: "run docs/snowflake.sql to grant the privilege to the role",
    90073: "raise credit_quota of the resource monitor, or wait for its next month",
    90105: "correct database: one that exists and that the role may use",
    90106: _WAREHOUSE,
    251008: "correct private_key and private_key_passphrase of its credentials",
    290404: _ACCOUNT,
    390100: "correct user and password of its credentials",
    390144: "correct private_key of its credentials, or rsa_public_key of the user",
    390189: "correct role of its credentials: one that the user has been granted",
    390201: _WAREHOUSE,
    390303: "renew token of its credentials",
    390318: "renew token of its credentials",
}
LOGIN = "correct account, user, role and the private_key, token or password of its credentials"
"""What to do about a login that failed for a reason that is not known."""
_STATEMENT = "see the query history of Snowflake"


class Cursor(SnowflakeCursor):
    """A cursor whose statements carry its `tag`, if it has one, and which cancels none for its length."""

    tag: Mapping[str, str] = {}

    def execute(self, *arguments: Any, **named: Any) -> Any:
        """Run a statement; `timeout` is in seconds."""
        usual: dict[str, Any] = {"timeout": _STATEMENT_SECONDS}
        if self.tag:
            usual["_statement_params"] = {"QUERY_TAG": json.dumps(self.tag)}
        return super().execute(*arguments, **(usual | named))


class Connection(SnowflakeConnection):
    """A connection that gives a request up after `network_timeout`, however long its statement may take."""

    def cursor(self, cursor_class: Any = Cursor) -> Any:
        """A new cursor, of this module's class unless another is asked for."""
        return super().cursor(cursor_class)

    def cmd_query(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """Send a statement; the `timeout` that comes is the whole statement's, and a request has one of its own."""
        limits = [seconds for seconds in (named.get("timeout"), self.network_timeout) if seconds is not None]
        return super().cmd_query(*arguments, **(named | {"timeout": min(limits, default=None)}))


def connect(**given: Any) -> Connection:
    """Connect, with limits of time unless they are `given`; arguments are those of `snowflake.connector.connect`."""
    return Connection(**{**_LIMITS, **given})


def limit_dbt() -> None:
    """Have dbt connect so too: it runs in this process, sets no limit and has no setting for one."""
    connector.connect = connect  # type: ignore[assignment]


@contextmanager
def translated(doing: str, name: str, remedy: str = _STATEMENT) -> Iterator[None]:
    """Raise what the connector raises as the pipeline's own errors, which tell the block of that `name`.

    `remedy` is what to do about an error that is not known.
    """
    try:
        yield
    except errors.Error as error:
        raise _explained(doing, error, name, remedy) from error


def _explained(doing: str, error: errors.Error, name: str, remedy: str) -> PipelineError:
    said = sentence(error).rstrip(". ")
    number = error.errno if isinstance(error.errno, int) else 0
    if isinstance(error, errors.ForbiddenError):
        return WarehouseError(f"could not {doing}: {said}; {_ACCOUNT} ({name})")
    if isinstance(error, _TRANSIENT_CLASSES) or number in _TRANSIENT:
        reason = _TRANSIENT.get(number, "Snowflake is busy")
        return TransientError(f"could not {doing}: {reason} ({said}); try again, or correct account and host ({name})")
    return WarehouseError(f"could not {doing}: {said}; {_REMEDIES.get(number, remedy)} ({name})")

"""SqlAlchemyConnector as a libpq connection string; imported only for a stack whose source is a server."""

from typing import Any

from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector
from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn

from tasks.errors import ParameterError

_VERIFIED = {"sslmode": "verify-full", "sslrootcert": "system"}
"""Unless the block says otherwise, the server proves its name by a certificate that the system trusts."""


def dsn(block: SqlAlchemyConnector, name: str) -> str:
    """The connection string of the block that errors call `name`, with TLS.

    libpq's own options, such as sslmode and sslrootcert, may stand in the components' `query` or in `connect_args`.
    Raises `ParameterError` for a block that does not describe a Postgres server, or stores its password in clear.
    """
    components = block.connection_info
    if not isinstance(components, ConnectionComponents):
        raise ParameterError(
            f"The connection_info of {name} is an address, in which Prefect stores the password in clear: "
            "give it as components (driver, host, port, database, username, password)."
        )
    driver = str(getattr(components.driver, "value", components.driver))
    if not driver.startswith("postgresql"):
        raise ParameterError(f"The driver of {name} is {driver!r}: the source must be Postgres, postgresql+psycopg2.")
    options = (components.query or {}) | (block.connect_args or {})
    try:
        return make_dsn(**_tls(options), **_server(components))
    except (ProgrammingError, TypeError) as error:
        raise ParameterError(f"{name}: query or connect_args hold an option that libpq does not have.") from error


def _tls(options: dict[str, Any]) -> dict[str, Any]:
    asked = {key: str(value) for key, value in options.items()}
    if "sslmode" not in asked:
        return _VERIFIED | asked
    return {"sslrootcert": "system"} | asked if asked["sslmode"] == "verify-full" else asked


def _server(components: ConnectionComponents) -> dict[str, Any]:
    password = components.password.get_secret_value() if components.password else None
    given = {
        "host": components.host,
        "port": components.port,
        "dbname": components.database,
        "user": components.username,
        "password": password,
    }
    return {option: value for option, value in given.items() if value is not None}

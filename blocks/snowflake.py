"""Snowflake's blocks as the arguments of its connector and of dbt; imported only for a stack that uses Snowflake."""

import base64
import json
from typing import Any, Literal

from prefect.runtime import flow_run
from prefect_snowflake import SnowflakeConnector, SnowflakeCredentials
from prefect_snowflake.credentials import InvalidPemFormat
from pydantic import Field

from tasks.errors import WarehouseError
from tasks.warehouse.snowflake_client import limit_dbt


class SnowflakeServer(SnowflakeConnector):
    """A Snowflake account reached at an address of its own: a private link, a proxy, or an emulator.

    Example:
        Load a stored connector:
        ```python
        from blocks.snowflake import SnowflakeServer

        connector = SnowflakeServer.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Snowflake Server"
    _block_type_slug = "snowflake-server"
    _description = "Snowflake reached at an address of its own: a private link, a proxy, or an emulator."

    host: str = Field(description="The name or IP address of the server.")
    port: int = Field(default=443, ge=1, le=65535, description="The port that the server listens on.")
    protocol: Literal["https", "http"] = Field(default="https", description="HTTP is for an emulator on loopback only.")


def connection(block: SnowflakeConnector, name: str) -> dict[str, Any]:
    """The keyword arguments of `snowflake.connector.connect`; `WarehouseError` if the private key cannot be read.

    `name` is what errors call the block.
    """
    credentials = block.credentials
    plain = {"account": credentials.account, "user": credentials.user, "role": credentials.role}
    arguments = plain | {"database": block.database, "warehouse": block.warehouse, "schema": block.schema_}
    return {
        name: value
        for name, value in (arguments | _secrets(block.credentials, name) | _address(block)).items()
        if value is not None
    }


def dbt_environment(block: SnowflakeConnector, name: str) -> dict[str, str]:
    """The variables that the `snowflake` target of the project's profile reads; nothing of it touches a disk.

    The names of secrets begin with a word that makes dbt hide their values in its logs. What they cannot say, how long
    dbt waits for a server, is set for this process.
    """
    limit_dbt()
    given = connection(block, name)
    if key := given.get("private_key"):
        given["private_key"] = base64.b64encode(key).decode()
    names = ("account", "user", "role", "database", "warehouse", "host", "port", "protocol", "authenticator")
    secrets = ("password", "private_key", "token")
    found = {f"ECOMMERCE_SNOWFLAKE_{name.upper()}": given.get(name) for name in names}
    found |= {f"DBT_ENV_SECRET_SNOWFLAKE_{name.upper()}": given.get(name) for name in secrets}
    found |= {"ECOMMERCE_SNOWFLAKE_QUERY_TAG": json.dumps(query_tag())}
    return {name: str(value) for name, value in found.items() if value is not None}


def query_tag() -> dict[str, str]:
    """What the query history of Snowflake says of the statements of the flow run that calls, if one does."""
    told = {"pipeline": "ecommerce", "flow": flow_run.flow_name, "run": flow_run.id}
    return {name: str(value) for name, value in told.items() if value}


def _address(block: SnowflakeConnector) -> dict[str, Any]:
    if not isinstance(block, SnowflakeServer):
        return {}
    return {"host": block.host, "port": block.port, "protocol": block.protocol}


def _secrets(credentials: SnowflakeCredentials, name: str) -> dict[str, Any]:
    """What proves who asks: a private key, else a token, else a password."""
    if credentials.private_key or credentials.private_key_path:
        return {"authenticator": "SNOWFLAKE_JWT", "private_key": _private_key(credentials, name)}
    if credentials.token:
        return {"authenticator": credentials.authenticator, "token": credentials.token.get_secret_value()}
    password = credentials.password.get_secret_value() if credentials.password else None
    return {"authenticator": credentials.authenticator, "password": password}


def _private_key(credentials: SnowflakeCredentials, name: str) -> bytes | None:
    """The key in DER, decrypted. A wrong passphrase is a ValueError, a missing or a needless one a TypeError."""
    try:
        return credentials.resolve_private_key()
    except (InvalidPemFormat, OSError, ValueError, TypeError) as error:
        raise WarehouseError(
            f"The private key of {name} cannot be read ({type(error).__name__}): give its whole PEM text in "
            "private_key, and its passphrase in private_key_passphrase if it has one."
        ) from None

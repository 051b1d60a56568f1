"""Save a stack's blocks from the environment and `.env`, and see that each part works.

`python -m blocks.register NAME [--dry-run]`
"""

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import cyclopts
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.filesystems import LocalFileSystem
from pydantic import BaseModel

from blocks import settings
from blocks.checks import check
from blocks.embedded import DuckDBFile, EmbeddedPostgres
from blocks.slots import SLOTS
from blocks.stack import LOCAL, Stack
from flows.cli import CONSOLE, said_in_one_sentence
from flows.server import prefect_api
from tasks.errors import ParameterError

SLUGS = {
    "lake": ("aws-credentials", "local-file-system", "s3-bucket"),
    "source": ("embedded-postgres", "sqlalchemy-connector"),
    "reader": ("sqlalchemy-connector",),
    "warehouse": ("duckdb-file", "snowflake-connector", "snowflake-credentials", "snowflake-server"),
    "transformer": ("snowflake-connector", "snowflake-credentials", "snowflake-server"),
}
"""The types of the documents that are saved for each slot."""

app = cyclopts.App(name="python -m blocks.register", version_flags=[], help_format="plaintext")


@app.default
def main(name: str, /, *, dry_run: bool = False) -> None:
    """Save the blocks of a stack and check its connections; the flows then take it by its name.

    Args:
        name: Name of the stack: lower-case letters, digits and dashes.
        dry_run: Only show what would be saved, with its secrets masked.
    """
    stack = described(name)
    if dry_run:
        for line in shown(stack, name):
            CONSOLE.print(line, markup=False)
        return
    with prefect_api() as api:
        for saved in save(stack, name):
            CONSOLE.print(f"saved    {saved}", markup=False)
        for removed in forget(stack, name):
            CONSOLE.print(f"removed  {removed}", markup=False)
        found = list(check(Stack.named(name)))
    for one in found:
        CONSOLE.print(f"{'works' if one.passed else 'FAILED':<8} {one.slot}: {one.said}", markup=False)
    CONSOLE.print(f"Stack {name!r} is known to Prefect at {api}.", markup=False)
    sys.exit(0 if all(one.passed for one in found) else 1)


def described(name: str) -> Stack:
    """The stack that the environment describes, not saved yet; `ParameterError` names what is missing or wrong."""
    if name == LOCAL or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ParameterError(
            f"{name!r} cannot name a registered stack: take lower-case letters, digits and dashes, but not 'local'."
        )
    found = settings.read()
    parts = found[settings.Parts]
    s3 = found[settings.S3] if settings.S3 in found else None  # noqa: SIM401 (it has no get)
    return Stack(
        lake=_lake(found),
        source=_source(found),
        reader=_reader(found) if settings.Reader in found else None,
        warehouse=_warehouse(found),
        transformer=_snowflake(found, settings.Transformer) if settings.Transformer in found else None,
        workspace=str(parts.home.expanduser().resolve()),
        landing_days=parts.landing_days,
        source_schema=parts.source_schema,
        encryption=s3.encryption if s3 else None,
        kms_key=s3.kms_key if s3 else None,
        stage=found[settings.Snowflake].stage if settings.Snowflake in found else None,
    )


def save(stack: Stack, name: str) -> Iterator[str]:
    """Create or update the documents of the stack, parts first; the slug of each, as it is saved."""
    for slot, block in _documents(stack):
        block.save(f"{name}-{slot}" if slot else name, overwrite=True, _sync=True)
        yield f"{block.get_block_type_slug()}/{block._block_document_name}"


def forget(stack: Stack, name: str) -> Iterator[str]:
    """Delete what an earlier registration saved of slots that are now empty or filled otherwise; the slug of each.

    A document is ours by its name and type; others of the name are left alone.
    """
    kept = {(slot, block.get_block_type_slug()) for slot, block in _documents(stack)}
    saved = {(slot, slug) for slot, slugs in SLUGS.items() for slug in slugs}
    with get_client(sync_client=True) as client:
        for slot, slug in sorted(saved - kept):
            with suppress(ObjectNotFound):
                found = client.read_block_document_by_name(f"{name}-{slot}", slug, include_secrets=False)
                client.delete_block_document(found.id)
                yield f"{slug}/{name}-{slot}"


def shown(stack: Stack, name: str) -> Iterator[str]:
    """What would be saved, one line per document and field; secrets are masked."""
    for slot, block in _documents(stack):
        yield f"{block.get_block_type_slug()}/{f'{name}-{slot}' if slot else name}"
        yield from (f"  {field} = {value}" for field, value in _fields(block))


def _documents(stack: Stack) -> Iterator[tuple[str, Block]]:
    """Every block to save, with its slot: credentials before what uses them, the stack itself last."""
    for slot in SLOTS:
        part = getattr(stack, slot)
        if hasattr(part, "credentials"):
            yield slot, part.credentials
        if part is not None:
            yield slot, part
    yield "", stack


def _fields(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of what is set; pydantic itself masks secrets. Blocks have lines of their own."""
    for field in type(model).model_fields:
        value = getattr(model, field)
        if isinstance(value, Block) or value is None or value == "":
            continue
        if isinstance(value, BaseModel):
            yield from _fields(value, f"{prefix}{field}.")
        else:
            yield f"{prefix}{field}", value


def _lake(found: settings.Found) -> Block:
    if settings.S3 not in found:
        return LocalFileSystem(basepath=str(found[settings.Parts].home.expanduser().resolve() / "lake"))
    from prefect_aws import AwsCredentials, S3Bucket

    s3 = found[settings.S3]
    credentials = AwsCredentials(
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key,
        profile_name=s3.profile,
        region_name=s3.region,
        assume_role_arn=s3.role_arn,
        assume_role_kwargs={"ExternalId": s3.external_id} if s3.external_id else {},
        aws_client_parameters={"endpoint_url": s3.endpoint},
    )
    return S3Bucket(bucket_name=s3.bucket, bucket_folder=s3.folder, credentials=credentials)


def _source(found: settings.Found) -> Block:
    if settings.Postgres not in found:
        return EmbeddedPostgres(folder=str(found[settings.Parts].home.expanduser().resolve() / "postgres"))
    return _postgres(found[settings.Postgres], found[settings.Writer])


def _reader(found: settings.Found) -> Block:
    server, reader = found[settings.Postgres], found[settings.Reader]
    address = {"host": reader.host or server.host, "port": reader.port or server.port}
    return _postgres(server.model_copy(update=address), reader)


def _postgres(server: settings.Postgres, role: settings.Writer | settings.Reader) -> Block:
    from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector, SyncDriver

    query = {"sslmode": server.sslmode, "sslrootcert": server.sslrootcert}
    return SqlAlchemyConnector(
        connection_info=ConnectionComponents(
            driver=SyncDriver.POSTGRESQL_PSYCOPG2,
            host=server.host,
            port=server.port,
            database=server.database,
            username=role.user,
            password=role.password,
            query={option: value for option, value in query.items() if value is not None},
        )
    )


def _warehouse(found: settings.Found) -> Block:
    if settings.Snowflake not in found:
        return DuckDBFile(path=str(found[settings.Parts].home.expanduser().resolve() / "warehouse.duckdb"))
    return _snowflake(found, settings.Loader)


def _snowflake(found: settings.Found, kind: type[settings.Loader | settings.Transformer]) -> Block:
    from prefect_snowflake import SnowflakeConnector, SnowflakeCredentials

    from blocks.snowflake import SnowflakeServer

    account, member = found[settings.Snowflake], found[kind]
    key = member.private_key_path.read_bytes() if member.private_key_path else None
    proofs = {
        "private_key": key,
        "private_key_passphrase": member.private_key_passphrase,
        "password": member.password,
        "token": member.token,
        "authenticator": "oauth" if member.token else "snowflake_jwt" if key else "snowflake",
    }
    given = {name: value for name, value in proofs.items() if value is not None}
    credentials = SnowflakeCredentials(account=account.account, user=member.user, role=member.role, **given)
    place = {"database": account.database, "warehouse": member.warehouse, "schema": "raw", "credentials": credentials}
    if account.host is None:
        return SnowflakeConnector(**place)
    return SnowflakeServer(host=account.host, port=account.port, protocol=account.protocol, **place)


if __name__ == "__main__":
    with said_in_one_sentence():
        app()

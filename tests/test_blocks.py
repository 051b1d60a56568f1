"""Stacks of stock blocks: saved, loaded and opened, and what they import."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prefect.blocks.core import Block
from prefect.filesystems import LocalFileSystem
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from prefect_aws import AwsCredentials, MinIOCredentials, S3Bucket
from prefect_snowflake import SnowflakeConnector, SnowflakeCredentials
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector, SyncDriver
from psycopg2.extensions import parse_dsn

from blocks.embedded import DuckDBFile, EmbeddedPostgres
from blocks.postgres import dsn
from blocks.snowflake import SnowflakeServer, connection, dbt_environment
from blocks.stack import Stack
from tasks.errors import ParameterError, WarehouseError
from tests.s3_server import KEY, REGION, SECRET, S3Server

ROOT = Path(__file__).parents[1]


class TestBlocks(BlockStandardTestSuite):
    """Prefect's own checks of a block, on ours."""

    @pytest.fixture(params=[Stack, EmbeddedPostgres, DuckDBFile, SnowflakeServer])
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        return request.param

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """The logos are those of Prefect's blocks: valid there, and no test needs the network."""
        stock = [LocalFileSystem, SqlAlchemyConnector, SnowflakeConnector]
        assert str(block._logo_url) in {str(other._logo_url) for other in stock}


# Saving and loading


def postgres(role: str = "writer", **given: Any) -> SqlAlchemyConnector:
    components = {"host": "db.example.com", "database": "shop", "username": role, "password": f"{role}-sekret"}
    driver = {"driver": SyncDriver.POSTGRESQL_PSYCOPG2}
    return SqlAlchemyConnector(connection_info=ConnectionComponents(**(driver | components | given)))


def snowflake(role: str = "loader", **proof: Any) -> SnowflakeConnector:
    credentials = SnowflakeCredentials(account="acme-prod", user=role, role=role, **(proof or {"password": "x"}))
    return SnowflakeConnector(credentials=credentials, database="ecommerce", warehouse="loading", schema="raw")


def cloud() -> dict[str, Block | None]:
    credentials = AwsCredentials(aws_access_key_id="AKIA", aws_secret_access_key="aws-sekret", region_name="eu-west-1")
    return {
        "lake": S3Bucket(bucket_name="lake", bucket_folder="shop", credentials=credentials),
        "source": postgres(),
        "reader": postgres("reader"),
        "warehouse": snowflake(password="sf-sekret"),
        "transformer": snowflake("transformer", private_key=key(), private_key_passphrase="phrase-sekret"),
    }


def key(passphrase: bytes | None = b"phrase-sekret") -> bytes:
    """A private key as Snowflake's documentation makes them, in PEM."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


SECRETS = ("aws-sekret", "writer-sekret", "reader-sekret", "sf-sekret", "phrase-sekret")


@pytest.fixture
def api(prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    return prefect_url


def plain(block: Block | None) -> dict[str, Any] | None:
    """The data of a block with its secrets in clear."""
    if block is None:
        return None
    fields = set(type(block).model_fields)
    found = block.model_dump(mode="json", context={"include_secrets": True}, include=fields)
    return json.loads(json.dumps(found, default=str))


@pytest.mark.parametrize("nested", [True, False], ids=["within the stack's document", "in documents of their own"])
def test_a_cloud_stack_is_loaded_as_it_was_saved(api: str, nested: bool) -> None:
    parts = cloud()
    if not nested:
        for slot, part in parts.items():
            if hasattr(part, "credentials"):
                part.credentials.save(f"apart-{slot}", overwrite=True, _sync=True)
            part.save(f"apart-{slot}", overwrite=True, _sync=True)
    name = f"cloud-{nested}".lower()
    Stack(**parts, workspace="/tmp/w", encryption="aws:kms", stage="ecommerce.raw.lake").save(name, _sync=True)
    loaded = Stack.named(name)
    assert (loaded.workspace, loaded.encryption, loaded.stage) == ("/tmp/w", "aws:kms", "ecommerce.raw.lake")
    assert {slot: type(getattr(loaded, slot)) for slot in parts} == {slot: type(part) for slot, part in parts.items()}
    assert loaded.lake.credentials.aws_secret_access_key.get_secret_value() == "aws-sekret"
    assert parse_dsn(dsn(loaded.reader, "reader"))["password"] == "reader-sekret"
    assert connection(loaded.warehouse, "warehouse")["password"] == "sf-sekret"
    assert connection(loaded.transformer, "t") == connection(parts["transformer"], "t")
    assert not any(secret in repr(loaded) for secret in SECRETS)


def test_a_mixed_stack_is_loaded_as_it_was_saved(api: str, tmp_path: Path) -> None:
    lake = S3Bucket(bucket_name="lake", credentials=MinIOCredentials(minio_root_user="u", minio_root_password="p"))
    duckdb = DuckDBFile(path=str(tmp_path / "w.duckdb"))
    Stack(lake=lake, source=postgres(), warehouse=duckdb, workspace=".").save("mixed", _sync=True)
    loaded = Stack.named("mixed")
    assert isinstance(loaded.lake.credentials, MinIOCredentials)
    assert loaded.warehouse.path == duckdb.path
    assert loaded.reader is None
    assert loaded.dbt_target() == "duckdb"


def test_a_part_that_is_wrong_does_not_pass_for_another(api: str) -> None:
    """LocalFileSystem requires nothing, so that any data would make one."""
    bucket = S3Bucket(bucket_name="lake")
    bucket.save("spoilt", overwrite=True, _sync=True)
    embedded = {"source": EmbeddedPostgres(folder="f"), "warehouse": DuckDBFile(path="p"), "workspace": "."}
    Stack(lake=bucket, **embedded).save("spoilt", _sync=True)
    document = Stack._get_block_document("spoilt", client=_client())[0]
    del document.data["lake"]["bucket_name"]
    with pytest.raises(RuntimeError, match="failed validation"):
        Stack._load_from_block_document(document)


def _client() -> Any:
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True).__enter__()


def test_the_form_offers_every_block_of_a_slot(api: str) -> None:
    Stack.register_type_and_schema(_sync=True)
    schema = Stack.model_json_schema()
    offered = {
        slot: {one["block_type_slug"] for one in (found if isinstance(found, list) else [found])}
        for slot, found in schema["block_schema_references"].items()
    }
    assert offered == {
        "lake": {"local-file-system", "s3-bucket"},
        "source": {"embedded-postgres", "sqlalchemy-connector"},
        "reader": {"sqlalchemy-connector"},
        "warehouse": {"duckdb-file", "snowflake-connector", "snowflake-server"},
        "transformer": {"snowflake-connector", "snowflake-server"},
    }
    assert all(field.get("title") for field in schema["properties"].values())
    assert "lake.credentials.aws_secret_access_key" in schema["secret_fields"]


VENDORS = ("prefect_aws", "prefect_snowflake", "prefect_sqlalchemy", "boto3", "botocore", "snowflake.connector")
EMBEDDED = f"""
import sys
from pathlib import Path
import flows.historical_load, flows.transform
from blocks.stack import Stack
stack = Stack.in_folder(Path(sys.argv[1]))
stack.open_lake(), stack.dbt_environment()
print(*(name for name in {VENDORS!r} if name in sys.modules))
"""


def test_the_embedded_stack_imports_no_vendor(tmp_path: Path) -> None:
    command = [sys.executable, "-c", EMBEDDED, str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


# Opening


def test_the_lake_is_in_the_bucket_of_the_block(s3: S3Server, tmp_path: Path) -> None:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": REGION}
    credentials = AwsCredentials(**keys, aws_client_parameters={"endpoint_url": s3.endpoint})
    bucket = S3Bucket(bucket_name=s3.make_bucket("stack"), bucket_folder="shop", credentials=credentials)
    duckdb = DuckDBFile(path=str(tmp_path / "w.duckdb"))
    stack = Stack(lake=bucket, source=EmbeddedPostgres(folder="f"), warehouse=duckdb, workspace=".")
    stack.open_lake().write("a/b", b"c")
    assert s3.client().get_object(Bucket="stack", Key="shop/a/b")["Body"].read() == b"c"


def test_postgres_is_reached_with_tls_unless_the_block_says_otherwise() -> None:
    assert parse_dsn(dsn(postgres(), "source")) == {
        "host": "db.example.com",
        "dbname": "shop",
        "user": "writer",
        "password": "writer-sekret",
        "sslmode": "verify-full",
        "sslrootcert": "system",
    }
    own = parse_dsn(dsn(postgres(port=6432, query={"sslrootcert": "/ca.pem"}, password="a b'\\c"), "source"))
    assert (own["sslmode"], own["sslrootcert"], own["port"]) == ("verify-full", "/ca.pem", "6432")
    assert own["password"] == "a b'\\c"
    without = parse_dsn(dsn(postgres(query={"sslmode": "disable"}), "source"))
    assert without["sslmode"] == "disable"
    assert "sslrootcert" not in without


@pytest.mark.parametrize(
    ("connector", "said"),
    [
        (SqlAlchemyConnector(connection_info="postgresql://u:url-sekret@h/d"), "password in clear: give it as comp"),
        (SqlAlchemyConnector(connection_info=ConnectionComponents(driver="sqlite", database="x")), "must be Postgres"),
        (postgres(query={"sslmod": "require"}), "option that libpq does not have"),
    ],
)
def test_what_is_no_postgres_server_is_refused_with_a_reason(connector: SqlAlchemyConnector, said: str) -> None:
    with pytest.raises(ParameterError, match=f"block sqlalchemy-connector/prod-source.*{said}") as raised:
        dsn(connector, "block sqlalchemy-connector/prod-source")
    assert "sekret" not in str(raised.value)


def test_snowflake_takes_a_key_a_password_or_a_token() -> None:
    pair = snowflake(private_key=key(), private_key_passphrase="phrase-sekret", authenticator="snowflake_jwt")
    found = connection(pair, "warehouse")
    serialization.load_der_private_key(found["private_key"], password=None)
    assert found["authenticator"] == "SNOWFLAKE_JWT"
    assert "password" not in found
    assert connection(snowflake(private_key=key(None)), "warehouse")["private_key"]
    oauth = connection(snowflake(authenticator="oauth", token="t0ken"), "warehouse")
    assert (oauth["authenticator"], oauth["token"]) == ("oauth", "t0ken")
    assert dbt_environment(pair, "warehouse") | {"DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY": ""} == {
        "ECOMMERCE_SNOWFLAKE_ACCOUNT": "acme-prod",
        "ECOMMERCE_SNOWFLAKE_USER": "loader",
        "ECOMMERCE_SNOWFLAKE_ROLE": "loader",
        "ECOMMERCE_SNOWFLAKE_DATABASE": "ecommerce",
        "ECOMMERCE_SNOWFLAKE_WAREHOUSE": "loading",
        "ECOMMERCE_SNOWFLAKE_AUTHENTICATOR": "SNOWFLAKE_JWT",
        "ECOMMERCE_SNOWFLAKE_QUERY_TAG": '{"pipeline": "ecommerce"}',
        "DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY": "",
    }


@pytest.mark.parametrize(
    "proof",
    [
        {"private_key": key()},
        {"private_key": key(), "private_key_passphrase": "another-sekret"},
        {"private_key": key(None), "private_key_passphrase": "needless-sekret"},
        {"private_key": b"no-key-sekret"},
        {"private_key": b"-----BEGIN PRIVATE KEY-----\nsekret\n-----END PRIVATE KEY-----"},
        {"private_key_path": "/no/such/key.p8"},
    ],
)
def test_a_private_key_that_cannot_be_read_is_said(proof: dict[str, Any]) -> None:
    with pytest.raises(
        WarehouseError, match=r"private key of block x/y cannot be read.*private_key_passphrase"
    ) as said:
        connection(snowflake(**proof), "block x/y")
    assert "sekret" not in str(said.value)


def test_a_missing_stack_is_said(api: str) -> None:
    with pytest.raises(ParameterError, match="There is no stack 'nowhere': use 'local'"):
        Stack.named("nowhere")

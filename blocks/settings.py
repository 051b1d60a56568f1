"""What a stack is registered from: variables of the environment and of `.env`, as `.env.example` describes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.errors import ParameterError


class Settings(BaseSettings):
    """Variables that begin with a prefix; an empty one counts as not given."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    @classmethod
    def variable(cls, field: str) -> str:
        """The name of the variable of a field."""
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()


def _prefixed(prefix: str) -> SettingsConfigDict:
    return SettingsConfigDict(**(Settings.model_config | {"env_prefix": prefix}))


class Parts(Settings):
    """Of which parts the stack is made, and what concerns it as a whole."""

    model_config = _prefixed("ECOMMERCE_")

    lake: Literal["s3", "local"] = "s3"
    source: Literal["postgres", "embedded"] = "postgres"
    warehouse: Literal["snowflake", "duckdb"] = "snowflake"
    home: Path = Path(".ecommerce")
    landing_days: int = 90
    source_schema: str = "public"
    reader_user: str | None = None
    transformer_user: str | None = None


class S3(Settings):
    """The bucket of the lake. Without keys, a profile or a role, the environment's own identity is used."""

    model_config = _prefixed("ECOMMERCE_S3_")

    bucket: str
    folder: str = ""
    region: str | None = None
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key: str | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("ECOMMERCE_S3_ACCESS_KEY_ID and ECOMMERCE_S3_SECRET_ACCESS_KEY are given together or not")
        if self.kms_key and self.encryption != "aws:kms":
            raise ValueError("ECOMMERCE_S3_KMS_KEY needs ECOMMERCE_S3_ENCRYPTION=aws:kms")
        return self


class Postgres(Settings):
    """The server of the shop's database."""

    model_config = _prefixed("ECOMMERCE_POSTGRES_")

    host: str
    port: int = 5432
    database: str
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "verify-full"
    sslrootcert: str | None = None


class Writer(Settings):
    """Who writes to Postgres: the shop."""

    model_config = _prefixed("ECOMMERCE_WRITER_")

    user: str
    password: SecretStr


class Reader(Settings):
    """Who reads from Postgres, perhaps from a replica at an address of its own."""

    model_config = _prefixed("ECOMMERCE_READER_")

    user: str
    password: SecretStr
    host: str | None = None
    port: int | None = None


class Snowflake(Settings):
    """The Snowflake account."""

    model_config = _prefixed("ECOMMERCE_SNOWFLAKE_")

    account: str
    database: str
    stage: str | None = None
    host: str | None = None
    port: int = 443
    protocol: Literal["https", "http"] = "https"


class Member(Settings):
    """Who connects to Snowflake, with a key pair, a password or an OAuth token."""

    user: str
    role: str
    warehouse: str
    private_key_path: Path | None = None
    private_key_passphrase: SecretStr | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if sum(proof is not None for proof in (self.private_key_path, self.password, self.token)) != 1:
            names = [self.variable(name) for name in ("private_key_path", "password", "token")]
            raise ValueError(f"exactly one of {', '.join(names)} is needed")
        if self.private_key_path and not self.private_key_path.is_file():
            raise ValueError(f"{self.variable('private_key_path')} names no file")
        return self


class Loader(Member):
    """Who loads raw."""

    model_config = _prefixed("ECOMMERCE_LOADER_")


class Transformer(Member):
    """Who dbt connects as."""

    model_config = _prefixed("ECOMMERCE_TRANSFORMER_")


Read = TypeVar("Read", bound=Settings)


class Found:
    """The settings that a stack needs, by their class."""

    def __init__(self, settings: Mapping[type[Settings], Settings]) -> None:
        self._settings = settings

    def __getitem__(self, kind: type[Read]) -> Read:
        found: Any = self._settings[kind]
        return found

    def __contains__(self, kind: type[Settings]) -> bool:
        return kind in self._settings


def read() -> Found:
    """Everything that the chosen parts need; one `ParameterError` names all that is missing or wrong."""
    found: dict[type[Settings], Settings] = {}
    missing: list[str] = []
    wrong: list[str] = []
    kinds: list[type[Settings]] = [Parts]
    for kind in kinds:
        try:
            found[kind] = kind()
        except ValidationError as error:
            _sort(kind, error, missing, wrong)
        if kind is Parts and kind in found:
            kinds += _needed(found[kind])
    if missing or wrong:
        problems = [f"missing: {', '.join(missing)}"] if missing else []
        raise ParameterError(
            f"The stack's settings are incomplete: {'; '.join(problems + wrong)}. "
            "Set them in the environment or in .env; .env.example describes each."
        )
    return Found(found)


def _needed(parts: Parts) -> list[type[Settings]]:
    """What the chosen parts need."""
    needed: list[type[Settings]] = []
    if parts.lake == "s3":
        needed += [S3]
    if parts.source == "postgres":
        needed += [Postgres, Writer, *([Reader] if parts.reader_user else [])]
    if parts.warehouse == "snowflake":
        needed += [Snowflake, Loader, *([Transformer] if parts.transformer_user else [])]
    return needed


def _sort(kind: type[Settings], error: ValidationError, missing: list[str], wrong: list[str]) -> None:
    """Say what is wrong with each variable, and never its value: it may be a secret."""
    for problem in error.errors(include_input=False, include_context=False, include_url=False):
        variable = kind.variable(str(problem["loc"][0])) if problem["loc"] else ""
        if problem["type"] == "missing":
            missing.append(variable)
        else:
            wrong.append(f"{variable} {problem['msg'].removeprefix('Value error, ')}".strip())

"""Who asks S3: keys, a profile, an assumed role, the environment's own; renewed in a long run, and told when wrong."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.utils import ContainerMetadataFetcher
from prefect_aws import AwsCredentials, MinIOCredentials, S3Bucket

from blocks import s3 as blocks_s3
from blocks.embedded import DuckDBFile, EmbeddedPostgres
from blocks.stack import Stack
from tasks.errors import LakeError, TransientError, is_transient
from tasks.lake.store import Lake
from tests.proxy import Proxy, http_answer, proxied
from tests.s3_server import REGION, S3Server, served

Keys = tuple[str, str]

ROLE, EXTERNAL = "arn:aws:iam::123456789012:role/lake", "shop-external-id"
BLOCK, STACK = "block s3-bucket/unsaved's lake", "block ecommerce-stack/unsaved"
EVERYTHING = {"Effect": "Allow", "Action": ["s3:*", "sts:*", "iam:*"], "Resource": "*"}
TRUSTED = {
    "Effect": "Allow",
    "Action": "sts:AssumeRole",
    "Principal": {"AWS": "arn:aws:iam::123456789012:user/worker"},
    "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL}},
}


def document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@dataclass(frozen=True)
class Account:
    """A server that checks who asks, with a bucket `lake`, the user `worker` who may all, and a role that it may take.

    `stranger` is a user who may nothing.
    """

    server: S3Server
    worker: Keys
    stranger: Keys

    def client(self, service: str) -> Any:
        return self.server.session(*self.worker).client(service, endpoint_url=self.server.endpoint)

    def another_key(self) -> Keys:
        """One more access key of the worker."""
        made = self.client("iam").create_access_key(UserName="worker")["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    def take_away(self, keys: Keys) -> None:
        """Have a key of the worker's refused from now on."""
        self.client("iam").delete_access_key(UserName="worker", AccessKeyId=keys[0])


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with served() as server:
        server.make_bucket("lake")
        iam, keys = server.client("iam"), []
        for user in ("worker", "stranger"):
            iam.create_user(UserName=user)
            made = iam.create_access_key(UserName=user)["AccessKey"]
            keys.append((made["AccessKeyId"], made["SecretAccessKey"]))
        iam.put_user_policy(UserName="worker", PolicyName="all", PolicyDocument=document(EVERYTHING))
        iam.create_role(RoleName="lake", AssumeRolePolicyDocument=document(TRUSTED))
        iam.put_role_policy(RoleName="lake", PolicyName="all", PolicyDocument=document(EVERYTHING))
        server.check_credentials(after=0)
        yield Account(server, *keys)


@pytest.fixture(autouse=True)
def nothing_given(account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of this machine, and STS at the server."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", account.server.endpoint)


class Environment:
    """What gives a container its role: the keys that it has now, which last so long; `asked` counts."""

    def __init__(self) -> None:
        self.keys, self.lasts, self.asked = ("", ""), timedelta(hours=1), 0
        environment = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                environment.asked += 1
                self.send_response(200 if environment.keys[0] else 403)
                self.end_headers()
                self.wfile.write(environment.said().encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)

    def said(self) -> str:
        ends = (datetime.now(UTC) + self.lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
        key, secret = self.keys
        # No token: moto knows users' keys and roles' sessions, and these are a user's.
        return json.dumps({"AccessKeyId": key, "SecretAccessKey": secret, "Token": None, "Expiration": ends})


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    made = Environment()
    threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{made.server.server_port}/role")
    yield made
    made.server.shutdown()
    made.server.server_close()


@dataclass
class Who:
    """What a lake is opened with: the fields of its credentials, and of the stack."""

    credentials: dict[str, Any] = field(default_factory=dict)
    stack: dict[str, Any] = field(default_factory=dict)
    endpoint: str = ""

    def lake(self, account: Account) -> Lake:
        client = {"endpoint_url": self.endpoint or account.server.endpoint}
        credentials = AwsCredentials(**({"region_name": REGION, "aws_client_parameters": client} | self.credentials))
        bucket = S3Bucket(bucket_name="lake", bucket_folder="shop", credentials=credentials)
        parts = {"source": EmbeddedPostgres(folder="f"), "warehouse": DuckDBFile(path="w.duckdb"), "workspace": "."}
        return Stack(lake=bucket, **parts, **self.stack).open_lake()


def keys(pair: Keys, **more: Any) -> dict[str, Any]:
    return {"aws_access_key_id": pair[0], "aws_secret_access_key": pair[1], **more}


def in_role(**more: Any) -> dict[str, Any]:
    return {"assume_role_arn": ROLE, "assume_role_kwargs": {"ExternalId": EXTERNAL, **more}}


def write_profiles(folder: Path, pair: Keys) -> None:
    """The profile `shop` has keys, and `roled` takes the role from it."""
    (folder / "credentials").write_text(f"[shop]\naws_access_key_id = {pair[0]}\naws_secret_access_key = {pair[1]}\n")
    role = f"role_arn = {ROLE}\nexternal_id = {EXTERNAL}\nsource_profile = shop\n"
    (folder / "config").write_text(f"[profile roled]\n{role}")


NOWHERE = keys(("AKIANOWHERE", "x"))
MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "keys": ("worker", {}),
    "a profile": ("", {"profile_name": "shop"}),
    "a profile that takes a role": ("", {"profile_name": "roled"}),
    "a role taken by keys": ("worker", in_role()),
    "a role taken by a profile": ("", {"profile_name": "shop", **in_role()}),
    "the environment": ("", {}),
    "a role taken by the environment": ("", in_role()),
}
"""Whose keys the block has, if any, and what else."""


def given(account: Account, user: str, fields: dict[str, Any]) -> dict[str, Any]:
    return (keys(getattr(account, user)) if user else {}) | fields


@pytest.mark.parametrize("mode", MODES)
def test_a_lake_opens_with(mode: str, account: Account, environment: Environment, tmp_path: Path) -> None:
    environment.keys = account.worker
    write_profiles(tmp_path, account.worker)
    lake = Who(given(account, *MODES[mode])).lake(account)
    account.server.asked()
    lake.write("a", mode.encode())
    assert lake.read("a") == mode.encode()
    signed = {one.key for one in account.server.asked() if one.path.startswith("/lake/shop/")}
    assert (account.worker[0] in signed) != ("role" in mode)
    assert bool(environment.asked) == ("environment" in mode)


def test_credentials_of_minio_open_a_session() -> None:
    """They are keys alone, under other names."""
    session = blocks_s3.session(MinIOCredentials(minio_root_user="u", minio_root_password="p-sekret"))
    assert session.get_credentials().access_key == "u"


# Renewal in a long run


def test_the_environments_credentials_are_renewed_before_they_expire(
    account: Account, environment: Environment
) -> None:
    """The first key is taken away: who would go on with it would be refused."""
    environment.keys, environment.lasts = account.another_key(), timedelta(minutes=5)
    lake = Who().lake(account)
    lake.write("a", b"first")
    account.take_away(environment.keys)
    environment.keys, environment.lasts = account.another_key(), timedelta(hours=1)
    lake.write("a", b"second")
    asked = environment.asked
    assert lake.read("a") == b"second"
    assert environment.asked == asked  # what lasts is not asked for again
    account.take_away(environment.keys)


def test_an_assumed_role_is_renewed_before_it_expires(account: Account) -> None:
    """15 minutes are the least that STS gives, and when botocore begins to renew."""
    lake = Who(keys(account.worker, **in_role(DurationSeconds=900))).lake(account)
    account.server.asked()
    for n in range(3):
        lake.write("a", str(n).encode())
    signed = [one.key for one in account.server.asked() if one.path == "/lake/shop/a"]
    assert len(set(signed)) == len(signed) == 3
    lasting = Who(keys(account.worker, **in_role())).lake(account)
    account.server.asked()
    for n in range(3):
        lasting.write("a", str(n).encode())
    asked = account.server.asked()
    assert len({one.key for one in asked if one.path == "/lake/shop/a"}) == 1
    assert sum(one.path == "/" for one in asked) == 1  # of STS


# What is wrong is said at once


def said(account: Account, who: Who) -> str:
    """The one sentence in which a lake refuses, without another try."""
    account.server.asked()
    started = time.monotonic()
    with pytest.raises(LakeError) as caught:
        who.lake(account).write("a/x", b"")
    assert time.monotonic() - started < 10
    assert not is_transient(caught.value)
    assert len(account.server.asked()) <= 1
    sentence = str(caught.value)
    assert sentence.startswith("The lake's bucket 'lake' (")
    assert "\n" not in sentence
    assert not any(secret in sentence for _, secret in (account.worker, account.stranger))
    return sentence


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "no such key": ("", NOWHERE, "does not know the access key: correct aws_access_key_id"),
    "wrong secret": ("worker", {"aws_secret_access_key": "x"}, "refuses the secret key: correct aws_secret_access_key"),
    "no rights": ("stranger", {}, "denied PutObject of 'a/x': allow its credentials s3:ListBucket"),
    "no profile": ("", {"profile_name": "missing"}, r"\(missing\).*correct .*the profile"),
    "nothing": ("", {}, "has no usable credentials .*correct aws_access_key_id"),
    "nothing to take a role with": ("", in_role(), "has no usable credentials .*correct aws_access_key_id"),
    "no key to take a role with": ("", NOWHERE | in_role(), "does not know the access key: correct aws_access_key_id"),
    "a role that may not be taken": (
        "stranger",
        in_role(),
        "role that could not be taken on .*AccessDenied.*: correct assume_role_arn .*trust policy",
    ),
    "a role for another external id": (
        "worker",
        in_role(ExternalId="other"),
        "role that could not be taken on .*AccessDenied.*: correct assume_role_arn and assume_role_kwargs",
    ),
    "no role": ("worker", {"assume_role_arn": "lake"}, "RoleArn.*correct that setting"),
    "a role under a device": ("worker", in_role(SerialNumber="arn:aws:iam::1:mfa/a"), "TokenCode"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_credentials_are_named(wrong: str, account: Account) -> None:
    user, fields, sentence = WRONG[wrong]
    found = said(account, Who(given(account, user, fields)))
    assert re.search(sentence, found)
    assert found.endswith(f" in {BLOCK}.")


def test_an_environment_that_gives_no_role_is_named(
    account: Account, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    assert "container-role" in said(account, Who())
    assert environment.asked == 3  # botocore's own tries, a second apart if nobody hurries it


@contextmanager
def wire(endpoint: str) -> Iterator[tuple[Proxy, str]]:
    with proxied("127.0.0.1", int(endpoint.rpartition(":")[2])) as proxy:
        yield proxy, f"http://127.0.0.1:{proxy.port}"


def test_a_token_that_has_expired_is_named(account: Account) -> None:
    expired = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    with wire(account.server.endpoint) as (proxy, endpoint):
        proxy.answer(http_answer("400 Bad Request", expired), 10**6)
        old = keys(account.worker, aws_session_token="old-token-sekret")
        sentence = said(account, Who(old, endpoint=endpoint))
    assert "finds the credentials expired: renew aws_session_token" in sentence
    assert sentence.endswith(f" in {BLOCK}.")
    assert "sekret" not in sentence


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("KMS.NotFoundException", "Key 'arn:aws:kms:x' does not exist"),
        ("KMS.DisabledException", "arn:aws:kms:x is disabled."),
        ("AccessDenied", "User: u is not authorized to perform: kms:GenerateDataKey on resource: arn:aws:kms:x"),
    ],
)
def test_a_wrong_key_for_encryption_is_named_with_the_stack(account: Account, code: str, message: str) -> None:
    with wire(account.server.endpoint) as (proxy, endpoint):
        refusal = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        proxy.answer(http_answer("400 Bad Request", refusal), 10**6)
        sealed = {"encryption": "aws:kms", "kms_key": "arn:aws:kms:x"}
        sentence = said(account, Who(keys(account.worker), sealed, endpoint))
    assert "cannot use its key for encryption" in sentence
    assert "correct kms_key, or allow the credentials kms:GenerateDataKey" in sentence
    assert sentence.endswith(f" in {STACK}.")


# STS that is slow or busy


@pytest.mark.parametrize("mode", ["a role taken by keys", "a profile that takes a role"])
def test_sts_that_does_not_answer_is_given_up_and_may_be_asked_again(
    mode: str, account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where botocore asks by itself, for a profile."""
    write_profiles(tmp_path, account.worker)
    hurried = Config(connect_timeout=0.3, read_timeout=0.3, retries=blocks_s3.ASKING.retries)
    monkeypatch.setattr(blocks_s3, "ASKING", hurried)
    with wire(account.server.endpoint) as (proxy, endpoint):
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
        proxy.stall(10**6)
        started = time.monotonic()
        with pytest.raises(TransientError, match=f"did not answer.*{endpoint}.*correct endpoint_url .*in {BLOCK}"):
            Who(given(account, *MODES[mode])).lake(account).write("a", b"")
        assert time.monotonic() - started < 10
        assert proxy.connections == 3
        proxy.heal()
        Who(given(account, *MODES[mode])).lake(account).write("a", b"")


def test_credentials_are_waited_for_half_a_minute_at_most() -> None:
    patience, attempts = blocks_s3.ASKING, blocks_s3.ASKING.retries["total_max_attempts"]
    assert attempts * max(patience.connect_timeout, patience.read_timeout) <= 20


def test_sts_that_is_busy_is_asked_again(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    with wire(account.server.endpoint) as (proxy, endpoint):
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
        proxy.answer(http_answer("503 Service Unavailable", "", "text/xml"), 1)
        Who(keys(account.worker, **in_role())).lake(account).write("a", b"")
        assert proxy.made == 1

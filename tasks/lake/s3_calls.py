"""Requests to one bucket: sent with timeouts and bounded retries, and what goes wrong said in one sentence."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import boto3  # type: ignore[import-untyped]
from botocore import exceptions as aws  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from tasks.errors import LakeError, PipelineError, TransientError

_SECRETS = "aws_access_key_id and aws_secret_access_key, the profile or the role"
_REFUSALS: Mapping[str, tuple[str, str]] = {
    "NoSuchBucket": ("does not exist", "create the bucket or correct bucket_name"),
    "InvalidBucketName": ("has a name that S3 does not allow", "correct bucket_name"),
    "InvalidAccessKeyId": ("does not know the access key", f"correct {_SECRETS}"),
    "InvalidClientTokenId": ("does not know the access key", f"correct {_SECRETS}"),
    "UnrecognizedClientException": ("does not know the access key", f"correct {_SECRETS}"),
    "AuthFailure": ("does not know the access key", f"correct {_SECRETS}"),
    "SignatureDoesNotMatch": ("refuses the secret key", "correct aws_secret_access_key"),
    "InvalidToken": ("refuses the session token", "correct aws_session_token"),
    "RequestTimeTooSkewed": ("finds this machine's clock wrong", "set the clock"),
    "AuthorizationHeaderMalformed": ("is in another region", "correct region_name"),
    "IllegalLocationConstraintException": ("is in another region", "correct region_name"),
    "PermanentRedirect": ("is in another region", "correct region_name"),
}
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "403"})
_ABSENT = frozenset({"NoSuchKey", "404"})
# A 412 comes while a file is read that was replaced, NoSuchUpload if the answer to a completed upload was lost.
_PASSING = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout", "InternalError"}
    | {"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted", "NoSuchUpload"}
)
_NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.ProfileNotFound,
    aws.MetadataRetrievalError,
    aws.SSOError,
    aws.TokenRetrievalError,
)
_UNANSWERED = (aws.HTTPClientError, aws.ConnectionError, aws.IncompleteReadError, aws.FlexibleChecksumError)
_LONGEST_WAIT = 20.0  # seconds


@dataclass(frozen=True)
class S3Access:
    """How a bucket is reached.

    `session` returns a boto3.Session with the credentials, and is asked again when they have expired. `endpoint` is the
    URL of a store other than AWS. `encryption` is what the store encrypts with ("AES256", "aws:kms"; None: as the
    bucket is set up) and `kms_key` the key for that. `verify` is a file of certificates to trust. Timeouts are in
    seconds, `attempts` count per request. `block` is what errors call the place where all this is set, and `stack` that
    of the encryption and its key.
    """

    session: Callable[[], Any] = boto3.Session
    endpoint: str | None = None
    region: str | None = None
    encryption: str | None = None
    kms_key: str | None = None
    verify: str | bool | None = None
    connect_timeout: float = 5
    read_timeout: float = 30
    attempts: int = 4
    block: str = "the lake's block"
    stack: str = "the stack's block"

    @property
    def sealing(self) -> dict[str, str]:
        """The parameters of a write that ask for encryption."""
        chosen = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in chosen.items() if value}


class Bucket:
    """A bucket, or what lies under a prefix of it. Keys are relative to the prefix; threads may share it."""

    def __init__(self, name: str, prefix: str, access: S3Access) -> None:
        self.name, self.access = name, access
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._renewing = threading.Lock()
        with self._explained("open", ""):
            self._client = self._connected()

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.place("")

    def place(self, key: str) -> str:
        """Where the object `key` is, for people."""
        at = f" at {self.access.endpoint}" if self.access.endpoint else ""
        return f"s3://{self.name}/{self.prefix}{key}{at}"

    def console(self, key: str) -> str:
        """The page of AWS's console about the object `key`, or about all under a key that ends with a slash."""
        kind = "buckets" if key.endswith("/") else "object"
        return f"https://console.aws.amazon.com/s3/{kind}/{self.name}?prefix={quote(self.prefix + key, safe='/')}"

    def call(self, operation: str, key: str, **parameters: Any) -> dict[str, Any]:
        """Send a request about the object `key`; once more with new credentials if those in use have expired.

        Raises FileNotFoundError if there is no such object, TransientError if it may work later, LakeError if not.
        """
        return self._sent(operation, key, {"Key": self.prefix + key} | parameters)

    def delete(self, keys: list[str]) -> None:
        """Delete up to 1,000 objects at once."""
        objects = [{"Key": self.prefix + key} for key in keys]
        answer = self._sent("delete_objects", keys[0], {"Delete": {"Objects": objects, "Quiet": True}})
        for problem in answer.get("Errors", ()):
            key = problem["Key"].removeprefix(self.prefix)
            raise self._refused(problem["Code"], problem.get("Message", ""), 0, "DeleteObjects", key)

    def pages(self, prefix: str, *, after: str = "", delimited: bool = False) -> Iterator[dict[str, Any]]:
        """What lists the keys that begin with `prefix` and come after `after`, 1,000 to a page."""
        wanted: dict[str, Any] = {"Prefix": self.prefix + prefix}
        wanted |= {"StartAfter": self.prefix + after} if after else {}
        wanted |= {"Delimiter": "/"} if delimited else {}
        while True:
            page = self._sent("list_objects_v2", prefix, wanted)
            yield page
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def body(self, key: str, stream: Any, size: int) -> bytes:
        """Read from the body of an answer; TransientError if the connection broke."""
        with self._explained("GetObject", key):
            data: bytes = stream.read(size if size >= 0 else None)
            return data

    def wait(self, failures: int) -> None:
        """Wait before trying again after so many failures."""
        time.sleep(min(0.25 * 2**failures, _LONGEST_WAIT))

    def _sent(self, operation: str, key: str, parameters: dict[str, Any]) -> dict[str, Any]:
        with self._explained(operation, key):
            client = self._client
            try:
                return _answer(client, operation, self.name, parameters)
            except aws.ClientError as error:
                if error.response["Error"]["Code"] not in _EXPIRED:
                    raise
            return _answer(self._renewed(client), operation, self.name, parameters)

    def _renewed(self, expired: Any) -> Any:
        """A client with new credentials, made by the first thread that finds the old ones expired."""
        with self._renewing:
            if self._client is expired:
                self._client = self._connected()
            return self._client

    def _connected(self) -> Any:
        config = Config(
            connect_timeout=self.access.connect_timeout,
            read_timeout=self.access.read_timeout,
            retries={"mode": "standard", "total_max_attempts": self.access.attempts},
            # Checksums beyond what S3 requires are newer than many stores that speak its language.
            request_checksum_calculation="when_required" if self.access.endpoint else "when_supported",
            response_checksum_validation="when_required" if self.access.endpoint else "when_supported",
            max_pool_connections=20,
            s3={"addressing_style": "path"} if self.access.endpoint else None,
        )
        options = {"endpoint_url": self.access.endpoint, "region_name": self.access.region, "config": config}
        return self.access.session().client("s3", verify=self.access.verify, **options)

    @contextmanager
    def _explained(self, operation: str, key: str) -> Iterator[None]:
        try:
            yield
        except aws.ClientError as error:
            said, status = error.response["Error"], error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
            raise self._refused(said["Code"], said.get("Message", ""), status, error.operation_name, key) from error
        except _NO_CREDENTIALS as error:
            raise self._permanent(f"has no usable credentials to go with ({error})", f"correct {_SECRETS}") from error
        except _UNANSWERED as error:
            raise self._unanswered(operation, key, error) from error
        except aws.ParamValidationError as error:
            raise self._misspelt(error) from error
        except (aws.BotoCoreError, ValueError) as error:
            raise self._permanent(f"cannot be asked for {operation} ({error})", "correct that setting") from error

    def _refused(self, code: str, message: str, status: int, operation: str, key: str) -> Exception:
        if code in _ABSENT:
            return FileNotFoundError(f"{key} is not in {self.address}")
        if (status >= 500 and code != "NotImplemented") or status == 429 or code.removeprefix("KMS.") in _PASSING:
            return TransientError(f"{self.address} answered {operation} of {key!r} with {code} ({message}).")
        if code in _EXPIRED:
            return self._permanent("finds the credentials expired", f"renew aws_session_token, or {_SECRETS}")
        if code.startswith("KMS.") or (code in _DENIED and "kms:" in message):
            return self._without_key(code, message)
        what, remedy = _REFUSALS.get(code) or self._unforeseen(code, message, operation, key)
        return self._permanent(what, remedy)

    def _unforeseen(self, code: str, message: str, operation: str, key: str) -> tuple[str, str]:
        """What is wrong and what to do, by the operation."""
        if operation.startswith("AssumeRole"):
            remedy = (
                "correct assume_role_arn and assume_role_kwargs, or let its trust policy admit the credentials given"
            )
            return f"needs a role that could not be taken on ({code}: {message})", remedy
        if code in _DENIED:
            needs = "s3:ListBucket on the bucket and s3:GetObject, s3:PutObject and s3:DeleteObject on the prefix"
            return f"denied {operation} of {key!r}", f"allow its credentials {needs}, or correct them"
        return f"refused {operation} of {key!r} with {code} ({message})", "correct it"

    def _without_key(self, code: str, message: str) -> LakeError:
        """Of the key that encrypts, which is a setting of the stack."""
        remedy = "correct kms_key, or allow the credentials kms:GenerateDataKey and kms:Decrypt with it,"
        return self._permanent(f"cannot use its key for encryption ({code}: {message})", remedy, self.access.stack)

    def _misspelt(self, error: Exception) -> LakeError:
        """Of a parameter that is not even sent."""
        if "bucket name" in str(error):
            return self._permanent(*_REFUSALS["InvalidBucketName"])
        return self._permanent(f"cannot be asked ({' '.join(str(error).split())})", "correct that setting")

    def _unanswered(self, operation: str, key: str, error: Exception) -> PipelineError:
        if isinstance(error, aws.SSLError) and "CERTIFICATE_VERIFY" in str(error):
            return self._permanent(
                f"shows a certificate that is not trusted ({error})", "correct endpoint_url or verify"
            )
        what = f"{operation} of {key!r}" if key else operation
        return TransientError(
            f"{self.address} did not answer {what} ({error}); if it lasts, let this machine reach that address, or "
            f"correct endpoint_url and region_name in {self.access.block}."
        )

    def _permanent(self, what: str, remedy: str, block: str = "") -> LakeError:
        where = block or self.access.block
        return LakeError(f"The lake's bucket {self.name!r} ({self.address}) {what}: {remedy} in {where}.")


def code_of(error: PipelineError) -> str:
    """What the store called the error; empty if it is none of the store's."""
    said = error.__cause__
    return str(said.response["Error"]["Code"]) if isinstance(said, aws.ClientError) else ""


def _answer(client: Any, operation: str, bucket: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = getattr(client, operation)(Bucket=bucket, **parameters)
    return answer

"""S3Bucket as a lake; imported only for a stack whose lake is in S3."""

import threading
from functools import partial

import boto3
from botocore import exceptions as aws
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.session import Session
from prefect_aws import AwsCredentials, MinIOCredentials, S3Bucket

from tasks.lake.s3 import S3Lake
from tasks.lake.s3_calls import S3Access

ASKING = Config(connect_timeout=5, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
"""How credentials are asked for, at STS for one: it answers in milliseconds, so 20 s of silence are enough."""

_opened: dict[tuple[str | None, ...], tuple[S3Bucket, S3Lake]] = {}
_opening = threading.Lock()


def lake(block: S3Bucket, encryption: str | None, kms_key: str | None, name: str, stack: str) -> S3Lake:
    """The lake in the bucket and folder of a block.

    `name` is what errors call the block, and `stack` that of the stack, which says how the lake is encrypted. The lake
    is kept for the life of the process and until the block is changed: boto3 takes 0.3 s to make a client, and a run
    has dozens of tasks. Credentials that expire are renewed, so an assumed role outlives its hour.
    """
    place = (name, block.bucket_name, block.bucket_folder, encryption, kms_key)
    with _opening:
        known, found = _opened.get(place, (None, None))
        if found is None or known != block:
            access = _access(block, encryption, kms_key, name, stack)
            found = S3Lake(block.bucket_name, block.bucket_folder, access=access)
            _opened[place] = block, found
        return found


def session(credentials: AwsCredentials | MinIOCredentials) -> boto3.Session:
    """A session that renews the credentials that expire, and asks for them with our timeouts.

    Prefect's own session of an assumed role has its keys of an hour and no way to new ones, and waits for STS up to a
    minute five times.
    """
    if isinstance(credentials, MinIOCredentials):
        return credentials.get_boto3_session()
    core = Session()
    core.set_default_client_config(ASKING)
    secret = credentials.aws_secret_access_key
    given = boto3.Session(
        aws_access_key_id=credentials.aws_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        aws_session_token=credentials.aws_session_token,
        region_name=credentials.region_name,
        profile_name=credentials.profile_name,
        botocore_session=core,
    )
    return _in_role(given, core, credentials) if credentials.assume_role_arn else given


class _AssumedRole(CredentialProvider):
    """Gives credentials that are asked of STS when they are first needed, and again before they expire."""

    METHOD = "assume-role"

    def __init__(self, fetcher: AssumeRoleCredentialFetcher) -> None:
        super().__init__()
        self._fetcher = fetcher

    def load(self) -> DeferredRefreshableCredentials:
        """Credentials that STS has not been asked for yet."""
        return DeferredRefreshableCredentials(self._fetcher.fetch_credentials, self.METHOD)


def _in_role(given: boto3.Session, core: Session, credentials: AwsCredentials) -> boto3.Session:
    source = given.get_credentials()
    if source is None:
        raise aws.NoCredentialsError
    fetcher = AssumeRoleCredentialFetcher(
        core.create_client,
        source,
        credentials.assume_role_arn,
        extra_args=credentials.assume_role_kwargs.get_params_override(),
        mfa_prompter=lambda _: credentials.assume_role_kwargs.TokenCode or "",  # nobody is there to type one
    )
    role = Session()
    role.register_component("credential_provider", CredentialResolver([_AssumedRole(fetcher)]))
    return boto3.Session(botocore_session=role, region_name=given.region_name)


def _access(block: S3Bucket, encryption: str | None, kms_key: str | None, name: str, stack: str) -> S3Access:
    parameters = block.credentials.aws_client_parameters
    return S3Access(
        session=partial(session, block.credentials),
        endpoint=parameters.endpoint_url,
        region=block.credentials.region_name,
        encryption=encryption,
        kms_key=kms_key,
        verify=str(parameters.verify_cert_path) if parameters.verify_cert_path else parameters.verify,
        block=name,
        stack=stack,
    )

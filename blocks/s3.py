"""S3Bucket as a lake; imported only for a stack whose lake is in S3."""

import threading

from prefect_aws import S3Bucket

from tasks.lake.s3 import S3Lake
from tasks.lake.s3_calls import S3Access

_opened: dict[tuple[str | None, ...], tuple[S3Bucket, S3Lake]] = {}
_opening = threading.Lock()


def lake(block: S3Bucket, encryption: str | None, kms_key: str | None, name: str) -> S3Lake:
    """The lake in the bucket and folder of the block that errors call `name`.

    It is kept for the life of the process and until the block is changed: boto3 takes 0.3 s to make a client, and a run
    has dozens of tasks. The credentials are asked for again when they have expired, so an assumed role outlives its
    hour.
    """
    place = (name, block.bucket_name, block.bucket_folder, encryption, kms_key)
    with _opening:
        known, found = _opened.get(place, (None, None))
        if found is None or known != block:
            found = S3Lake(block.bucket_name, block.bucket_folder, access=_access(block, encryption, kms_key, name))
            _opened[place] = block, found
        return found


def _access(block: S3Bucket, encryption: str | None, kms_key: str | None, name: str) -> S3Access:
    parameters = block.credentials.aws_client_parameters
    return S3Access(
        session=block.credentials.get_boto3_session,
        endpoint=parameters.endpoint_url,
        region=block.credentials.region_name,
        encryption=encryption,
        kms_key=kms_key,
        verify=str(parameters.verify_cert_path) if parameters.verify_cert_path else parameters.verify,
        block=name,
    )

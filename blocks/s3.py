"""S3Bucket as a lake; imported only for a stack whose lake is in S3."""

from prefect_aws import S3Bucket

from tasks.lake.s3 import S3Lake
from tasks.lake.s3_calls import S3Access


def lake(block: S3Bucket, encryption: str | None, kms_key: str | None, name: str) -> S3Lake:
    """The lake in the bucket and folder of the block that errors call `name`.

    The credentials are asked for again when they have expired, so an assumed role outlives its hour.
    """
    parameters = block.credentials.aws_client_parameters
    access = S3Access(
        session=block.credentials.get_boto3_session,
        endpoint=parameters.endpoint_url,
        region=block.credentials.region_name,
        encryption=encryption,
        kms_key=kms_key,
        verify=str(parameters.verify_cert_path) if parameters.verify_cert_path else parameters.verify,
        block=name,
    )
    return S3Lake(block.bucket_name, block.bucket_folder, access=access)

"""Create the bucket of a store that has none yet, such as compose.yaml's; `python -m flows.bucket`.

It reads the variables that `blocks.register` reads. In a cloud, a bucket is made with its policies, by hand.
"""

from typing import Any

from blocks import settings
from flows.cli import CONSOLE, said_in_one_sentence
from tasks.errors import LakeError


def main() -> None:
    """Create the bucket that the environment names, unless it is there; `LakeError` if the store refuses it."""
    from botocore.exceptions import BotoCoreError, ClientError

    wanted = settings.read()[settings.S3]
    try:
        made = _create(_store(wanted), wanted.bucket)
    except (BotoCoreError, ClientError) as error:
        raise LakeError(f"The bucket {wanted.bucket} could not be made at {wanted.endpoint}: {error}.") from error
    CONSOLE.print(f"The bucket {wanted.bucket} {'was made' if made else 'is there'}.")


def _store(wanted: settings.S3) -> Any:
    import boto3

    secret = wanted.secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=wanted.endpoint,
        region_name=wanted.region,
        aws_access_key_id=wanted.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
    )


def _create(store: Any, bucket: str) -> bool:
    """Create a bucket, and whether there was none: stores differ in what they answer who makes one again."""
    from botocore.exceptions import ClientError

    try:
        store.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        store.create_bucket(Bucket=bucket)
        return True
    return False


if __name__ == "__main__":
    with said_in_one_sentence():
        main()

"""Create the bucket of a store that has none yet, such as compose.yaml's; `python -m flows.bucket`.

It reads the variables that `blocks.register` reads. In a cloud, a bucket is made with its policies, by hand.
"""

from flows.cli import CONSOLE, said_in_one_sentence


def main() -> None:
    """Create the bucket that the environment names, unless it is there."""
    import boto3
    from botocore.exceptions import ClientError

    from blocks import settings
    from blocks.s3 import ASKING

    wanted = settings.S3()
    secret = wanted.secret_access_key
    store = boto3.client(
        "s3",
        endpoint_url=wanted.endpoint,
        region_name=wanted.region,
        aws_access_key_id=wanted.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=ASKING,
    )
    try:
        store.create_bucket(Bucket=wanted.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    CONSOLE.print(f"The bucket {wanted.bucket} is there.")


if __name__ == "__main__":
    with said_in_one_sentence():
        main()

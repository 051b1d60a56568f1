"""The bucket of a store that has none yet."""

import pytest

from flows.bucket import main
from tasks.errors import LakeError
from tests.s3_server import KEY, SECRET, S3Server


@pytest.fixture(autouse=True)
def settings(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ECOMMERCE_SOURCE": "embedded",
        "ECOMMERCE_WAREHOUSE": "duckdb",
        "ECOMMERCE_S3_BUCKET": "of-a-team",
        "ECOMMERCE_S3_ENDPOINT": s3.endpoint,
        "ECOMMERCE_S3_REGION": "us-east-1",
        "ECOMMERCE_S3_ACCESS_KEY_ID": KEY,
        "ECOMMERCE_S3_SECRET_ACCESS_KEY": SECRET,
    }.items():
        monkeypatch.setenv(name, value)


def test_the_bucket_is_made_once(s3: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    main()
    main()
    assert capsys.readouterr().out == "The bucket of-a-team was made.\nThe bucket of-a-team is there.\n"
    assert "of-a-team" in [bucket["Name"] for bucket in s3.client().list_buckets()["Buckets"]]


def test_a_store_that_does_not_answer_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOMMERCE_S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(LakeError, match=r"of-a-team could not be made at http://127\.0\.0\.1:9: Could not connect"):
        main()

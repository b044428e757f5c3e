"""The object store client with a real S3 server."""

import hashlib
import io

import httpx
import pytest
from botocore.exceptions import ClientError

from service.core.object_store import PART_BYTES, ObjectStore
from service.core.settings import Settings
from service.local.object_store import ObjectStore as LocalStore
from service.local.ports import LOOPBACK
from tests.suites.chaos.proxy import Proxy


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore(settings)


def test_prepare_creates_bucket_and_lifecycle_rules(settings: Settings) -> None:
    fresh = settings.model_copy(update={"s3_bucket": "made-anew", "retention_seconds": 2 * 86_400})
    store = ObjectStore(fresh)
    with pytest.raises(ClientError):
        store.ping()
    for _ in range(2):  # idempotent
        store.prepare()
        store.ping()
    rules = store.client.get_bucket_lifecycle_configuration(Bucket="made-anew")["Rules"]
    enabled = [rule for rule in rules if rule["Status"] == "Enabled"]
    days = {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in enabled if "Expiration" in rule}
    assert days["jobs/"] == 8  # a day more than the longest `expires_in`
    assert set(days) == {"jobs/", "uploads/"}


@pytest.mark.parametrize("size", [0, 1, PART_BYTES + 1, 3 * PART_BYTES])
def test_stored_objects_can_be_read_back(store: ObjectStore, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    store.put("jobs/t/file", io.BytesIO(data[:size]), "application/x-npz")
    back = io.BytesIO()
    assert store.get("jobs/t/file", back) == hashlib.sha256(data[:size]).hexdigest()
    assert back.getvalue() == data[:size]
    headers, status, chunks = store.open("jobs/t/file", None)
    assert (status, headers["Content-Type"]) == (200, "application/x-npz")
    assert b"".join(chunks) == data[:size]


def test_a_part_may_take_longer_than_other_requests(settings: Settings, object_store: LocalStore) -> None:
    """Over a slow line it is on its way for as long, although the store is silent meanwhile."""
    line = Proxy(object_store.port)
    line.start()
    try:
        url = f"http://{LOOPBACK}:{line.port}"
        store = ObjectStore(settings.model_copy(update={"s3_endpoint_url": url}), timeout=0.5, attempts=1)
        line.slow(4e6)
        store.put("jobs/t/large", io.BytesIO(bytes(PART_BYTES + 1)), "application/x-npz")
        assert store.size("jobs/t/large") == PART_BYTES + 1
    finally:
        line.stop()


def test_presigned_url_is_limited_to_one_file(store: ObjectStore) -> None:
    store.put("jobs/t/mine", io.BytesIO(b"mine"), "text/plain")
    store.put("jobs/t/other", io.BytesIO(b"other"), "text/plain")
    url = store.presign("jobs/t/mine", "mine.txt", 60)
    answer = httpx.get(url, trust_env=False)
    assert answer.content == b"mine"
    assert answer.headers["content-disposition"] == 'attachment; filename="mine.txt"'
    assert httpx.get(url.replace("/mine?", "/other?"), trust_env=False).status_code == 403
    assert httpx.get(url.partition("?")[0], trust_env=False).status_code == 403


def test_presigned_urls_use_the_public_endpoint(settings: Settings) -> None:
    public = settings.model_copy(update={"s3_public_endpoint_url": "https://files.example"})
    assert (
        ObjectStore(public)
        .presign("jobs/t/mine", "m", 60)
        .startswith("https://files.example/oflow/jobs/t/mine?")
    )

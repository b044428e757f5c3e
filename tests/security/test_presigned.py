"""Presigned URLs and forms are limited to one object, one operation and a limited time."""

import hashlib
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest

from service.api.dependencies import GatewayContext
from service.api.uploads import TooManyUploads
from service.core.settings import Settings
from service.local.object_store import ObjectStore
from tests.security.caller import Caller

FILE = b"the file of a job"
FULL = {"Signature": "0" * 64, "Expires": "604800", "Date": "20300101T000000Z"}


@pytest.fixture(scope="module")
def context(settings: Settings) -> GatewayContext:
    context = GatewayContext(settings)
    for key in ("jobs/one/attempt-1/a.glb", "jobs/two/attempt-1/a.glb"):
        context.store.put(key, io.BytesIO(FILE), "model/gltf-binary")
    return context


@pytest.fixture(scope="module")
def address(context: GatewayContext) -> str:
    return context.store.presign("jobs/one/attempt-1/a.glb", "a.glb", 600)


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False)


def changed(url: str, **parameters: str) -> str:
    split = urlsplit(url)
    query = {name.removeprefix("X-Amz-"): name for name, _ in parse_qsl(split.query)}
    values = dict(parse_qsl(split.query)) | {query.get(name, name): v for name, v in parameters.items()}
    return urlunsplit(split._replace(query=urlencode(values)))


def test_presigned_result_is_an_attachment(address: str) -> None:
    found = get(address)
    assert (found.status_code, found.content) == (200, FILE)
    assert found.headers["content-disposition"] == 'attachment; filename="a.glb"'


def test_tampered_presigned_url_is_refused(address: str) -> None:
    disposition = {"response-content-disposition": "inline"}
    tampered = [
        address.replace("jobs/one", "jobs/two"),
        address.replace("jobs/one", "jobs/one/../two"),
        *(changed(address, **{name: value}) for name, value in FULL.items()),
        changed(address, **disposition),
        changed(address, **{"response-content-type": "text/html"}),
        re.sub("X-Amz-Signature=[0-9a-f]+", "", address),
        address.partition("?")[0],
        address.partition("?")[0].rpartition("/jobs/")[0] + "?list-type=2",
    ]
    for url in tampered:
        response = get(url)
        assert response.status_code in (400, 403, 404), url
        assert FILE not in response.content


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_presigned_download_cannot_write(address: str, method: str) -> None:
    assert httpx.request(method, address, content=b"mine", trust_env=False).status_code >= 400
    assert get(address).content == FILE


def test_presigned_url_expires_with_the_job(context: GatewayContext) -> None:
    url = context.store.presign("jobs/one/attempt-1/a.glb", "a.glb", 2)
    assert get(url).status_code == 200
    _wait_until_refused(lambda: get(url))
    assert "X-Amz-Expires=1&" in context.store.presign("jobs/one/attempt-1/a.glb", "a.glb", -5) + "&"
    limit = context.store.download_seconds
    assert f"X-Amz-Expires={limit}&" in context.store.presign("jobs/one/attempt-1/a.glb", "a", 10**7) + "&"


def test_presigned_url_of_a_deleted_file_is_404(context: GatewayContext) -> None:
    context.store.put("jobs/three/attempt-1/a.glb", io.BytesIO(FILE), "model/gltf-binary")
    url = context.store.presign("jobs/three/attempt-1/a.glb", "a.glb", 600)
    assert get(url).status_code == 200
    context.store.delete_all("jobs/three/")
    assert get(url).status_code == 404


def post(form: Any, file: bytes, **changes: str) -> httpx.Response:
    return httpx.post(
        form["url"], data=form["fields"] | changes, files={"file": ("a", file)}, trust_env=False
    )


def test_form_of_another_upload_is_refused(mine: Caller, yours: Caller, context: GatewayContext) -> None:
    """Combining fields of two valid forms does not help either."""
    one, two = (caller.send("POST", "/uploads").json() for caller in (mine, yours))
    for name in ("key", "policy", "x-amz-signature"):
        assert post(one, b"x", **{name: two["fields"][name]}).status_code == 403
    assert post(one, b"x", **{"x-amz-signature": "0" * 64}).status_code == 403
    assert post(one, b"x", **{"x-amz-date": "20300101T000000Z"}).status_code == 403
    assert post(one, b"x", key=one["fields"]["key"] + "/../../jobs/one/input").status_code in (400, 403)
    assert {context.store.size(f"uploads/{upload['upload_id']}") for upload in (one, two)} == {None}


@pytest.mark.parametrize("field", ["success_action_redirect", "redirect"])
def test_form_does_not_redirect(mine: Caller, field: str) -> None:
    form = mine.send("POST", "/uploads").json()
    answer = post(form, b"x", **{field: "https://elsewhere.example/"})
    assert answer.status_code == 403
    assert "location" not in answer.headers
    kept = {name: value for name, value in form["fields"].items() if name != field}
    assert (
        post(form | {"fields": kept}, b"x", **{field.upper(): "https://elsewhere.example/"}).status_code
        >= 400
    )
    assert post(form, b"x").is_success


def test_upload_of_another_caller_is_not_found(
    mine: Caller, yours: Caller, sample: bytes, any_model: str
) -> None:
    upload = mine.send("POST", "/uploads").json()
    assert post(upload, sample).is_success
    body = {"upload_id": upload["upload_id"], "model": any_model}
    refused = yours.send("POST", "/reconstruct", json=body)
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    unknown = yours.send("POST", "/reconstruct", json=body | {"upload_id": "0" * 32})
    assert unknown.json()["detail"].replace("0" * 32, upload["upload_id"]) == refused.json()["detail"]
    assert mine.send("POST", "/reconstruct", json=body).status_code == 202


def test_reposting_an_upload_does_not_change_existing_jobs(
    mine: Caller, sample: bytes, any_model: str, object_store: ObjectStore, context: GatewayContext
) -> None:
    upload = mine.send("POST", "/uploads").json()
    post(upload, sample).raise_for_status()
    body = {"upload_id": upload["upload_id"], "model": any_model}
    job = mine.send("POST", "/reconstruct", json=body).json()
    post(upload, b"another file").raise_for_status()
    stored = io.BytesIO()
    assert context.store.get(f"jobs/{job['id']}/input", stored) == hashlib.sha256(sample).hexdigest()
    assert job["input"]["sha256"] == hashlib.sha256(sample).hexdigest()
    now = mine.send("POST", "/reconstruct", json=body)
    assert (now.status_code, now.json()["code"]) == (415, "unsupported_media")  # validated again


def test_presigned_form_expires(context: GatewayContext, sample: bytes) -> None:
    _, form = context.uploads.create("open", 2, 10_000_000)
    assert post(vars(form), sample).is_success
    _wait_until_refused(lambda: post(vars(form), sample))


def _wait_until_refused(ask: Any) -> None:
    end = time.monotonic() + 20
    while ask().status_code != 403:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_pending_uploads_are_limited_per_key(context: GatewayContext, yours: Caller) -> None:
    """Uploads count until they expire, even under concurrent requests."""

    def create(_: int) -> bool:
        try:
            context.uploads.create("greedy", 3, 1000, 3)
        except TooManyUploads:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(12))) <= 3  # concurrent requests see each other
    while create(0):
        pass
    context.uploads.create("modest", 3, 1000, 3)
    end = time.monotonic() + 20
    while not create(0):
        assert time.monotonic() < end
        time.sleep(0.1)
    limit = context.settings.open_uploads
    redis = context.redis
    redis.zadd(f"oflow:uploads:{yours.key.id}", {str(n): time.time() + 60 for n in range(limit)})
    refused = yours.send("POST", "/uploads")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_uploads")
    assert int(refused.headers["retry-after"]) > 0
    redis.delete(f"oflow:uploads:{yours.key.id}")
    assert yours.send("POST", "/uploads").status_code == 201

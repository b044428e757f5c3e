"""Direct uploads of large files to the object store."""

import asyncio
import hashlib
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from service.api.background.retention import expire_uploads
from service.api.dependencies import GatewayContext
from service.client import AsyncClient, Client
from service.core.jobs.record import State
from service.core.jobs.store import JobStore
from service.core.jobs.views import JobView
from service.core.settings import Settings
from service.local.object_store import ObjectStore
from tests.integration.service_processes import Gateway, running


def begin(gateway: Gateway) -> dict[str, Any]:
    response = gateway.client.post("/uploads")
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


def send(upload: dict[str, Any], file: bytes, **changed: str) -> httpx.Response:
    form = upload["fields"] | changed
    return httpx.post(upload["url"], data=form, files={"file": ("a.npz", file)}, trust_env=False)


def test_upload_can_be_submitted_repeatedly(gateway: Gateway, any_model: str, sample: bytes) -> None:
    upload = begin(gateway)
    assert send(upload, sample).is_success
    body = {
        "upload_id": upload["upload_id"],
        "model": any_model,
        "formats": ["glb", "obj"],
        "metadata": {"n": [1]},
    }
    first, second = (gateway.client.post("/reconstruct", json=body) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202), first.text
    assert first.json()["id"] != second.json()["id"]
    direct = gateway.submit(sample, model=any_model)
    direct["input"].pop("name")  # of the file in the form; the store has no names
    assert first.json()["input"] == direct["input"]
    assert first.json()["options"]["formats"] == ["glb", "obj"]
    assert first.json()["metadata"] == {"n": [1]}


def test_repeated_request_does_not_need_the_upload(
    gateway: Gateway, any_model: str, sample: bytes, object_store: ObjectStore
) -> None:
    upload = begin(gateway)
    send(upload, sample)
    body = {"upload_id": upload["upload_id"], "model": any_model}
    key = {"Idempotency-Key": secrets.token_hex()}
    first = gateway.client.post("/reconstruct", json=body, headers=key)
    object_store.client().delete_object(Bucket=object_store.bucket, Key=f"uploads/{upload['upload_id']}")
    again = gateway.client.post("/reconstruct", json=body, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    gone = gateway.client.post("/reconstruct", json=body)
    assert (gone.status_code, gone.json()["code"]) == (409, "upload_missing")


def test_presigned_form_is_limited_to_its_key(gateway: Gateway, any_model: str, settings: Settings) -> None:
    upload = begin(gateway)
    assert upload["max_bytes"] == settings.max_upload_bytes
    elsewhere = send(upload, b"x", key="uploads/mine")
    tampered = send(upload, b"x", policy=upload["fields"]["policy"][:-8] + "AAAAAAAA")
    empty = send(upload, b"")
    assert [response.status_code for response in (elsewhere, tampered)] == [403, 403]
    assert empty.status_code in (400, 403)
    body = {"upload_id": upload["upload_id"], "model": any_model}
    missing = gateway.client.post("/reconstruct", json=body)
    assert (missing.status_code, missing.json()["code"]) == (409, "upload_missing")


def test_presigned_form_enforces_the_size_limit(settings: Settings) -> None:
    context = GatewayContext(settings)
    _, form = context.uploads.create("open", 60, 1000)
    for size, accepted in ((1000, True), (1001, False)):
        response = httpx.post(form.url, data=form.fields, files={"file": ("a", bytes(size))}, trust_env=False)
        assert response.is_success is accepted


def test_too_large_an_upload_is_refused_before_it_is_sent(gateway: Gateway, settings: Settings) -> None:
    response = gateway.client.post("/uploads", json={"bytes": settings.max_upload_bytes + 1})
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("size", [True, "7", 1.5, 0, [], {}])
def test_a_size_is_a_whole_number(gateway: Gateway, size: Any) -> None:
    answer = gateway.client.post("/uploads", json={"bytes": size})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "bytes" in answer.json()["errors"][0]["key"]
    assert gateway.client.post("/uploads", json={"bytes": 7.0}).status_code == 201


def test_upload_by_put(server_env: dict[str, str], any_model: str, sample: bytes, tmp_path: Path) -> None:
    """For stores without presigned forms. The size is signed, since PUT has no range of sizes."""
    source = tmp_path / "sample.npz"
    source.write_bytes(sample)
    with running(Gateway(server_env | {"OFLOW_UPLOAD_METHOD": "put"})) as gateway:
        unknown = gateway.client.post("/uploads")
        assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid_request")
        assert [fault["key"] for fault in unknown.json()["errors"]] == ["bytes"]
        upload = gateway.client.post("/uploads", json={"bytes": len(sample)}).json()
        assert (upload["method"], upload["fields"]) == ("PUT", {})
        assert upload["headers"] == {"Content-Length": str(len(sample))}

        def put(content: bytes, to: str = upload["upload_id"], **headers: str) -> int:
            url = upload["url"].replace(upload["upload_id"], to)
            return httpx.put(url, content=content, headers=headers, trust_env=False).status_code

        assert put(sample[:-1]) == put(sample + b"x") == put(b"") == 403
        assert put(sample, to="0" * 32) == 403
        assert put(sample, **{"x-amz-copy-source": "/oflow/jobs/one/input"}) == 403
        body = {"upload_id": upload["upload_id"], "model": any_model}
        assert gateway.client.post("/reconstruct", json=body).json()["code"] == "upload_missing"
        assert put(sample) == 200
        first = gateway.client.post("/reconstruct", json=body).json()
        address = str(gateway.client.base_url)
        with Client(address, upload_above=0) as client:
            second = client.reconstruct(source, model=any_model)

        async def reconstruct() -> JobView:
            async with AsyncClient(address, upload_above=0) as client:
                return await client.reconstruct(source, model=any_model)

        third = asyncio.run(reconstruct())
        assert {first["input"]["sha256"], second.input.sha256, third.input.sha256} == {
            hashlib.sha256(sample).hexdigest()
        }


@pytest.mark.parametrize(
    ("body", "status", "code", "key"),
    [
        ({"upload_id": "f" * 32}, 404, "not_found", None),
        ({}, 422, "invalid_options", "upload_id"),
        ({"upload_id": 7}, 422, "invalid_options", "upload_id"),
        ({"upload_id": "f" * 32, "resolutoin": 64}, 422, "invalid_options", "resolutoin"),
        ({"upload_id": "f" * 32, "frames": 1}, 422, "invalid_options", "frames"),
        ({"upload_id": "f" * 32, "metadata": {"a": "\ud800"}}, 400, "bad_request", None),
        ([], 400, "bad_request", None),
    ],
)
def test_invalid_json_bodies_are_refused(
    gateway: Gateway, any_model: str, body: Any, status: int, code: str, key: str | None
) -> None:
    options = {"model": any_model} if isinstance(body, dict) else []
    import json

    response = gateway.client.post(
        "/reconstruct",
        content=json.dumps(options | body if options else body),
        headers={"Content-Type": "application/json"},
    )
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    if key is not None:
        assert [fault["key"] for fault in response.json()["errors"]] == [key]


def test_upload_is_validated_on_submission(gateway: Gateway, any_model: str) -> None:
    upload = begin(gateway)
    send(upload, b"hello")
    body = {"upload_id": upload["upload_id"], "model": any_model}
    response = gateway.client.post("/reconstruct", json=body)
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media")


def test_expired_upload_is_deleted(settings: Settings, sample: bytes) -> None:
    context = GatewayContext(settings)
    upload, form = context.uploads.create("open", 60, 10_000_000)
    httpx.post(form.url, data=form.fields, files={"file": ("a", sample)}, trust_env=False).raise_for_status()
    assert context.uploads.get(upload.id, "open") == upload
    assert context.uploads.get(upload.id, "somebody else") is None
    expire_uploads(context)
    assert context.store.size(upload.key) == len(sample)
    context.redis.zadd(context.uploads.expiry, {upload.id: time.time() - 1})
    expire_uploads(context)
    assert context.store.size(upload.key) is None
    assert context.redis.zscore(context.uploads.expiry, upload.id) is None


def test_an_upload_in_progress_outlives_a_graceful_stop(
    server_env: dict[str, str], any_model: str, sample: bytes, jobs: JobStore
) -> None:
    """A deployment stops the gateway with SIGTERM; others answer new requests meanwhile."""
    with running(Gateway(server_env)) as gateway:
        size = len(sample) // 10 + 1

        def slowly() -> Iterator[bytes]:
            for start in range(0, len(sample), size):
                if start == 2 * size:
                    psutil.Process(gateway.pid).send_signal(signal.SIGTERM)
                time.sleep(0.5)
                yield sample[start : start + size]

        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(sample))}
        answer = gateway.client.post(f"/reconstruct?model={any_model}", content=slowly(), headers=headers)
        assert answer.status_code == 202, answer.text
        end = time.monotonic() + 5
        while gateway.is_running:
            assert time.monotonic() < end
            time.sleep(0.05)
    job = jobs.get(answer.json()["id"])
    assert job is not None
    assert job.state is State.QUEUED
    jobs.cancel(job.id)

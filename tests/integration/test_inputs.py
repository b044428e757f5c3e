"""`/jobs/{id}/input`: the points of a job, in every state but `expired`."""

import io
import zipfile
from hashlib import sha256
from typing import Any

import pytest

from service.api.dependencies import GatewayContext
from service.core.jobs.store import JobStore
from service.core.sequences.sequence import read_sequence
from service.core.settings import Settings
from tests.integration.service_processes import Gateway


@pytest.fixture(scope="module")
def context(settings: Settings) -> GatewayContext:
    return GatewayContext(settings)


def test_input_is_the_upload_byte_for_byte(gateway: Gateway, queued: dict[str, Any], sample: bytes) -> None:
    href = queued["links"]["input"]
    whole = gateway.client.get(href)
    assert whole.status_code == 200
    assert whole.content == sample
    assert whole.headers["etag"] == f'"{sha256(sample).hexdigest()}"'
    assert whole.headers["content-disposition"].startswith(f'attachment; filename="oflow-{queued["id"][:8]}')
    head = gateway.client.head(href)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "content-disposition", "accept-ranges"):
        assert head.headers[name] == whole.headers[name], name


def test_input_supports_ranges_and_conditions(
    gateway: Gateway, queued: dict[str, Any], sample: bytes
) -> None:
    href = f"/jobs/{queued['id']}/input"
    part = gateway.client.get(href, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, sample[10:20])
    beyond = gateway.client.get(href, headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    for method in ("GET", "HEAD"):
        known = gateway.client.request(method, href, headers={"If-None-Match": part.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")


def test_several_files_come_back_as_one_npz(gateway: Gateway, any_model: str) -> None:
    frames = ["".join(f"{x / 7} {x % 7} {t}\n" for x in range(40)) for t in range(3)]
    parts = [("file", (f"f{t}.xyz", text.encode())) for t, text in enumerate(frames)]
    response = gateway.client.post("/reconstruct", files=parts, data={"model": any_model})
    assert response.status_code == 202, response.text
    content = gateway.client.get(f"/jobs/{response.json()['id']}/input").content
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["points.npy"]
    points = read_sequence(io.BytesIO(content)).points
    assert [cloud.shape for cloud in points] == [(40, 3)] * 3


def test_input_goes_with_the_files_of_the_job(
    gateway: Gateway, queued: dict[str, Any], jobs: JobStore, context: GatewayContext, sample: bytes
) -> None:
    href = f"/jobs/{queued['id']}/input"
    assert gateway.client.delete(f"/jobs/{queued['id']}").json()["state"] == "canceled"
    assert gateway.client.get(href).content == sample
    assert gateway.client.delete(f"/jobs/{queued['id']}").json()["state"] == "expired"
    gone = gateway.client.get(href)
    assert (gone.status_code, gone.json()["code"]) == (410, "job_expired")
    assert gateway.client.head(href).status_code == 410


def test_lost_input_is_told(gateway: Gateway, queued: dict[str, Any], context: GatewayContext) -> None:
    context.store.delete(f"jobs/{queued['id']}/input")
    lost = gateway.client.get(f"/jobs/{queued['id']}/input")
    assert (lost.status_code, lost.json()["code"]) == (410, "input_lost")

"""Invalid requests and their error responses."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.core.jobs.options import Options
from tests.integration.service_processes import Gateway, Worker

RNG = np.random.default_rng(0)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def cloud(frames: int = 17, points: int = 64) -> Any:
    return RNG.random((frames, points, 3), dtype=np.float32)


def with_nan() -> Any:
    points = cloud()
    points[3, 5, 1] = np.nan
    return points


REFUSED_FILES = {
    "not an archive": (b"hello", 415, "unsupported_media", None),
    "empty": (b"", 415, "unsupported_media", None),
    "no points": (npz(cloud=cloud()), 422, "invalid_sequence", "points"),
    "a key too many": (npz(points=cloud(), weights=cloud()), 422, "invalid_sequence", "weights"),
    "wrong rank": (npz(points=cloud()[0, 0]), 422, "invalid_sequence", "points"),
    "integers": (npz(points=np.zeros((17, 64, 3), int)), 422, "invalid_sequence", "points"),
    "not a number": (npz(points=with_nan()), 422, "invalid_sequence", "points"),
    "one frame": (npz(points=cloud(1)), 422, "invalid_sequence", "points"),
    "few points": (npz(points=cloud(17, 31)), 422, "invalid_sequence", "points"),
    "all in one place": (npz(points=np.ones((17, 64, 3), np.float32)), 422, "invalid_sequence", "points"),
    "times that stand still": (npz(points=cloud(), times=np.zeros(17)), 422, "invalid_sequence", "times"),
}


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check an error response, which must not leak internals, and return its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"]
    assert body["detail"]
    for inside in ("Traceback", str(Path.cwd()), "site-packages", ".py"):
        assert inside not in response.text
    return body


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_invalid_files_are_refused(gateway: Gateway, worker: Worker, name: str) -> None:
    file, status, code, key = REFUSED_FILES[name]
    body = problem(gateway.client.post("/reconstruct", files={"file": ("a.npz", file)}), status, code)
    if key is not None:
        assert key in {fault["key"] for fault in body["errors"]}
    assert all(fault["message"] for fault in body["errors"])


def test_nan_is_located_by_frame_and_row(gateway: Gateway, worker: Worker) -> None:
    response = gateway.client.post("/reconstruct", files={"file": ("a.npz", npz(points=with_nan()))})
    (fault,) = response.json()["errors"]
    text = " ".join(fault.values())
    assert "frame 3" in text
    assert "row 5" in text


def test_all_option_faults_are_reported_at_once(gateway: Gateway, worker: Worker, sample: bytes) -> None:
    options = {"resolution": "9", "colour": "none", "formats": "fbx"}
    response = gateway.client.post("/reconstruct", files={"file": ("a.npz", sample)}, data=options)
    body = problem(response, 422, "invalid_options")
    assert {fault["key"] for fault in body["errors"]} == {"resolution", "colour", "formats"}


@pytest.mark.parametrize("option", [{"frames": "300"}, {"fps": "1000"}])
def test_too_many_frames_for_morph_targets_are_refused(
    gateway: Gateway, worker: Worker, sample: bytes, option: dict[str, str]
) -> None:
    response = gateway.client.post(
        "/reconstruct", files={"file": ("a.npz", sample)}, data=option | {"animation": "morph"}
    )
    assert (
        "output frames, glb with animation morph holds at most 200"
        in problem(response, 422, "invalid_options")["detail"]
    )


def test_unknown_model_error_lists_known_models(gateway: Gateway, worker: Worker, sample: bytes) -> None:
    response = gateway.client.post("/reconstruct", files={"file": ("a.npz", sample)}, data={"model": "cats"})
    assert "local_oflow" in problem(response, 422, "unknown_model")["detail"]


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b"{}", "headers": {"Content-Type": "application/xml"}},
        {"content": b"x", "headers": {"Content-Type": "text/plain"}},
        {"content": b"x"},
    ],
)
def test_unsupported_content_types_are_refused(
    gateway: Gateway, worker: Worker, request_: dict[str, Any]
) -> None:
    body = problem(gateway.client.post("/reconstruct", **request_), 415, "unsupported_media")
    assert "multipart/form-data" in body["detail"]


def test_forms_without_file_part_are_refused(gateway: Gateway, worker: Worker, sample: bytes) -> None:
    named_otherwise = gateway.client.post("/reconstruct", files={"data": ("a.npz", sample)})
    assert "'data'" in problem(named_otherwise, 400, "bad_request")["detail"]
    torn = gateway.client.post(
        "/reconstruct",
        content=b"--x\r\nnonsense",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    problem(torn, 400, "bad_request")


def test_unknown_resources_are_not_found(gateway: Gateway, worker: Worker, sample: bytes) -> None:
    unknown = problem(gateway.client.get("/jobs/unknown"), 404, "not_found")
    assert "Job 'unknown' not found" in unknown["detail"]
    problem(gateway.client.get("/jobs/unknown/result"), 404, "not_found")
    problem(gateway.client.get("/nowhere"), 404, "not_found")
    problem(gateway.client.put("/reconstruct"), 405, "method_not_allowed")
    job = gateway.submit(sample, resolution=32)
    early = problem(gateway.client.get(f"/jobs/{job['id']}/result"), 409, "job_not_done")
    assert early["job_id"] == job["id"]
    gateway.follow(job["id"])
    other = problem(gateway.client.get(f"/jobs/{job['id']}/result?format=ply"), 404, "not_found")
    assert "glb" in other["detail"]
    problem(gateway.client.get(f"/jobs/{job['id']}/result?format=fbx"), 422, "invalid_request")


def test_zip_bomb_is_refused(gateway: Gateway, worker: Worker) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("points.npy", "w") as entry,
    ):
        for _ in range(200):
            entry.write(bytes(2**20))
    response = gateway.client.post("/reconstruct", files={"file": ("a.npz", buffer.getvalue())})
    problem(response, 413, "too_large")


def test_openapi_document_is_complete(gateway: Gateway, worker: Worker) -> None:
    document = gateway.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    post = document["paths"]["/reconstruct"]["post"]
    assert {"202", "400", "413", "415", "422", "503"} <= post["responses"].keys()
    bodies = {"multipart/form-data", "application/octet-stream", "application/json"}
    assert bodies == post["requestBody"]["content"].keys()
    query = {parameter["name"]: parameter for parameter in post["parameters"] if parameter["in"] == "query"}
    assert query.keys() == Options.model_fields.keys()
    assert query["frames"]["schema"] == {
        "type": "integer",
        "minimum": 2,
        "maximum": 1000,
        "title": "Output frames",
    }
    assert query["formats"]["schema"]["items"] == {"$ref": "#/components/schemas/Format"}
    assert query["metadata"]["content"].keys() == {"application/json"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    for name in re.findall(r'"\$ref": "([^"]*)"', text):
        _, _, kind, what = name.split("/")
        assert what in document["components"][kind], name
    assert gateway.client.get("/docs").status_code == 200

"""Jobs from upload to download, with a real gateway, worker, Redis and object store."""

import hashlib
import io
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from model import Reconstructor
from service.core.jobs.formats import Format
from service.core.sequences.sequence import read_sequence
from service.core.version import VERSION
from tests.integration.service_processes import Gateway, Worker
from worker.pipeline import write_meshes

FORMATS = ["glb", "obj", "ply", "npz", "webp"]
QUICK: dict[str, Any] = {"resolution": 64}


@pytest.fixture(scope="module")
def finished(gateway: Gateway, worker: Worker, sample: bytes) -> dict[str, Any]:
    """A finished job with all formats."""
    job = gateway.submit(sample, formats=FORMATS, color="correspondence", metadata='{"take": 7}', **QUICK)
    return gateway.follow(job["id"])


def test_submission_returns_the_job(gateway: Gateway, worker: Worker, sample: bytes) -> None:
    response = gateway.client.post("/reconstruct", files={"file": ("a.npz", sample)}, data=QUICK)
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert int(response.headers["retry-after"]) >= 1
    assert job["state"] == "queued"
    assert job["input"] == {
        "frames": 17,
        "points": 300,
        "bytes": len(sample),
        "sha256": hashlib.sha256(sample).hexdigest(),
        "name": "a.npz",
    }
    assert gateway.follow(job["id"])["state"] == "succeeded"


def test_job_succeeds_and_describes_its_result(finished: dict[str, Any]) -> None:
    assert finished["state"] == "succeeded", finished
    assert finished["progress"] == {"stage": "done", "percent": 100.0}
    assert finished["attempt"] == 1
    assert finished["metadata"] == {"take": 7}
    assert finished["created_at"] <= finished["started_at"] <= finished["ended_at"] < finished["expires_at"]
    mesh = finished["result"]["mesh"]
    assert mesh["frames"] == 17
    assert mesh["watertight"]
    assert mesh["vertices"] > 1000
    fit = finished["result"]["fit"]
    assert len(fit["mean"]) == len(fit["p95"]) == 17
    assert all(0 < mean < p95 < 0.2 for mean, p95 in zip(fit["mean"], fit["p95"], strict=True))  # metres
    provenance = finished["result"]["provenance"]
    checkpoint = Path("configs/checkpoints/local_oflow.pt").read_bytes()
    assert provenance["checkpoint_sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert (provenance["model"], provenance["version"]) == ("local_oflow", VERSION)
    as_run = provenance["options"]
    assert as_run.items() >= QUICK.items()
    assert (as_run["color"], as_run["quality"]) == ("correspondence", "balanced")
    assert 0 < as_run["threshold"] < 1
    assert "metadata" not in as_run
    assert {"queue", "fetch", "prepare", "register", "fit", "write", "store"} <= finished["result"][
        "timings"
    ].keys()


def test_files_match_the_reconstructor(gateway: Gateway, finished: dict[str, Any], sample: bytes) -> None:
    sequence = read_sequence(io.BytesIO(sample))
    meshes = Reconstructor.from_config("local_oflow")(
        sequence.points, sequence.times, sequence.corresponding, color="correspondence", **QUICK
    )
    for file in finished["result"]["files"]:
        redirect = gateway.client.get(file["href"])
        assert redirect.status_code == 307
        body = httpx.get(redirect.headers["location"], trust_env=False).raise_for_status().content
        assert len(body) == file["bytes"]
        assert hashlib.sha256(body).hexdigest() == file["sha256"]
        assert body == write_meshes(meshes, Format[file["format"].upper()], None, sequence), file["format"]
    assert [file["format"] for file in finished["result"]["files"]] == FORMATS


def test_points_left_out_are_reported(gateway: Gateway, worker: Worker, sample: bytes) -> None:
    points = np.load(io.BytesIO(sample))["points"][:3]
    points[1, :5] = np.nan
    upload = io.BytesIO()
    np.savez(upload, points=points)
    job = gateway.submit(upload.getvalue(), cleanup="drop_invalid", resolution=32, formats=["webp"])
    ended = gateway.follow(job["id"])
    assert ended["state"] == "succeeded", ended
    assert ended["result"]["decisions"]["removed"]["not_finite"] == [0, 5, 0]


def test_head_of_a_result_is_signed_for_head(gateway: Gateway, finished: dict[str, Any]) -> None:
    for file in finished["result"]["files"]:
        redirect = gateway.client.head(file["href"])
        assert (redirect.status_code, redirect.content) == (307, b"")
        answer = httpx.head(redirect.headers["location"], trust_env=False).raise_for_status()
        assert int(answer.headers["content-length"]) == file["bytes"]
        assert httpx.get(redirect.headers["location"], trust_env=False).status_code == 403


def test_thumbnail_is_a_picture_of_the_mesh(gateway: Gateway, finished: dict[str, Any]) -> None:
    assert finished["links"]["thumbnail"] == f"/jobs/{finished['id']}/thumbnail"
    answer = gateway.client.get(finished["links"]["thumbnail"])
    assert answer.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    assert picture.shape == (360, 480, 3)
    drawn = np.abs(picture - picture[0, 0]).max(axis=2) > 30
    assert 0.02 < drawn.mean() < 0.6
    etag = {"If-None-Match": answer.headers["etag"]}
    assert gateway.client.get(finished["links"]["thumbnail"], headers=etag).status_code == 304


def test_results_are_reproducible(gateway: Gateway, finished: dict[str, Any], sample: bytes) -> None:
    job = gateway.submit(sample, formats=",".join(FORMATS), color="correspondence", **QUICK)
    again = gateway.follow(job["id"])
    assert again["result"]["files"] == [
        file | {"href": file["href"].replace(finished["id"], job["id"])}
        for file in finished["result"]["files"]
    ]


def test_result_without_redirect_supports_ranges(gateway: Gateway, finished: dict[str, Any]) -> None:
    url = f"/jobs/{finished['id']}/result"
    whole = gateway.client.get(url, params={"format": "obj", "redirect": "false"})
    assert whole.status_code == 200
    assert whole.headers["content-type"] == "application/zip"
    assert f"oflow-{finished['id'][:8]}.obj.zip" in whole.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert {"00000.obj", "00016.obj", "manifest.json"} <= set(archive.namelist())
    part = gateway.client.get(
        url, params={"format": "obj", "redirect": "false"}, headers={"Range": "bytes=10-19"}
    )
    assert part.status_code == 206
    assert part.content == whole.content[10:20]


def test_raw_body_takes_options_from_the_query(gateway: Gateway, worker: Worker, sample: bytes) -> None:
    response = gateway.client.post(
        "/reconstruct",
        params={"formats": "npz", "frames": 5, **QUICK},
        content=sample,
        headers={"Content-Type": "application/octet-stream"},
    )
    assert response.status_code == 202, response.text
    job = gateway.follow(response.json()["id"])
    assert job["result"]["mesh"]["frames"] == 5
    assert job["options"]["formats"] == ["npz"]
    assert len(job["result"]["fit"]["mean"]) == 17


def test_published_frames_as_repeated_parts(gateway: Gateway, worker: Worker, sample: bytes) -> None:
    points = read_sequence(io.BytesIO(sample)).points
    parts = []
    for index, cloud in enumerate(points):
        low, high = cloud.min(0), cloud.max(0)
        loc, scale = (low + high) / 2, float((high - low).max())
        buffer = io.BytesIO()
        np.savez(buffer, points=((cloud - loc) / scale).astype(np.float16), loc=loc, scale=scale)
        parts.append(("file", (f"{index:08d}.npz", buffer.getvalue())))
    response = gateway.client.post("/reconstruct", files=parts, data=QUICK)
    assert response.status_code == 202, response.text
    job = gateway.follow(response.json()["id"])
    assert job["state"] == "succeeded", job
    assert np.mean(job["result"]["fit"]["mean"]) < 0.1


def test_the_model_is_loaded_once_for_all_jobs(finished: dict[str, Any], worker: Worker) -> None:
    end = time.monotonic() + 10  # logs arrive through a pipe
    while len(re.findall(r"job \w{32} succeeded", "\n".join(worker.lines()))) < 2:
        assert time.monotonic() < end, worker.lines()[-20:]
        time.sleep(0.1)
    assert len([line for line in worker.lines() if "model local_oflow loaded in" in line]) == 1


def test_unsuccessful_reconstruction_fails_with_a_message(
    gateway: Gateway, worker: Worker, sample: bytes
) -> None:
    job = gateway.follow(gateway.submit(sample, threshold=0.999999, **QUICK)["id"])
    assert job["state"] == "failed"
    assert job["error"]["code"] == "empty_surface"
    assert "threshold" in job["error"]["message"]
    response = gateway.client.get(f"/jobs/{job['id']}/result")
    assert response.status_code == 409
    assert response.json()["code"] == "job_has_no_result"
    assert not any("Traceback" in line for line in worker.lines())


def test_models_and_readiness_include_the_worker(gateway: Gateway, worker: Worker) -> None:
    model = {model["name"]: model for model in gateway.client.get("/models").json()}["local_oflow"]
    checkpoint = Path("configs/checkpoints/local_oflow.pt").read_bytes()
    expected = {"min_frames": 2, "max_frames": 1000, "min_points": 32, "max_points": 8192, "upright": False}
    assert model["input"] == expected
    assert model["checkpoint_sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert model["workers"] == 1
    assert model["checkpoints"] == {model["checkpoint_sha256"]: 1}
    assert model["default"]
    ready = gateway.client.get("/readyz")
    assert (ready.status_code, set(ready.json().values())) == (200, {"ok"})

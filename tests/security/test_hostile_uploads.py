"""Corrupt and malicious uploads over HTTP are accepted or refused properly, within the memory limit.

Sends a part of the corpus of tests/service/core/test_sequences_fuzz.py, or all of it with
`pytest -m slow tests/security/test_hostile_uploads.py`.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import httpx
import pytest

from service.api.keys import KeyStore
from tests.integration.service_processes import Gateway, running
from tests.security.caller import Caller
from tests.security.conftest import IMPATIENT
from tests.security.test_requests import MEMORY, watched
from tests.service.core.test_sequences_fuzz import UPLOADS, damaged_upload, hostile_upload

REFUSALS = {413: "too_large", 415: "unsupported_media", 422: "invalid_sequence"}


@pytest.fixture
def patient(server_env: dict[str, str]) -> Iterator[Gateway]:
    """A gateway that waits for clients which a busy machine interrupts."""
    with running(Gateway(server_env | IMPATIENT | {"OFLOW_STALL_SECONDS": "30"})) as process:
        yield process


@pytest.mark.parametrize("count", [250, pytest.param(UPLOADS, marks=pytest.mark.slow)])
def test_every_upload_is_accepted_or_refused(
    patient: Gateway, keys: KeyStore, any_model: str, count: int
) -> None:
    caller = Caller(patient, *keys.create("hostile"))

    def send(make_seed: tuple[object, int]) -> int:
        make, seed = make_seed
        file = make(Random(seed))  # type: ignore[operator]
        response = caller.send(
            "POST",
            f"/reconstruct?model={any_model}",
            content=file,
            headers={"Content-Type": "application/octet-stream"},
        )
        message = f"{make.__name__}, seed {seed}: {response.text}"  # type: ignore[attr-defined]
        assert response.status_code in (202, *REFUSALS), message
        if response.status_code in REFUSALS:
            assert response.json()["code"] == REFUSALS[response.status_code], message
            assert response.json()["errors"], message
        else:
            caller.send("DELETE", f"/jobs/{response.json()['id']}")
        return response.status_code

    uploads = [(make, seed) for make in (damaged_upload, hostile_upload) for seed in range(count)]
    with watched(patient) as peak, ThreadPoolExecutor(4) as pool:
        found = Counter(pool.map(send, uploads))
    print(f"{found}, {peak['memory'] / 1e6:.0f} MB at most")
    assert found.keys() == {202, *REFUSALS}
    assert peak["memory"] < MEMORY


def test_zip_bomb_is_refused_through_every_upload_path(
    locked: Gateway, mine: Caller, any_model: str, bomb: bytes
) -> None:
    upload = mine.send("POST", "/uploads").json()
    httpx.post(upload["url"], data=upload["fields"], files={"file": ("a", bomb)}, trust_env=False)
    bare = {"content": bomb, "headers": {"Content-Type": "application/octet-stream"}}
    with watched(locked) as peak:
        responses = [
            mine.send("POST", f"/reconstruct?model={any_model}", **bare),
            mine.send("POST", "/reconstruct", files={"file": ("a.npz", bomb)}, data={"model": any_model}),
            mine.send("POST", "/reconstruct", json={"upload_id": upload["upload_id"], "model": any_model}),
        ]
    assert {(response.status_code, response.json()["code"]) for response in responses} == {(413, "too_large")}
    assert peak["memory"] < MEMORY


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A zip bomb of 256 MiB of zeros."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("points.npy", "w") as entry,
    ):
        for _ in range(256):
            entry.write(bytes(2**20))
    return file.getvalue()

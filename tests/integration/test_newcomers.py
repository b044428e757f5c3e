"""What newcomers send by mistake: each answer says what was found, what is wanted and what to do."""

from typing import Any

import pytest

from tests.integration.service_processes import Gateway

JSON = {"Content-Type": "application/json"}
URL = "https://example.org/a.npz"
FILE = ("a.npz", b"")
MODEL = {"model": "any"}  # of the fixture `any_model`

MISTAKES: dict[str, tuple[dict[str, Any], int, str]] = {
    "no size": ({"url": "/uploads", "json": {"bytes": 0}}, 422, "bytes: found 0, wanted at least 1"),
    "size as text": ({"url": "/uploads", "json": {"bytes": "10"}}, 422, "bytes is not a number"),
    "half a byte": ({"url": "/uploads", "json": {"bytes": 1.5}}, 422, "found 1.5, wanted a whole number"),
    "a slip": ({"url": "/uploads", "json": {"byts": 3}}, 422, "byts is not known here"),
    "a list": ({"url": "/uploads", "json": [3]}, 422, "body: found [3], wanted an object"),
    "torn JSON": ({"url": "/uploads", "content": b"{", "headers": JSON}, 422, "body: found {}, wanted JSON"),
    "a file": ({"url": "/uploads", "content": bytes(70_000), "headers": JSON}, 413, "exceeds 0.0625 MiB"),
    "no source": ({"json": {}}, 422, "upload_id is missing: send the id that POST /uploads returned"),
    "two sources": ({"json": {"upload_id": "x", "source_url": URL}}, 422, "exclude each other"),
    "null and wrong": (
        {"json": {"upload_id": 5, "source_url": None, "fps": "x"}},
        422,
        "fps: found",
    ),
    "file and address": ({"data": {"source_url": URL}, "files": {"file": FILE}}, 422, "file and source_url"),
    "two addresses": ({"files": [("source_url", (None, URL))] * 2}, 422, "exclude each other"),
    "address in the query": ({"params": {"source_url": URL}, "files": {"file": FILE}}, 422, "query string"),
    "an unknown id": ({"data": MODEL, "files": {"upload_id": (None, "x")}}, 404, "Upload 'x' not found"),
    "no file name": ({"files": {"file": (None, b"x")}}, 400, "a part 'file' without a file name"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(gateway: Gateway, any_model: str, name: str) -> None:
    request, status, words = MISTAKES[name]
    answer = gateway.client.post(**{"url": "/reconstruct"} | request)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["detail"]


def test_a_detail_names_what_it_is_about(gateway: Gateway, any_model: str) -> None:
    files = {"file": ("a.npz", b"PK\5\6" + bytes(18))}
    answer = gateway.client.post("/reconstruct", files=files, data={"model": any_model})
    assert answer.json()["detail"].startswith("points: is missing (")


def test_nothing_is_fetched_for_a_job_that_would_not_be_accepted(gateway: Gateway, any_model: str) -> None:
    refused = gateway.client.post("/reconstruct", json={"source_url": "https://a.invalid/", "model": "x"})
    assert refused.json()["code"] == "unknown_model"


def test_a_long_wait_is_shortened(gateway: Gateway, queued: dict[str, Any]) -> None:
    gateway.client.delete(f"/jobs/{queued['id']}")
    path, prefer = f"/jobs/{queued['id']}", {"Prefer": "wait=3600000000"}
    assert gateway.client.get(path, headers=prefer).headers["Preference-Applied"] == "wait=60"


def test_colors_are_asked_for_at_once(gateway: Gateway, any_model: str, sample: bytes) -> None:
    options = {"model": any_model, "color": "input"}
    answer = gateway.client.post("/reconstruct", files={"file": ("a.npz", sample)}, data=options)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_options")
    assert answer.json()["errors"][0]["key"] == "color"

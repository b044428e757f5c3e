"""Security headers, and protection against cross-origin requests and DNS rebinding."""

from typing import Any

import httpx
import pytest

from tests.integration.service_processes import Gateway
from tests.security.caller import Caller

ELSEWHERE = "https://evil.example"
DATA = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def all_responses(mine: Caller, sample: bytes, model: str) -> list[httpx.Response]:
    """Responses of every kind: documents, errors of each layer, redirects, streams."""
    client = mine.gateway.client
    job = mine.submit(sample, model=model)
    found = [
        client.get("/", headers={"Accept": "application/json"}),
        *(
            client.get(path)
            for path in ("/openapi.json", "/livez", "/readyz", "/metrics", "/jobs", "/nowhere")
        ),
        client.put("/reconstruct"),
        client.get("/livez", headers={"X": "a" * 20_000}),
        mine.send("GET", "/jobs", params={"limit": "x"}),
        mine.send("GET", f"/jobs/{job['id']}"),
        mine.send("GET", f"/jobs/{job['id']}/result"),
        mine.send("POST", "/uploads"),
        mine.send("POST", "/reconstruct", content=b"", headers={"Content-Type": "text/plain"}),
        mine.send("DELETE", f"/jobs/{job['id']}"),
        mine.send("GET", f"/jobs/{job['id']}/events"),
    ]
    assert {response.status_code for response in found} >= {200, 201, 401, 404, 405, 409, 415, 422, 431}
    return found


def test_every_response_has_security_headers(
    locked: Gateway, mine: Caller, any_model: str, sample: bytes
) -> None:
    for response in all_responses(mine, sample, any_model):
        assert response.headers["x-content-type-options"] == "nosniff", response.url
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert response.headers["content-security-policy"] == DATA
        assert "server" not in response.headers


def test_no_cors_headers_are_sent(locked: Gateway, mine: Caller, any_model: str, sample: bytes) -> None:
    origin = {"Origin": ELSEWHERE}
    job = mine.submit(sample, model=any_model)["id"]
    found = [
        mine.send("GET", path, headers=origin)
        for path in ("/", "/jobs", f"/jobs/{job}", "/models", "/metrics", "/openapi.json")
    ]
    for method in ("GET", "POST", "DELETE"):
        headers = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
        preflight = locked.client.options(f"/jobs/{job}", headers=origin | headers)
        assert preflight.status_code == 405
        found.append(preflight)
    for response in found:
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "request_",
    [
        ("GET", "/jobs"),
        ("GET", "/livez"),
        ("POST", "/reconstruct"),
        ("DELETE", f"/jobs/{'0' * 32}"),
        ("GET", "/"),
    ],
)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::1", "", "192.168.0.1"]
)
def test_foreign_host_header_is_refused_without_keys(
    gateway: Gateway, request_: tuple[str, str], host: str
) -> None:
    """Otherwise a page whose domain resolves to 127.0.0.1 could read all jobs."""
    response = gateway.client.request(*request_, headers={"Host": host})
    assert (response.status_code, response.json()["code"]) == (421, "wrong_host")


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", "http://127.0.0.1", "http://127.0.0.1:1", "http://["])
def test_cross_origin_requests_are_refused_without_keys(
    gateway: Gateway, any_model: str, sample: bytes, origin: str
) -> None:
    job = gateway.submit(sample, model=any_model)
    form: dict[str, Any] = {"files": {"file": ("a.npz", sample)}, "data": {"model": any_model}}
    for response in (
        gateway.client.post("/reconstruct", headers={"Origin": origin}, **form),
        gateway.client.post("/uploads", headers={"Origin": origin}),
        gateway.client.delete(f"/jobs/{job['id']}", headers={"Origin": origin}),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "foreign_page")
    assert gateway.client.get(f"/jobs/{job['id']}").json()["state"] == "queued"


def test_own_page_works_under_every_loopback_name(gateway: Gateway, any_model: str, sample: bytes) -> None:
    port = gateway.client.base_url.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        response = gateway.client.post(
            "/reconstruct",
            files={"file": ("a.npz", sample)},
            data={"model": any_model},
            headers={"Host": host, "Origin": f"http://{host}"},
        )
        assert response.status_code == 202, response.text


def test_any_host_header_is_accepted_with_keys(locked: Gateway, mine: Caller) -> None:
    assert mine.send("GET", "/jobs", headers={"Host": "4d.example", "Origin": ELSEWHERE}).status_code == 200
    assert mine.send("POST", "/uploads", headers={"Host": "4d.example"}).status_code == 201
    slash = locked.client.get("/jobs/", headers={"Host": "evil.example"})
    assert (slash.status_code, slash.headers.get("location")) == (404, None)  # no redirect to that host

"""Pages of other sites, and links for clients elsewhere."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from service.api.app import create_app
from service.core.jobs.formats import Format
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, State
from service.core.jobs.results import Fit, Mesh, Result, ResultFile, Thumbnail
from service.core.jobs.views import view
from service.core.settings import Settings

REDIS = SecretStr("redis://127.0.0.1:1/0")  # nobody listens there
FRIEND = "https://app.example.org"


def client(**settings: Any) -> TestClient:
    app = create_app(Settings(redis_url=REDIS, **settings))
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def preflight(client: TestClient, origin: str) -> dict[str, str]:
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}
    return dict(client.options("/reconstruct", headers={"Origin": origin} | wanted).headers)


def test_only_listed_origins_may_call() -> None:
    listed = client(cors_origins=f"{FRIEND},http://localhost:5173", auth="keys")
    assert preflight(listed, FRIEND)["access-control-allow-origin"] == FRIEND
    assert "access-control-allow-origin" not in preflight(listed, "https://evil.example.org")
    answer = listed.get("/livez", headers={"Origin": "http://localhost:5173"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "Location" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in preflight(client(), FRIEND)


def test_without_keys_listed_origins_may_write_too() -> None:
    for origins, code in (("", "foreign_page"), (FRIEND, "bad_request")):
        answer = client(cors_origins=origins, auth="open").post(
            "/reconstruct", headers={"Origin": FRIEND, "Content-Type": "application/json"}, content=b"{"
        )
        assert answer.json()["code"] == code


def test_links_are_absolute_below_the_public_address() -> None:
    source = Input(frames=2, points=32, bytes=1, sha256="0" * 64)
    result = Result(
        files=[ResultFile(format=Format.GLB, name="mesh.glb", bytes=1, sha256="0" * 64)],
        thumbnail=Thumbnail(name="thumbnail.png", bytes=1, sha256="0" * 64),
        mesh=Mesh(vertices=4, faces=4, frames=2, watertight=True),
        fit=Fit(mean=[0.0], p95=[0.0]),
        timings={},
    )
    job = Job.new("m", Options(), source, 60).ended(State.SUCCEEDED, result=result)
    base = Settings(redis_url=REDIS, public_url="https://x.example.org/oflow/").public_url
    shown = view(job, base)
    assert shown.links["thumbnail"] == f"https://x.example.org/oflow/jobs/{job.id}/thumbnail"
    assert shown.result is not None
    assert shown.result.files[0].href.startswith("https://x.example.org/oflow/jobs/")
    assert view(job, None).links["self"] == f"/jobs/{job.id}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("cors_origins", "*"), ("cors_origins", "https://a.org/path"), ("public_url", "oflow.example.org")],
)
def test_settings_that_are_no_addresses_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="expected for example https://"):
        Settings(redis_url=REDIS, **{name: value})  # type: ignore[arg-type]

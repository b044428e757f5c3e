"""Static assets: headers, content security policy, and no external references."""

import gzip
import hashlib
import html
import json
import re
from pathlib import Path

import pytest

from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, State
from service.core.jobs.results import Thumbnail
from service.page import asset
from service.page.preview import link_preview
from tests.integration.acting_worker import RESULT
from tests.integration.service_processes import Gateway

FOLDER = Path(__file__).parent.parent.parent / "service" / "page"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OWN = sorted((FOLDER / "static").iterdir())


def test_root_serves_html_or_json_by_accept_header(gateway: Gateway) -> None:
    page = gateway.client.get("/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!doctype html>")
    assert gateway.client.get("/").json()["name"] == "oflow"
    both = gateway.client.get("/", headers={"Accept": "application/json, text/html"})
    assert both.json()["links"]["docs"] == "/docs"
    assert {"Accept", "Accept-Encoding"} <= set(re.split(", *", page.headers["vary"]))


def test_link_of_a_job_has_a_preview(gateway: Gateway, any_model: str, sample: bytes) -> None:
    hostile = '"><script>alert(1)</script>'
    job = gateway.submit(sample, model=any_model, metadata=json.dumps({"name": hostile}))
    page = gateway.client.get("/", params={"job": job["id"]}, headers=BROWSER)
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert hostile not in page.text
    metas = dict(re.findall(r'<meta property="([\w:]+)" content="([^"]*)">', page.text))
    assert html.unescape(metas["og:title"]) == hostile
    assert metas["og:description"] == "A reconstruction of 17 frames: queued."
    assert metas["og:url"] == f"{gateway.client.base_url}/?job={job['id']}"
    plain = gateway.client.get("/", headers=BROWSER).text
    for other in ("0" * 32, "", "../x"):
        assert gateway.client.get("/", params={"job": other}, headers=BROWSER).text == plain


def test_preview_shows_the_picture_of_a_result() -> None:
    job = Job.new("any", Options(), Input(frames=2, points=32, bytes=3, sha256="0" * 64), 60)
    base = "http://here/"
    assert "og:image" not in link_preview(job, base)
    picture = Thumbnail(name="thumbnail.png", bytes=3, sha256="0" * 64)
    done = job.ended(State.SUCCEEDED, result=RESULT.model_copy(update={"thumbnail": picture}))
    assert f'content="http://here/jobs/{job.id}/thumbnail"' in link_preview(done, base)
    assert "og:image" not in link_preview(done.with_(state=State.EXPIRED), base)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_content_security_policy_allows_only_own_assets(gateway: Gateway, path: str) -> None:
    response = gateway.client.get(path, headers=BROWSER)
    policy = dict(
        part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert "set-cookie" not in response.headers
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", response.text)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", response.text)


def test_every_referenced_asset_exists() -> None:
    named = set()
    for file in OWN:
        named |= set(
            re.findall(r"\"/page/([\w.-]+\.\w+)\"|(?:from|import\()\s*\"\./([\w.-]+)\"", file.read_text())
        )
    names = {one or other for one, other in named}
    assert {"page.js", "page.css", "three.js", "viewer.js", "swagger-ui-bundle.js", "docs.js"} <= names
    assert [name for name in names if asset(name) is None] == []
    preloaded = set(
        re.findall(r"modulepreload\" href=\"/page/([\w.]+)", (FOLDER / "static/index.html").read_text())
    )
    assert preloaded <= {file.name for file in OWN}


def test_assets_are_compressed_and_cached(gateway: Gateway) -> None:
    plain = gateway.client.get("/page/three.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == (FOLDER / "vendor" / "three.js").read_bytes()
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    with gateway.client.stream("GET", "/page/three.js", headers={"Accept-Encoding": "gzip, br"}) as response:
        packed = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain.content
    assert len(packed) < 0.3 * len(plain.content)
    for known in (plain.headers["etag"], response.headers["etag"]):
        again = gateway.client.get("/page/three.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert gateway.client.get("/page/three.js", headers={"If-None-Match": '"other"'}).status_code == 200
    page = gateway.client.get("/", headers=BROWSER)
    assert (
        gateway.client.get("/", headers=BROWSER | {"If-None-Match": page.headers["etag"]}).status_code == 304
    )


@pytest.mark.parametrize(
    "name", ["nothing.js", "README.md", "..%2f__init__.py", "%2e%2e/settings.py", "three.entry.js"]
)
def test_unlisted_files_are_not_served(gateway: Gateway, name: str) -> None:
    response = gateway.client.get(f"/page/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_samples_match_their_hashes(gateway: Gateway) -> None:
    for sample in gateway.client.get("/page/samples").json():
        file = gateway.client.get(sample["href"])
        assert hashlib.sha256(file.content).hexdigest() == sample["sha256"]


def test_page_routes_are_not_in_the_openapi_document(gateway: Gateway) -> None:
    paths = gateway.client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path.startswith(("/page", "/docs"))]


def test_vendored_libraries_match_their_hashes() -> None:
    vendor = FOLDER / "vendor"
    lines = (vendor / "SHA256SUMS").read_text().splitlines()
    hashes = {name: digest for digest, name in map(str.split, lines)}
    served = {file.name for file in vendor.iterdir() if asset(file.name) is not None}
    assert served == set(hashes)
    for name, digest in hashes.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name
    readme = (vendor / "README.md").read_text()
    versions = dict(re.findall(r'"([\w-]+)": "(\d[\d.]+)"', (vendor / "package.json").read_text()))
    assert versions["three"] in readme
    assert versions["swagger-ui-dist"] in readme
    assert f'"{versions["three"].split(".")[1]}"' in (vendor / "three.js").read_text()  # its REVISION

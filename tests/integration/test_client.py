"""The client and its commands with a running service."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from service.client import Client, JobFailedError
from service.client.retrying import ServiceError
from service.core.jobs.record import JobEvent, State
from service.page.samples import SAMPLES
from tests.integration.service_processes import Gateway, Worker

SAMPLE = SAMPLES["knees"].path
SMALL = {"resolution": 32, "frames": 3}


def address(gateway: Gateway) -> str:
    return str(gateway.client.base_url)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(address(gateway)) as client:
        yield client


def run(gateway: Gateway, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", *arguments],
        env=os.environ | {"OFLOW_ADDRESS": address(gateway)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("upload_above", [2**30, 0])
def test_client_reconstructs_and_downloads(
    gateway: Gateway, worker: Worker, tmp_path: Path, upload_above: int
) -> None:
    """Submits through the gateway, and by a direct upload."""
    with Client(address(gateway), upload_above=upload_above) as client:
        seen: list[JobEvent] = []
        job = client.reconstruct(SAMPLE, formats=["glb", "npz"], metadata={"take": 3}, **SMALL)
        done = client.wait(job.id, seen.append)
        assert done.state is State.SUCCEEDED
        assert done.metadata == {"take": 3}
        assert next(event.state for event in seen) is State.QUEUED
        assert seen[-1].state is State.SUCCEEDED
        glb = client.download(done, tmp_path / "out.glb")
        assert glb.read_bytes()[:4] == b"glTF"
        assert client.download(done, tmp_path / "out.npz", "npz").read_bytes()[:2] == b"PK"
        with pytest.raises(ServiceError, match="the job has no ply; available: glb, npz"):
            client.download(done, tmp_path / "out.ply", "ply")
        assert sorted(file.name for file in tmp_path.iterdir()) == ["out.glb", "out.npz"]
        assert job.id in [one.id for one in client.jobs("succeeded")]
        assert client.cancel(job.id).state is State.EXPIRED


def test_waiting_for_a_canceled_job_raises(client: Client, any_model: str) -> None:
    job = client.reconstruct(SAMPLE, model=any_model)
    assert client.cancel(job.id).state is State.CANCELED
    with pytest.raises(JobFailedError, match="canceled"):
        client.wait(job.id)


def test_refusals_are_the_servers_words(client: Client, worker: Worker, tmp_path: Path) -> None:
    text = tmp_path / "notes.npz"
    text.write_text("hello")
    with pytest.raises(ServiceError) as caught:
        client.reconstruct(text)
    assert (caught.value.status, caught.value.code) == (415, "unsupported_media")
    with pytest.raises(ServiceError, match="resolution"):
        client.reconstruct(SAMPLE, resolution=7)


class Busy(BaseHTTPRequestHandler):
    """Responds with 503 twice, drops a connection, then succeeds."""

    asked: list[tuple[str, str | None]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, self.headers["Idempotency-Key"]))
        if len(self.asked) == 3:
            self.connection.close()
            return
        is_busy = len(self.asked) < 3
        body = json.dumps({"title": "Full", "code": "queue_full"}).encode()
        self.send_response(503 if is_busy else 422)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_retries_reuse_the_idempotency_key() -> None:
    Busy.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with (
            Client(f"http://127.0.0.1:{server.server_port}") as client,
            pytest.raises(ServiceError) as caught,
        ):
            client.reconstruct(SAMPLE)
    finally:
        server.shutdown()
    assert caught.value.status == 422
    assert len(Busy.asked) == 4
    assert len(set(Busy.asked)) == 1


def test_unreachable_server_is_reported_in_one_line() -> None:
    with (
        Client("http://127.0.0.1:9", patience=0.1) as client,
        pytest.raises(ServiceError, match=r"No answer from http://127\.0\.0\.1:9 "),
    ):
        client.models()


def test_the_command_reconstructs(gateway: Gateway, worker: Worker, tmp_path: Path) -> None:
    out = tmp_path / "jump.glb"
    options = ["--resolution", "32", "--frames", "3", "--color", "correspondence"]
    made = run(gateway, "reconstruct", str(SAMPLE), "-o", str(out), *options)
    text, told = made.communicate(timeout=120)
    assert made.returncode == 0, told
    assert text.split() == [str(out)]
    assert "from the mesh on average" in told
    [job_id] = re.findall(rf"see {address(gateway).rstrip('/')}/\?job=([0-9a-f]{{32}})", told)
    assert out.read_bytes()[:4] == b"glTF"
    listed, _ = run(gateway, "list", "--limit", "1").communicate(timeout=30)
    row = listed.split()
    assert (row[0], row[3:]) == (job_id, ["succeeded", row[4], "local_oflow", SAMPLE.name])
    assert row[4] in ("good", "doubtful", "poor")
    shown, _ = run(gateway, "status", job_id).communicate(timeout=30)
    assert json.loads(shown)["state"] == "succeeded"
    fit = json.loads(shown)["result"]["fit"]
    assert all(distance == float(f"{distance:.6g}") for distance in fit["mean"] + fit["p95"])
    again, _ = run(gateway, "download", job_id, "-o", str(tmp_path)).communicate(timeout=30)
    assert Path(again.strip()).read_bytes() == out.read_bytes()


def test_ctrl_c_cancels(gateway: Gateway, any_model: str, client: Client) -> None:
    made = run(gateway, "reconstruct", str(SAMPLE), "--model", any_model, "-o", "never.glb")
    end = time.monotonic() + 30
    while not (waiting := [job for job in client.jobs("queued") if job.model == any_model]):
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(0.5)  # until it follows the job
    made.send_signal(signal.SIGINT)
    _, told = made.communicate(timeout=30)
    assert made.returncode == 130
    assert f"job {waiting[0].id} is canceled" in told.replace("\n", "")
    assert client.job(waiting[0].id).state is State.CANCELED


def test_command_reports_refusals(gateway: Gateway, worker: Worker, tmp_path: Path) -> None:
    bad = run(gateway, "reconstruct", str(SAMPLE), "--resolution", "7", "-o", str(tmp_path / "a.glb"))
    _, told = bad.communicate(timeout=30)
    assert bad.returncode == 2
    assert "resolution" in told
    assert "Traceback" not in told

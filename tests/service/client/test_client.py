"""The client and its commands against a scripted server, and against none."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.client import Client, JobFailedError
from service.client.retrying import ServiceError
from service.core.jobs.record import State
from tests.service.client.scripted_server import Server

KNEES = Path("service/page/samples/knees.npz").resolve()
JOB = "0" * 32
MODEL = {
    "name": "bodies",
    "task": "pointcloud completion",
    "input": {"min_frames": 2, "max_frames": 1000, "min_points": 32, "upright": True},
    "workers": 1,
    "default": True,
}
FAULTS = [
    {"key": "points", "message": "has the wrong shape", "found": "[3, 4]", "wanted": "[T, N, 3]"},
    {"key": "times", "message": "times: found 2, wanted 3", "found": "2", "wanted": "3"},
]


def oflow(*arguments: str, address: str, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path.cwd()), *sys.path])
    environment = os.environ | {"OFLOW_ADDRESS": address, "PYTHONPATH": paths, "COLUMNS": "200"}
    command = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


def test_models_are_a_list(server: Server, tmp_path: Path) -> None:
    server.answer("GET /models", [MODEL])
    with Client(server.address) as client:
        assert client.models() == [MODEL]
    done = oflow("models", address=server.address, folder=tmp_path)
    told = "* bodies  pointcloud completion  2 to 1000 frames  1 worker\n"
    assert (done.returncode, done.stdout) == (0, told)


def test_a_refusal_has_every_fault_with_found_and_wanted(server: Server, tmp_path: Path) -> None:
    problem = {"title": "Invalid", "code": "invalid_sequence", "errors": FAULTS}
    server.answer("POST /reconstruct", problem, 422, "application/problem+json")
    lines = ["points: has the wrong shape (found [3, 4]; wanted [T, N, 3])", "times: found 2, wanted 3"]
    with Client(server.address) as client, pytest.raises(ServiceError) as caught:
        client.reconstruct(KNEES)
    assert str(caught.value).splitlines() == lines
    assert [fault.wanted for fault in caught.value.faults] == ["[T, N, 3]", "3"]
    done = oflow("reconstruct", str(KNEES), "-o", "a.glb", address=server.address, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["refused: " + lines[0], lines[1]]


@pytest.mark.parametrize("arguments", ["-o knees.npz", "--format obj -o knees.obj", "--frames 1", "-o a.fbx"])
def test_nothing_is_sent_that_cannot_be_written(server: Server, tmp_path: Path, arguments: str) -> None:
    (tmp_path / "knees.npz").write_bytes(KNEES.read_bytes())
    done = oflow("reconstruct", "knees.npz", *arguments.split(), address=server.address, folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert (tmp_path / "knees.npz").read_bytes() == KNEES.read_bytes()
    assert server.asked == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "127.0.0.1:9"])
def test_a_server_that_is_down_is_one_line_after_seconds(tmp_path: Path, address: str) -> None:
    began = time.monotonic()
    done = oflow("list", address=address, folder=tmp_path)
    assert time.monotonic() - began < 30
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: No answer from http://127.0.0.1:9 (")


def test_a_server_that_restarts_has_the_whole_patience(server: Server) -> None:
    server.answer("GET /models", [MODEL])
    with Client(server.address, patience=6) as client:
        client.models()
        server.shutdown()
        server.server_close()
        began = time.monotonic()
        with pytest.raises(ServiceError):
            client.models()
        assert time.monotonic() - began > 5.9


@pytest.mark.parametrize("address", ["ftp://a.org", "http://", "http://a b", "://"])
def test_what_is_no_address_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="is not the address of a server"):
        Client(address)
    assert oflow("list", address=address, folder=tmp_path).returncode == 2


def test_events_are_resumed_after_the_last_one(server: Server) -> None:
    progress = {"stage": "flow", "percent": 40}
    events = [
        {"at": "2026-01-01T00:00:00Z", "state": state, "progress": progress, "attempt": 1} for state in State
    ]
    blocks = [f"id: {number}\ndata: {json.dumps(event)}\n\n" for number, event in enumerate(events, 1)]
    path = f"GET /jobs/{JOB}/events"
    for body in (": hello\n\n" + blocks[0], blocks[1] + blocks[2]):  # the first one breaks off
        server.answer(path, body, kind="text/event-stream")
    with Client(server.address) as client:
        states = [event.state for event in client.follow(JOB)]
    assert states == ["queued", "running", "succeeded"]
    assert server.asked == [(path, None), (path, "1")]


def test_no_event_stream_is_told(server: Server) -> None:
    server.answer(f"GET /jobs/{JOB}/events", "<html>", kind="text/html")
    with Client(server.address, patience=0) as client, pytest.raises(ServiceError, match="unexpected answer"):
        list(client.follow(JOB))


def test_a_job_that_failed_is_an_error(server: Server) -> None:
    server.answer(f"GET /jobs/{JOB}/events", "", 204)
    with Client(server.address, patience=0) as client, pytest.raises((JobFailedError, ServiceError)):
        client.wait(JOB)

"""Slow clients cannot occupy connections."""

import hashlib
import io
import itertools
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

import pytest

from service.api.dependencies import GatewayContext
from service.core.jobs.formats import Format
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job
from service.core.jobs.results import Fit, Mesh, Result, ResultFile
from service.core.jobs.store import JobStore
from service.core.settings import Settings
from service.local.object_store import ObjectStore
from tests.integration.acting_worker import finish
from tests.integration.service_processes import Gateway, running
from tests.security.caller import Caller, connected, rest, status

PATIENCE = 20.0  # seconds until the test fails; the gateway's timeouts are 0.5 and 1


def trickle(wire: socket.socket, pieces: Iterator[bytes], pause: float) -> bytes:
    """Send pieces slowly until the gateway closes the connection; returns its response."""
    end = time.monotonic() + PATIENCE
    wire.settimeout(pause)
    received = b""
    while time.monotonic() < end:
        try:
            wire.sendall(next(pieces))
            some = wire.recv(2**16)
        except TimeoutError:
            continue
        except OSError:
            return received
        if not some:
            return received
        received += some
    raise AssertionError(f"still open after {PATIENCE} s")


def head(caller: Caller, **headers: str) -> bytes:
    lines = {"Host": "127.0.0.1", "Content-Type": "application/octet-stream"} | caller.headers | headers
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"POST /reconstruct HTTP/1.1\r\n{fields}\r\n".encode()


def test_silent_connection_is_closed(locked: Gateway) -> None:
    with connected(locked) as wire:
        assert rest(wire) == b""


def test_unfinished_headers_time_out(locked: Gateway) -> None:
    with connected(locked) as wire:
        wire.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        response = trickle(wire, (b"X-%d: a\r\n" % number for number in itertools.count()), 0.1)
    assert status(response) == 408
    assert b'"code":"too_slow"' in response


def test_unfinished_headers_of_a_second_request_time_out(locked: Gateway) -> None:
    with connected(locked) as wire:
        wire.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert status(wire.recv(2**16)) == 200
        wire.sendall(b"GET /livez HTTP/1.1\r\n")
        response = trickle(wire, (b"X-%d: a\r\n" % number for number in itertools.count()), 0.1)
    assert status(response) == 408


@pytest.mark.parametrize("framing", [{"Content_Length": "100000"}, {"Transfer_Encoding": "chunked"}])
def test_stalled_body_times_out(locked: Gateway, mine: Caller, framing: dict[str, str]) -> None:
    with connected(locked) as wire:
        wire.sendall(head(mine, **framing) + (b"3\r\nabc\r\n" if "Transfer_Encoding" in framing else b"abc"))
        response = rest(wire)
    assert status(response) == 408
    assert b'"code":"too_slow"' in response
    assert b"connection: close" in response.lower()


def test_trickled_body_times_out(locked: Gateway, mine: Caller) -> None:
    """It never pauses, but would take a day."""
    with connected(locked) as wire:
        wire.sendall(head(mine, Content_Length="100000000"))
        response = trickle(wire, itertools.repeat(b"abcdefgh"), 0.02)
    assert status(response) == 408


def test_trickled_body_on_a_route_without_body_is_ignored(locked: Gateway, mine: Caller) -> None:
    request = head(mine, Content_Length="1000").replace(b"POST /reconstruct", b"GET /jobs")
    with connected(locked) as wire:
        wire.sendall(request)
        response = trickle(wire, itertools.repeat(b"a"), 0.1)
    assert status(response) == 200  # answered immediately, without waiting for the body


def test_slow_upload_above_the_minimum_rate_is_accepted(
    locked: Gateway, mine: Caller, any_model: str, sample: bytes
) -> None:
    step = len(sample) // 15 + 1
    with connected(locked) as wire:
        wire.sendall(
            head(mine, Content_Length=str(len(sample))).replace(
                b"/reconstruct", f"/reconstruct?model={any_model}".encode()
            )
        )
        for start in range(0, len(sample), step):
            time.sleep(0.1)  # 1.5 seconds in total, longer than each timeout
            wire.sendall(sample[start : start + step])
        assert status(wire.recv(2**16)) == 202


@pytest.fixture(scope="module")
def large(mine: Caller, jobs: JobStore, settings: Settings) -> tuple[str, bytes]:
    """The path of a 32 MiB result, and its content."""
    content = random.Random(0).randbytes(2**25)
    digest = hashlib.sha256(content).hexdigest()
    file = ResultFile(format=Format.GLB, name="mesh.glb", bytes=len(content), sha256=digest)
    mesh = Mesh(vertices=1, faces=1, frames=2, watertight=True)
    source = Input(frames=2, points=32, bytes=3, sha256="0" * 64)
    job = Job.new("any", Options(), source, 600, owner=mine.key.id)
    jobs.create(job)
    attempt = jobs.claim(job.id, 3)
    assert attempt is not None
    GatewayContext(settings).store.put(
        attempt.result_key("mesh.glb"), io.BytesIO(content), "model/gltf-binary"
    )
    assert jobs.succeed(attempt, Result(files=[file], mesh=mesh, fit=Fit(mean=[0], p95=[0]), timings={}))
    return f"/jobs/{job.id}/result", content


def test_client_that_does_not_read_is_disconnected(
    locked: Gateway, mine: Caller, large: tuple[str, bytes]
) -> None:
    path, content = large
    with connected(locked, buffer=2**12) as wire:
        wire.sendall(head(mine).replace(b"POST /reconstruct", f"GET {path}?redirect=false".encode()))
        assert status(wire.recv(2**10)) == 200
        _line(locked, path)  # logged once the gateway has aborted the response
        assert len(rest(wire)) < len(content)
    assert mine.send("GET", f"{path}?redirect=false").content == content


def test_slow_reader_above_the_minimum_rate_is_served(
    locked: Gateway, mine: Caller, large: tuple[str, bytes]
) -> None:
    """Above the minimum rate, but so slowly that a single chunk takes longer than the timeout."""
    path, content = large
    with connected(locked, buffer=2**14) as wire:
        wire.sendall(head(mine).replace(b"POST /reconstruct", f"GET {path}?redirect=false".encode()))
        received = bytearray(wire.recv(2**10))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            time.sleep(0.05)
            received += wire.recv(2**12)  # about 80 kB/s; the gateway sends chunks of 256 KiB
        expected = received.index(b"\r\n\r\n") + 4 + len(content)
        while len(received) < expected and (some := wire.recv(2**20)):
            received += some
    assert received[-len(content) :] == content


def _line(gateway: Gateway, path: str) -> str:
    end = time.monotonic() + PATIENCE
    while not (found := [line for line in gateway.log.tail("gateway", 2000) if f'"path": "{path}"' in line]):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found[0]


def test_connections_are_limited(server_env: dict[str, str]) -> None:
    with running(Gateway(server_env | {"OFLOW_MAX_CONNECTIONS": "4"})) as few, ExitStack() as open_:
        few.client.close()  # it holds a connection itself
        first = [open_.enter_context(connected(few)) for _ in range(4)]
        for wire in first:
            wire.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert status(wire.recv(2**16)) == 200
        for _ in range(3):
            response = rest(open_.enter_context(connected(few)))
            assert status(response) == 503
            assert b'"code":"too_many_connections"' in response
            assert b"retry-after" in response.lower()
        first[0].close()
        end = time.monotonic() + PATIENCE
        while True:
            with connected(few) as wire:
                wire.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                if status(wire.recv(2**16)) == 200:
                    break
            assert time.monotonic() < end


def test_open_responses_are_limited_per_key(
    locked: Gateway, mine: Caller, yours: Caller, any_model: str, sample: bytes
) -> None:
    """The gateway allows four open responses per key."""
    job = f"/jobs/{mine.submit(sample, model=any_model)['id']}"
    other = f"/jobs/{yours.submit(sample, model=any_model)['id']}"
    with ExitStack() as open_:
        for _ in range(4):
            wire = open_.enter_context(connected(locked))
            wire.sendall(head(mine).replace(b"POST /reconstruct", f"GET {job}/events".encode()))
            assert status(wire.recv(2**16)) == 200
        refused = mine.send("GET", f"{job}/events")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0
        at_once = mine.send("GET", job, headers={"Prefer": "wait=60"}, timeout=PATIENCE)
        assert (at_once.status_code, at_once.headers.get("preference-applied")) == (200, None)
        waited = yours.send("GET", other, headers={"Prefer": "wait=1"})
        assert waited.headers["preference-applied"] == "wait=1"
    end = time.monotonic() + PATIENCE
    while "preference-applied" not in mine.send("GET", job, headers={"Prefer": "wait=1"}).headers:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_concurrent_readiness_probes_do_not_exhaust_threads(
    locked: Gateway, mine: Caller, object_store: ObjectStore
) -> None:
    """More probes than threads, without a key, while the object store does not respond."""
    with ThreadPoolExecutor(60) as pool:
        object_store.pause()
        try:
            probes = [pool.submit(locked.client.get, "/readyz") for _ in range(60)]
            assert not wait(probes, 1).done
            assert mine.send("GET", "/jobs", timeout=10).status_code == 200
        finally:
            object_store.resume()
        assert {response.result().status_code for response in probes} <= {200, 503}


def test_hanging_store_holds_up_no_other_requests(
    locked: Gateway,
    mine: Caller,
    yours: Caller,
    any_model: str,
    sample: bytes,
    settings: Settings,
    object_store: ObjectStore,
) -> None:
    """One key asks for more results than there are threads."""
    job_id = mine.submit(sample, model=any_model)["id"]
    finish(GatewayContext(settings), job_id)
    with ThreadPoolExecutor(60) as pool:
        object_store.pause()
        try:
            results = [pool.submit(mine.send, "GET", f"/jobs/{job_id}/result") for _ in range(60)]
            assert not wait(results, 1).done
            for path in ("/livez", "/", "/metrics"):
                assert locked.client.get(path, timeout=3).status_code == 200
            assert yours.send("GET", "/jobs", timeout=3).status_code == 200
            assert mine.send("GET", f"/jobs/{job_id}", timeout=3).status_code == 200
        finally:
            object_store.resume()
        assert {response.result().status_code for response in results} <= {307, 503}
    assert mine.send("GET", f"/jobs/{job_id}/result").status_code == 307

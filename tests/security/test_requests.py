"""Excessive headers, ambiguous framing, malformed HTTP and expensive forms."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.integration.service_processes import Gateway
from tests.security.caller import Caller, connected, rest, status

MEMORY = 150e6  # bytes, the gateway's memory limit


@contextmanager
def watched(gateway: Gateway) -> Iterator[dict[str, float]]:
    """Record the gateway's peak memory and number of open files."""
    process, done = psutil.Process(gateway.pid), threading.Event()
    peak = {"memory": 0.0, "files": 0.0}

    def watch() -> None:
        while not done.is_set():
            peak["memory"] = max(peak["memory"], process.memory_info().rss)
            peak["files"] = max(peak["files"], process.num_fds())
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([f"X-{number}: a" for number in range(90)], 200),
        ([f"X-{number}: a" for number in range(200)], 431),
        (["X: " + "a" * 20_000], 431),
        ([f"X-{number}: " + "a" * 500 for number in range(40)], 431),
        ([f"{number}:" for number in range(20_000)], 400),  # more than the server parses
        (["X: " + "a" * 10_000_000], 400),
    ],
    ids=["many, but not too many", "many", "large", "many and large", "a flood", "one without end"],
)
def test_request_header_limits(locked: Gateway, headers: list[str], expected: int) -> None:
    request = "\r\n".join(["GET /livez HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers, "", ""])
    with connected(locked) as wire:
        try:
            wire.sendall(request.encode())
        except ConnectionError:
            assert expected == 400
        else:
            response = rest(wire)
            assert status(response) in (expected, 0) if expected == 400 else status(response) == expected
            assert not response or b"x-content-type-options: nosniff" in response.lower()
    assert locked.client.get("/livez").status_code == 200


def test_overlong_url_is_refused(locked: Gateway) -> None:
    response = locked.client.get("/livez?" + "a" * 20_000)
    assert (response.status_code, response.json()["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    ],
    ids=["TLS", "no version", "no host", "a blank", "a negative length", "two lengths", "encoding", "a zero"],
)
def test_malformed_requests_are_refused(locked: Gateway, nonsense: bytes) -> None:
    with connected(locked) as wire:
        wire.sendall(nonsense + b"\r\n\r\n")
        response = rest(wire)
    assert status(response) == 400
    assert b'"code":"bad_request"' in response
    assert b"content-security-policy: default-src 'none'" in response.lower()


def test_chunked_body_with_content_length_is_limited_by_actual_size(locked: Gateway, mine: Caller) -> None:
    """The size of the chunks counts, not the smaller Content-Length."""
    fields = mine.headers | {"Host": "127.0.0.1", "Content-Length": "5", "Transfer-Encoding": "chunked"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    chunk = b"%x\r\n%s\r\n" % (2**20, bytes(2**20))
    sent = 0
    with connected(locked) as wire:
        wire.sendall(f"POST /uploads HTTP/1.1\r\n{head}\r\n".encode())
        try:
            for _ in range(64):
                wire.sendall(chunk)
                sent += 1
        except ConnectionError:
            pass
    assert sent < 64  # cut off: this route accepts 64 KiB
    with connected(locked) as wire:
        wire.sendall(
            f"POST /reconstruct HTTP/1.1\r\nContent-Type: application/json\r\n{head}\r\n".encode()
            + b"20000\r\n"
            + bytes(2**17)
            + b"\r\n0\r\n\r\n"
        )
        assert status(rest(wire)) == 413


def test_form_with_many_files_uses_little_memory_and_few_descriptors(
    locked: Gateway, mine: Caller, any_model: str
) -> None:
    """Each file alone would be small enough to be kept in memory."""
    files = [("file", (f"{number:08d}.npz", bytes(2**20 - 100))) for number in range(200)]
    with watched(locked) as peak:
        response = mine.send("POST", "/reconstruct", files=files, data={"model": any_model})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_sequence")
    assert peak["memory"] < MEMORY
    assert peak["files"] < 100


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "hex", "unicode_escape", "x" * 1000])
def test_form_charset_must_be_utf8(locked: Gateway, mine: Caller, charset: str) -> None:
    """Some Python codecs are not text codecs, others take seconds."""
    field = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n-' + b"b" * 60_000 + b"\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    start = time.monotonic()
    response = mine.send("POST", "/reconstruct", content=field * 30 + b"--x--\r\n", headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert "UTF-8" in response.json()["detail"]
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "form",
    [
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="' + b"a" * 100_000,
        b"--x\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(1000)),
        b"".join(
            b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n\r\n' % number
            for number in range(1000)
        ),
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 100_000,
    ],
    ids=["a long name", "many headers of a part", "many fields", "a long field"],
)
def test_oversized_forms_are_refused(locked: Gateway, mine: Caller, form: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = mine.send("POST", "/reconstruct", content=form + b"\r\n--x--\r\n", headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")

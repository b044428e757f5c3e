"""Downloads from addresses that callers name: their places, and what is said of failures."""

import asyncio
import io
import socket

import httpx
import pytest

from service.api import source_urls
from service.api.http.problems import Problem
from service.api.source_urls import PLACES, download
from service.core.settings import Settings


def test_slow_servers_of_one_key_leave_places_to_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    async def fetch(_: Settings, url: str, __: object) -> None:
        started.append(url)
        if url == "slow":
            await asyncio.sleep(60)

    monkeypatch.setattr(source_urls, "_download", fetch)
    monkeypatch.setattr(source_urls, "WAIT_SECONDS", 0.05)

    async def ask() -> None:
        slow = [asyncio.create_task(download(settings, "a", "slow", io.BytesIO())) for _ in range(PLACES)]
        done, waiting = await asyncio.wait(slow, timeout=0.3)
        assert len(started) == PLACES // 2
        for refused in done:
            with pytest.raises(Problem, match="retry later"):
                await refused
        await download(settings, "b", "fast", io.BytesIO())
        for task in waiting:
            task.cancel()

    asyncio.run(ask())
    assert started[-1] == "fast"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(-2, "Name or service not known"), "its host name could not be resolved"),
        (httpx.ConnectError("All connection attempts failed"), "no connection to its host could be made"),
        (
            httpx.ConnectError(
                "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired (_ssl.c:1)"
            ),
            "the certificate of its host is not valid: expired",
        ),
        (
            httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong (_ssl.c:1)"),
            "its host does not answer by TLS",
        ),
        (httpx.ReadTimeout(""), "the server was silent for 15 s"),
        (httpx.RemoteProtocolError("bytearray(b'x')"), "the response broke off, or is not valid HTTP"),
        (ValueError("has port 0"), "an address on the way has port 0"),
    ],
)
def test_failures_are_told_in_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(source_urls, "_download", fail)
    with pytest.raises(Problem, match=told) as refused:
        asyncio.run(download(settings, None, "https://example.org", io.BytesIO()))
    assert refused.value.details.code == "source_unavailable"

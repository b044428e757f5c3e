"""Uploads that the gateway fetches itself, from a URL that the caller names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import BinaryIO
from urllib.parse import urljoin
from weakref import WeakValueDictionary

import httpx

from service.api.http.outbound import RefusedAddress, checked_request, reason
from service.api.http.problems import Problem
from service.core.addresses import check_address
from service.core.sequences.sequence import Fault
from service.core.settings import Settings

TIMEOUT_SECONDS = 120  # of a whole download
STALL_SECONDS = 15
MAX_REDIRECTS = 3  # each is checked like the first URL
PLACES = 8  # downloads at a time
WAIT_SECONDS = 20  # for one of them
_places = asyncio.Semaphore(PLACES)
_shares = WeakValueDictionary[str, asyncio.Semaphore]()  # of owners with downloads


async def download(settings: Settings, owner: str | None, url: str, file: BinaryIO) -> None:
    """Write what the URL returns to `file`. Raises Problem `source_unavailable`, `too_large` or `busy`.

    An `owner` gets half of the places at most, so that slow servers of one leave some to others.
    """
    async with _place(owner):
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await _download(settings, url, file)
        except TimeoutError:
            raise _unavailable(f"it was not complete after {TIMEOUT_SECONDS} s") from None
        except RefusedAddress as error:
            raise _unavailable(str(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ValueError) as error:
            raise _unavailable(reason(error, STALL_SECONDS)) from None


@asynccontextmanager
async def _place(owner: str | None) -> AsyncIterator[None]:
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                if owner is not None:
                    await held.enter_async_context(_shares.setdefault(owner, asyncio.Semaphore(PLACES // 2)))
                await held.enter_async_context(_places)
        except TimeoutError:
            detail = f"Too many files are being fetched, none was done within {WAIT_SECONDS} s: retry later"
            raise Problem("busy", detail, headers={"Retry-After": str(WAIT_SECONDS)}) from None
        yield


async def _download(settings: Settings, url: str, file: BinaryIO) -> None:
    headers = {"User-Agent": "oflow", "Accept-Encoding": "identity"}
    for _ in range(MAX_REDIRECTS + 1):
        request = await checked_request(
            "GET",
            check_address(url),
            loopback=settings.webhook_loopback,
            timeout=STALL_SECONDS,
            headers=headers,
        )
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
            answer = await client.send(request, stream=True)
            try:
                if answer.is_redirect:
                    url = urljoin(url, answer.headers.get("location", ""))
                    continue
                if answer.status_code != httpx.codes.OK:
                    raise _unavailable(f"the server answered {answer.status_code}")
                await _receive(answer, file, settings.max_upload_bytes)
                return
            finally:
                await answer.aclose()
    raise _unavailable(f"it was redirected more than {MAX_REDIRECTS} times")


async def _receive(answer: httpx.Response, file: BinaryIO, limit: int) -> None:
    declared = answer.headers.get("content-length", "")
    received = int(declared) if declared.isdecimal() and int(declared) > limit else 0
    if not received:
        async for chunk in answer.aiter_raw():
            received += len(chunk)
            if received > limit:
                break
            file.write(chunk)
    if received > limit:
        raise Problem("too_large", f"The file at source_url exceeds {limit / 2**20:.0f} MiB")


def _unavailable(reason: str) -> Problem:
    message = f"source_url could not be fetched: {reason}"
    fault = Fault("source_url", message, "", "a public https URL of a file")
    return Problem("source_unavailable", errors=[fault])

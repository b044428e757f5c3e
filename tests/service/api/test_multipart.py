"""Forms: where the contents of their files go."""

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Request
from starlette import datastructures
from starlette.datastructures import FormData
from starlette.types import Message

from service.api.http.body import SPOOL_BYTES, spool
from service.api.http.multipart import read_form

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def form_with(size: int) -> FormData:
    body = io.BytesIO(HEAD + bytes(size) + b"\r\n--b--\r\n")

    async def receive() -> Message:
        chunk = body.read(1 << 16)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with spool() as files:
        return asyncio.run(read_form(request, files, 1))


@pytest.mark.parametrize(("size", "on_disk"), [(60_000, False), (SPOOL_BYTES + 1, True)])
def test_threads_are_for_files_on_disk(monkeypatch: pytest.MonkeyPatch, size: int, on_disk: bool) -> None:
    threads = []

    async def run(function: Callable[..., Any], *arguments: Any) -> Any:
        threads.append(function)
        return function(*arguments)

    monkeypatch.setattr(datastructures, "run_in_threadpool", run)
    form_with(size)
    assert bool(threads) == on_disk

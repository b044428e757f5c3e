"""Limits on request headers, body size (declared or streamed) and transfer time."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.http.problems import Problem, refuse
from service.core.settings import Settings

DEFAULT_MAX_BYTES = 2**16
HEAD_BYTES = 2**14  # URL and all header names and values
HEAD_FIELDS = 100


class RequestLimitsMiddleware:
    """ASGI middleware. Body violations raise Problem where the body is read.

    `max_bytes` applies to bodies sent to `path`; other routes accept `DEFAULT_MAX_BYTES`.
    """

    def __init__(self, app: ASGIApp, path: str, max_bytes: int, settings: Settings) -> None:
        self.app = app
        self.path = path
        self.max_bytes = max_bytes
        self.stall = settings.stall_seconds
        self.rate = settings.min_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if detail := _head_too_large(scope):
            await refuse(Problem("headers_too_large", detail), scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "content-length" not in headers and "transfer-encoding" not in headers:
            await self.app(scope, receive, send)
            return
        limit = self.max_bytes if scope["path"] == self.path else DEFAULT_MAX_BYTES
        body = _Body(receive, headers, limit, self.stall, self.rate)
        await self.app(scope, body.receive, body.watch(send))


class _Body:
    """A request body being received."""

    def __init__(self, receive: Receive, headers: Headers, limit: int, stall: float, rate: float) -> None:
        self._receive = receive
        self.limit, self.stall, self.rate = limit, stall, rate
        declared = headers.get("content-length", "")
        # A chunked body's Content-Length is meaningless; the size received is checked as well.
        self.declared = int(declared) if declared.isdecimal() else 0
        self.size = 0
        self.waited = 0.0  # seconds
        self.complete = self.response_started = False

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            return await self._next()
        except Problem:
            self.complete = True
            if self.response_started:  # too late for an error response
                return {"type": "http.disconnect"}
            raise

    async def _next(self) -> Message:
        self._check_size(self.declared)
        start = time.monotonic()
        remaining = self.stall + self.size / self.rate - self.waited
        try:
            async with asyncio.timeout(min(self.stall, max(0.0, remaining))):
                message = await self._receive()
        except TimeoutError:
            detail = (
                f"Timed out after {self.size} bytes of the body: send at least {self.rate} bytes/s "
                f"without pausing for {self.stall:g} s"
            )
            raise Problem("too_slow", detail) from None
        self.waited += time.monotonic() - start
        self.size += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        self._check_size(self.size)
        return message

    def _check_size(self, size: int) -> None:
        if size > self.limit:
            raise Problem("too_large", f"The request body exceeds {self.limit / 2**20:g} MiB")

    def watch(self, send: Send) -> Send:
        """Wrap `send` to record that a response has started."""

        async def watching_send(message: Message) -> None:
            self.response_started = True
            await send(message)

        return watching_send


def _head_too_large(scope: Scope) -> str | None:
    fields = scope["headers"]
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in fields)
    if size <= HEAD_BYTES and len(fields) <= HEAD_FIELDS:
        return None
    return (
        f"The request has {len(fields)} headers and {size} bytes of URL and headers: "
        f"at most {HEAD_FIELDS} and {HEAD_BYTES} are accepted"
    )

"""No request is taken beyond a limit: of its headers, of its body, declared or not, and of its time."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.http.problems import Problem, refuse
from service.core.settings import Settings

SMALL = 2**16  # bytes
HEAD_BYTES = 2**14  # of all headers with their names, and the address
HEAD_FIELDS = 100


class RequestLimitsMiddleware:
    """ASGI middleware. What is wrong with a body is raised where it is read, and answered like any problem.

    `max_bytes` is for bodies sent to `path`; nobody else wants more than a few.
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
        if head := _too_large(scope):
            await refuse(Problem("headers_too_large", head), scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "content-length" not in headers and "transfer-encoding" not in headers:
            await self.app(scope, receive, send)
            return
        most = self.max_bytes if scope["path"] == self.path else SMALL
        body = _Body(receive, headers, most, self.stall, self.rate)
        await self.app(scope, body.receive, body.watch(send))


class _Body:
    """The body of one request, on its way."""

    def __init__(self, receive: Receive, headers: Headers, most: int, stall: float, rate: float) -> None:
        self._receive = receive
        self.most, self.stall, self.rate = most, stall, rate
        declared = headers.get("content-length", "")
        # A chunked body may declare a length as well, which does not count then.
        self.declared = int(declared) if declared.isdecimal() else 0
        self.size = 0
        self.waited = 0.0  # seconds
        self.complete = self.answered = False

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            return await self._next()
        except Problem:
            self.complete = True
            if self.answered:  # too late to tell
                return {"type": "http.disconnect"}
            raise

    async def _next(self) -> Message:
        self._require_small(self.declared)
        began = time.monotonic()
        enough = self.stall + self.size / self.rate - self.waited
        try:
            async with asyncio.timeout(min(self.stall, max(0.0, enough))):
                message = await self._receive()
        except TimeoutError:
            told = (
                f"Of the body {self.size} bytes came: wants {self.rate} bytes a second, without long pauses"
            )
            raise Problem("too_slow", told) from None
        self.waited += time.monotonic() - began
        self.size += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        self._require_small(self.size)
        return message

    def _require_small(self, size: int) -> None:
        if size > self.most:
            raise Problem("too_large", f"The request body is larger than {self.most / 2**20:g} MiB")

    def watch(self, send: Send) -> Send:
        async def send_and_note(message: Message) -> None:
            self.answered = True
            await send(message)

        return send_and_note


def _too_large(scope: Scope) -> str | None:
    fields = scope["headers"]
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in fields)
    if size <= HEAD_BYTES and len(fields) <= HEAD_FIELDS:
        return None
    return (
        f"The request has {len(fields)} headers, {size} bytes: wants at most {HEAD_FIELDS} and {HEAD_BYTES}"
    )

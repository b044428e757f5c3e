"""No request body is read beyond a limit, whether its length is declared or not."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import Problem

SMALL = 2**16  # bytes


class BodyLimit:
    """ASGI middleware. The refusal is raised where the body is read, so it is answered like any problem.

    `max_bytes` is for bodies sent to `path`; nobody else wants more than a few.
    """

    def __init__(self, app: ASGIApp, path: str, max_bytes: int) -> None:
        self.app = app
        self.path = path
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        size = int(declared) if declared.isdecimal() else 0
        most = self.max_bytes if scope["path"] == self.path else SMALL

        async def receive_some() -> Message:
            nonlocal size
            if size <= most:
                message = await receive()
                if not declared:
                    size += len(message.get("body", b""))
            if size > most:
                raise Problem("too_large", f"The request body is larger than {most / 2**20:g} MiB")
            return message

        await self.app(scope, receive_some, send)

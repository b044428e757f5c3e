"""No request body is read beyond a limit, whether its length is declared or not."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import Problem


class BodyLimit:
    """ASGI middleware. The refusal is raised where the body is read, so it is answered like any problem."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        size = int(declared) if declared.isdecimal() else 0

        async def receive_some() -> Message:
            nonlocal size
            if size <= self.max_bytes:
                message = await receive()
                if not declared:
                    size += len(message.get("body", b""))
            if size > self.max_bytes:
                raise Problem(
                    "too_large", f"The request body is larger than {self.max_bytes / 2**20:.0f} MiB"
                )
            return message

        await self.app(scope, receive_some, send)

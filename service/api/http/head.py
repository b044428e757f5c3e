"""HEAD wherever GET works, with the same headers (RFC 9110, 9.3.2)."""

from starlette.routing import Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """Answers HEAD through the route for GET, which stops once its headers are known.

    Routes that answer HEAD themselves are left alone. The server leaves out the body.
    """

    def __init__(self, app: ASGIApp, router: Router) -> None:
        self.app = app
        self.router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._is_handled(scope):
            await self.app(scope, receive, send)
            return
        answered = False

        async def send_start(message: Message) -> None:
            nonlocal answered
            if not answered:
                answered = True
                await send(message)
                await send({"type": "http.response.body"})

        async def receive_until_answered() -> Message:
            return {"type": "http.disconnect"} if answered else await receive()

        scope.setdefault("state", {})["is_head"] = True  # presigned URLs are for one method
        await self.app({**scope, "method": "GET"}, receive_until_answered, send_start)

    def _is_handled(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self.router.routes)

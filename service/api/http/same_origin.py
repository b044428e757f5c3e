"""Protection against malicious web pages when the gateway runs without keys.

A page can post to any address including loopback (CSRF), and with a domain that resolves to 127.0.0.1 it can
also read the responses (DNS rebinding). With keys neither works, as browsers do not add them on their own.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.http.problems import Problem, refuse
from service.core.settings import LOOPBACK

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class SameOriginMiddleware:
    """ASGI middleware that refuses cross-origin writes and, with `loopback`, non-loopback Host headers.

    Pages of the `allowed` origins may write too.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, allowed: Sequence[str] = ()) -> None:
        self.app = app
        self.allowed = allowed
        self.loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := self._problem(scope)):
            await refuse(problem, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.loopback and _hostname(f"//{host}") not in LOOPBACK:
            detail = "Without keys, the gateway accepts only 127.0.0.1, ::1 or localhost as the Host header"
            return Problem("wrong_host", detail)
        foreign = origin is not None and origin.partition("://")[2] != host and origin not in self.allowed
        if foreign and scope["method"] not in SAFE_METHODS:
            detail = "Without keys, only the gateway's own pages may send this request"
            return Problem("foreign_page", detail)
        return None


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None

"""Where no key is asked for, a browser on this machine could be used by any page that it shows.

A page can post to any address, loopback too, and under a name of its own that leads to 127.0.0.1 (DNS
rebinding) it can read the answers as well. Keys make both harmless: no browser adds one by itself.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.http.problems import Problem, refuse
from service.core.settings import LOOPBACK

READING = {"GET", "HEAD", "OPTIONS"}


class SameOriginMiddleware:
    """ASGI middleware. `loopback`: the gateway is reached under the names of this machine only."""

    def __init__(self, app: ASGIApp, *, loopback: bool) -> None:
        self.app = app
        self.loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := self._problem(scope)):
            await refuse(problem, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.loopback and _name(f"//{host}") not in LOOPBACK:
            told = (
                "Without keys the gateway is used as 127.0.0.1 or localhost: the request names another host"
            )
            return Problem("wrong_host", told)
        if origin is not None and scope["method"] not in READING and origin.partition("://")[2] != host:
            return Problem("foreign_page", "Without keys only the gateway's own pages may send this")
        return None


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None

"""Tracing, access log, metrics and the catch-all error handler, around every request."""

import logging
import time
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.http.problems import Problem, problem_response
from service.api.metrics import RequestMetrics
from service.core.trace import Span, parse, span

log = logging.getLogger("service.access")
PROBES = ("/livez", "/readyz", "/metrics")  # neither logged nor traced, unless in detail
NO_ROUTE = "(none)"  # metric label of requests that match no route


class AccessLogMiddleware:
    """ASGI middleware; wraps every request."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        parent = parse(Headers(scope=scope).get("traceparent"))
        with span(scope["method"], parent, kind="server", record=scope["path"] not in PROBES) as own:
            await self._handle(scope, receive, send, own)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, own: Span) -> None:
        request_headers = Headers(scope=scope)
        has_body = "transfer-encoding" in request_headers or request_headers.get("content-length", "0") != "0"
        start = time.perf_counter()
        status = 0
        sent = received = 0
        body_complete = False
        state = scope.setdefault("state", {})

        async def counting_receive() -> Message:
            nonlocal received, body_complete
            message = await receive()
            body_complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            return message

        async def counting_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["traceparent"] = str(own.trace)
                for name, value in state.get("rate_limit_headers", {}).items():
                    headers[name] = ", ".join(filter(None, [headers.get(name), value]))
                if has_body and not body_complete:
                    headers["Connection"] = "close"  # otherwise the server would read the rest of the body
            sent += len(message.get("body", b""))
            await send(message)

        path = quote(scope["path"])  # untrusted: keep line breaks out of the log
        try:
            await self.app(scope, counting_receive, counting_send)
        except ClientDisconnect:
            state["problem"] = "disconnected"
        except Exception:
            log.exception("unexpected error at %s %s", scope["method"], path)
            state["problem"] = "internal_error"
            if not status:
                await problem_response(Problem("internal_error"))(scope, receive, counting_send)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            problem = state.get("problem", "")
            self.metrics.observe(scope["method"], route, status, seconds, received, sent, problem)
            own.name = f"{scope['method']} {route}"
            own.attributes |= {"http.route": route, "http.response.status_code": status}
            if problem:
                own.attributes["error.type"] = problem
            fields = {
                "method": scope["method"],
                "path": path,
                "status": status,
                "milliseconds": round(1e3 * seconds, 1),
                "bytes_in": received,
                "bytes_out": sent,
                "caller": state.get("caller", ""),
                "problem": problem,
            }
            level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
            log.log(level, "%s %s %d", scope["method"], path, status, extra=fields)

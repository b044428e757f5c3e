"""Around every request: its trace, its line in the log, its place in the metrics, and the last resort."""

import logging
import time
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.http.problems import Problem, answer
from service.api.metrics import RequestMetrics
from service.core.trace import begin_trace

log = logging.getLogger("service.access")
UNNAMED = "(none)"  # the route of an address that there is not


class AccessLogMiddleware:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        trace = begin_trace(asked.get("traceparent"))
        has_body = "transfer-encoding" in asked or asked.get("content-length", "0") != "0"
        began = time.perf_counter()
        status = 0
        sent = received = 0
        arrived = False
        state = scope.setdefault("state", {})

        async def count_in() -> Message:
            nonlocal received, arrived
            message = await receive()
            arrived = not message.get("more_body", False)
            received += len(message.get("body", b""))
            return message

        async def count_out(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["traceparent"] = str(trace)
                for name, value in state.get("rate_limit_headers", {}).items():
                    headers[name] = ", ".join(filter(None, [headers.get(name), value]))
                if has_body and not arrived:
                    headers["Connection"] = "close"  # or the server would read the rest of the body
            sent += len(message.get("body", b""))
            await send(message)

        path = quote(scope["path"])  # of strangers: no line breaks in the log
        try:
            await self.app(scope, count_in, count_out)
        except ClientDisconnect:
            state["problem"] = "disconnected"
        except Exception:
            log.exception("unforeseen error at %s %s", scope["method"], path)
            state["problem"] = "internal_error"
            if not status:
                await answer(Problem("internal_error"))(scope, receive, count_out)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", UNNAMED)
            problem = state.get("problem", "")
            self.metrics.observe(scope["method"], route, status, seconds, received, sent, problem)
            line = {
                "method": scope["method"],
                "path": path,
                "status": status,
                "milliseconds": round(1e3 * seconds, 1),
                "bytes_in": received,
                "bytes_out": sent,
                "caller": state.get("caller", ""),
                "problem": problem,
            }
            level = logging.DEBUG if scope["path"] in ("/livez", "/readyz", "/metrics") else logging.INFO
            log.log(level, "%s %s %d", scope["method"], path, status, extra=line)

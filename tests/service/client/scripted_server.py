"""A server that answers what a test tells it to."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Answers from `answers`, by method and path: status, media type, body, one after the other."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[tuple[int, str, str]]] = {}
        self.asked: list[tuple[str, str | None]] = []

    def answer(self, request: str, body: Any, status: int = 200, kind: str = "application/json") -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.answers.setdefault(request, []).append((status, kind, text))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = f"{self.command} {self.path}"
        self.server.asked.append((request, self.headers["Last-Event-ID"]))
        waiting = self.server.answers.get(request) or [(404, "application/json", '{"title": "Not found"}')]
        status, kind, text = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

"""A collector of OpenTelemetry spans for tests: OTLP over HTTP, in this process."""

import gzip
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: float  # seconds
    end: float
    attributes: dict[str, Any]
    failed: bool


@dataclass
class Collector:
    port: int
    spans: list[Received] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes that send here."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}"}

    def trace(self, trace_id: str, count: int, seconds: float = 20) -> list[Received]:
        """The spans of a trace in order of their start, once there are that many."""
        deadline = time.monotonic() + seconds
        while True:
            found = sorted((s for s in self.spans if s.trace_id == trace_id), key=lambda span: span.start)
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, [span.name for span in found]
            time.sleep(0.1)


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()


def _spans(request: Any) -> Iterator[Received]:
    for resource in request.resource_spans:
        service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    service,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano / 1e9,
                    span.end_time_unix_nano / 1e9,
                    {
                        each.key: getattr(each.value, each.value.WhichOneof("value"))
                        for each in span.attributes
                    },
                    span.status.code == span.status.STATUS_CODE_ERROR,
                )

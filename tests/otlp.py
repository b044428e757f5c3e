"""A collector of OpenTelemetry spans and metrics for tests: OTLP over HTTP, in this process."""

import gzip
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
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


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]  # name, as in Prometheus, and labels → value


@dataclass
class Collector:
    port: int
    spans: list[Received] = field(default_factory=list)
    metrics: dict[str, Series] = field(default_factory=dict)  # what each service said last

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
            if self.path == "/v1/traces":
                collector.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            else:
                collector.metrics |= _series(ExportMetricsServiceRequest.FromString(body))
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


def _attributes(message: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in message.attributes}


def _series(request: Any) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for resource in request.resource_metrics:
        series = found.setdefault(_attributes(resource.resource)["service.name"], {})
        for metric in [metric for scope in resource.scope_metrics for metric in scope.metrics]:
            kind = metric.WhichOneof("data")
            assert kind == "gauge" or getattr(metric, kind).aggregation_temporality == 2, "cumulative"
            assert kind != "sum" or metric.sum.is_monotonic
            for point in getattr(metric, kind).data_points:
                labels = frozenset(_attributes(point).items())
                if kind == "histogram":
                    series[f"{metric.name}_sum", labels] = point.sum
                    series[f"{metric.name}_count", labels] = point.count
                    bounds = [*point.explicit_bounds, float("inf")]
                    for bound, count in zip(bounds, accumulate(point.bucket_counts), strict=True):
                        le = "+Inf" if bound == float("inf") else str(float(bound))
                        series[f"{metric.name}_bucket", labels | {("le", le)}] = count
                else:
                    series[metric.name, labels] = getattr(point, point.WhichOneof("value"))
    return found


def _spans(request: Any) -> Iterator[Received]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource)["service.name"]
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

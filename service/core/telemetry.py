"""Export of spans by OpenTelemetry over OTLP/HTTP, if OTEL_EXPORTER_OTLP_ENDPOINT is set.

All variables of the OpenTelemetry SDK apply: OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES,
OTEL_TRACES_SAMPLER and so on. `service.api.metrics_export` does the same for the gateway's metrics.
"""

import os
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from service.core.extras import needs
from service.core.trace import Kind, Span, Trace, record_spans
from service.core.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

EXPORT_MILLISECONDS = 1000  # between two exports; a killed process loses what it has not exported


def is_exported(signal: Literal["TRACES", "METRICS"]) -> bool:
    """Whether an endpoint is set for the signal, and its exporter is not `none`."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    wanted = os.environ.get(f"OTEL_{signal}_EXPORTER") != "none"
    return wanted and any(os.environ.get(name) for name in endpoints)


def resource(part: str) -> "Resource":
    """What sends: the service `oflow-{part}`. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    named = {"service.name": f"oflow-{part}", "service.version": VERSION, "service.instance.id": str(uuid4())}
    return Resource.create(named).merge(OTELResourceDetector().detect())


@needs("otel")
def configure_telemetry(part: str) -> None:
    """Export the spans of this process, as those of the service `oflow-{part}`, if an endpoint is set."""
    if is_exported("TRACES"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        record_spans(OpenTelemetry(part, OTLPSpanExporter()))


class OpenTelemetry:
    """Records spans with the SDK. Parents are always given, so its own context is not used."""

    def __init__(self, part: str, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self.provider = TracerProvider(resource=resource(part))
        processor = BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_MILLISECONDS)
        self.provider.add_span_processor(processor)
        self.tracer = self.provider.get_tracer("oflow", VERSION)

    def start(self, parent: Trace | None, kind: Kind, start: datetime | None) -> tuple[Trace, object]:
        from opentelemetry.context import Context
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            TraceFlags,
            set_span_in_context,
        )

        context = Context()
        if parent is not None:
            flags = TraceFlags(int(parent.flags, 16))
            above = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, flags)
            context = set_span_in_context(NonRecordingSpan(above), context)
        began = int(1e9 * start.timestamp()) if start else None
        found = self.tracer.start_span("", context, SpanKind[kind.upper()], start_time=began)
        own = found.get_span_context()
        return Trace(f"{own.trace_id:032x}", f"{own.span_id:016x}", f"{int(own.trace_flags):02x}"), found

    def end(self, handle: object, span: Span, error: BaseException | None) -> None:
        from opentelemetry.sdk.trace import Span as Recorded
        from opentelemetry.trace import StatusCode

        if not isinstance(handle, Recorded):  # not sampled
            return
        handle.update_name(span.name)
        handle.set_attributes(span.attributes)
        if error is not None:
            handle.set_status(
                StatusCode.ERROR, type(error).__name__
            )  # a message may quote what a caller sent
        handle.end()

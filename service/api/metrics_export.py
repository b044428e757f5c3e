"""Export of the gateway's metrics by OpenTelemetry over OTLP/HTTP, with the names and labels of `/metrics`.

Sums are cumulative. OTEL_METRIC_EXPORT_INTERVAL is the time between two exports in milliseconds (60,000).
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from service.core.extras import needs
from service.core.telemetry import is_exported, resource
from service.core.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import export as otel

log = logging.getLogger(__name__)
END_SECONDS = 3.0  # that the last export may take


@needs("otel")
def export_metrics(registry: CollectorRegistry) -> Callable[[], None]:
    """Export what the registry collects in a thread, if an endpoint is set; returns what ends that."""
    if not is_exported("METRICS"):
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    exporter, sender, ending = OTLPMetricExporter(), resource("gateway"), threading.Event()
    seconds = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or 60_000) / 1000

    def run() -> None:
        ended = False
        while not ended:
            ended = ending.wait(seconds)  # and once more at the end
            try:
                exporter.export(metrics_data(registry.collect(), sender))
            except Exception:  # the thread must go on
                log.exception("metrics could not be exported")

    thread = threading.Thread(target=run, daemon=True, name="metrics-export")
    thread.start()

    def end() -> None:
        ending.set()
        thread.join(END_SECONDS)
        exporter.shutdown()

    return end


def metrics_data(families: Iterable[Metric], sender: Any) -> "otel.MetricsData":
    """The families as OpenTelemetry has them, of the resource `sender`."""
    from opentelemetry.sdk.metrics import export as otel
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    now = time.time_ns()
    metrics = [
        otel.Metric(name=_name(family), description=family.documentation, unit=family.unit, data=data)
        for family in families
        if (data := _data(family, now)).data_points
    ]
    scope = otel.ScopeMetrics(scope=InstrumentationScope("oflow", VERSION), metrics=metrics, schema_url="")
    of_sender = otel.ResourceMetrics(resource=sender, scope_metrics=[scope], schema_url="")
    return otel.MetricsData(resource_metrics=[of_sender])


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _data(family: Metric, now: int) -> "otel.Sum | otel.Gauge | otel.Histogram":
    from opentelemetry.sdk.metrics import export as otel

    cumulative = otel.AggregationTemporality.CUMULATIVE
    if family.type == "histogram":
        return otel.Histogram(_histograms(family, now), cumulative)
    points = [
        otel.NumberDataPoint(sample.labels, 0, now, sample.value)  # 0: since when it counts is unknown
        for sample in family.samples
        if sample.name == _name(family)
    ]
    if family.type == "counter":
        return otel.Sum(points, cumulative, is_monotonic=True)
    return otel.Gauge(points)


def _histograms(family: Metric, now: int) -> "list[otel.HistogramDataPoint]":
    """Prometheus counts what is at most a bound, OpenTelemetry what is between two."""
    from opentelemetry.sdk.metrics import export as otel

    series: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        series.setdefault(labels, []).append(sample)
    points = []
    for labels, samples in series.items():
        buckets = sorted((float(s.labels["le"]), int(s.value)) for s in samples if "le" in s.labels)
        counts = [count for _, count in buckets]
        [total] = [s.value for s in samples if s.name.endswith("_sum")]
        points.append(
            otel.HistogramDataPoint(
                dict(labels),
                0,
                now,
                count=counts[-1],
                sum=total,
                bucket_counts=[count - below for count, below in zip(counts, [0, *counts], strict=False)],
                explicit_bounds=[bound for bound, _ in buckets[:-1]],
                min=None,  # type: ignore[arg-type]  # left out, as it is unknown
                max=None,  # type: ignore[arg-type]
            )
        )
    return points

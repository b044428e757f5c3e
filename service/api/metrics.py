"""Prometheus metrics: what this gateway answered, and what the whole service did, as Redis has it."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from service.core.counters import BUCKETS
from service.core.jobs.store import JobStore
from service.core.registry import Registry

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestMetrics:
    """Counted in this process, from its start on; `registry` holds these and what is added to it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "oflow_http_requests",
            "Requests by method, route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "oflow_http_request_seconds",
            "Time until a request was answered in full.",
            ["method", "route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
            registry=self.registry,
        )
        self.bytes = Counter(
            "oflow_http_bytes", "Bytes of bodies, in and out.", ["direction"], registry=self.registry
        )
        self.problems = Counter(
            "oflow_http_problems", "Requests that were refused, by code.", ["code"], registry=self.registry
        )

    def observe(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        received: int,
        sent: int,
        problem: str,
    ) -> None:
        method = method if method in METHODS else "OTHER"  # callers may send any word
        self.requests.labels(method, route, status).inc()
        self.seconds.labels(method, route).observe(seconds)
        self.bytes.labels("in").inc(received)
        self.bytes.labels("out").inc(sent)
        if problem:
            self.problems.labels(problem).inc()


class JobMetrics(Collector):
    """Read from Redis at each scrape, so the same from every gateway of a service."""

    def __init__(self, jobs: JobStore, registry: Registry) -> None:
        self.jobs = jobs
        self.registry = registry

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("oflow_redis_up", "Whether Redis answers.")
        try:
            metrics = [*self._counts(), *self._now()]
        except RedisError:
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        return [up, *metrics]

    def describe(self) -> Iterable[Metric]:
        return []  # or the registry would ask Redis at the start

    def _counts(self) -> Iterable[Metric]:
        counters = self.jobs.counters.read()
        families = {
            "jobs": ("oflow_jobs", "Jobs that have come into a state.", ["model", "state"]),
            "errors": ("oflow_job_errors", "Jobs that ended with an error, by code.", ["model", "code"]),
            "input_bytes": ("oflow_job_input_bytes", "Bytes of accepted sequences.", ["model"]),
            "result_bytes": ("oflow_job_result_bytes", "Bytes of result files.", ["model", "format"]),
        }
        for what, (name, text, labels) in families.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for (kind, *values), number in counters.items():
                if kind == what:
                    counter.add_metric(values, number)
            yield counter
        now = GaugeMetricFamily("oflow_jobs_now", "Jobs that are in a state now.", labels=["model", "state"])
        for (kind, *values), number in counters.items():
            if kind == "now" and values[1] != "expired":  # of those, some have no record any more
                now.add_metric(values, number)
        yield now
        yield _histogram("oflow_job_queue_seconds", "From acceptance to start.", "queue", counters)
        yield _histogram("oflow_job_run_seconds", "From first start to end.", "run", counters)

    def _now(self) -> Iterable[Metric]:
        labels = ["model"]
        depth = GaugeMetricFamily("oflow_queue_depth", "Jobs that wait to be started.", labels=labels)
        oldest = GaugeMetricFamily(
            "oflow_queue_oldest_seconds", "Age of the job that has waited longest.", labels=labels
        )
        workers = GaugeMetricFamily("oflow_workers", "Live workers.", labels=labels)
        info = GaugeMetricFamily(
            "oflow_model_info",
            "Models that can be asked for.",
            labels=["model", "task", "checkpoint_sha256", "resolution"],
        )
        alive = self.registry.workers()
        for name, model in self.registry.models().items():
            waiting, since = self.jobs.waiting(name)
            depth.add_metric([name], waiting)
            oldest.add_metric([name], max(0.0, time.time() - since) if since else 0.0)
            workers.add_metric([name], alive.get(name, 0))
            info.add_metric([name, model.task, model.checkpoint_sha256, str(model.resolution)], 1)
        return [depth, oldest, workers, info]


def _histogram(
    name: str, text: str, what: str, counters: Mapping[tuple[str, ...], float]
) -> HistogramMetricFamily:
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (kind, *rest), number in counters.items():
        if kind == what:
            model, bucket = rest
            found[model][bucket] = number
    histogram = HistogramMetricFamily(name, text, labels=["model"])
    for model, counts in found.items():
        total = 0.0
        buckets = []
        for end in (*map(str, BUCKETS), "+Inf"):
            total += counts.get(end, 0.0)
            buckets.append((end, total))
        histogram.add_metric([model], buckets, counts.get("sum", 0.0))
    return histogram

"""Prometheus metrics: HTTP metrics of this process, and job metrics of the whole service from Redis."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from service.core.counters import BUCKETS
from service.core.jobs.room import Memory
from service.core.jobs.store import JobStore
from service.core.registry import Registry

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestMetrics:
    """HTTP metrics of this process. `registry` holds them and any collector added to it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "oflow_http_requests",
            "HTTP requests by method, route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "oflow_http_request_seconds",
            "Time until the response was sent completely.",
            ["method", "route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
            registry=self.registry,
        )
        self.bytes = Counter(
            "oflow_http_bytes", "Body bytes received and sent.", ["direction"], registry=self.registry
        )
        self.problems = Counter(
            "oflow_http_problems", "Error responses by code.", ["code"], registry=self.registry
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
        method = method if method in METHODS else "OTHER"  # bounds the label's cardinality
        self.requests.labels(method, route, status).inc()
        self.seconds.labels(method, route).observe(seconds)
        self.bytes.labels("in").inc(received)
        self.bytes.labels("out").inc(sent)
        if problem:
            self.problems.labels(problem).inc()


class JobMetrics(Collector):
    """Job metrics, read from Redis at each scrape and therefore the same on every gateway."""

    def __init__(self, jobs: JobStore, registry: Registry, memory: Memory) -> None:
        self.jobs = jobs
        self.memory = memory
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
        return []  # otherwise registering this collector would query Redis

    def _counts(self) -> Iterable[Metric]:
        counters = self.jobs.counters.read()
        families: dict[str, tuple[str, str, list[str]]] = {
            "jobs": ("oflow_jobs", "Jobs that have entered a state.", ["model", "state"]),
            "errors": ("oflow_job_errors", "Jobs that ended with an error, by code.", ["model", "code"]),
            "input_bytes": ("oflow_job_input_bytes", "Bytes of accepted sequences.", ["model"]),
            "result_bytes": ("oflow_job_result_bytes", "Bytes of result files.", ["model", "format"]),
            "data_losses": ("oflow_redis_data_losses", "How often Redis was found without its data.", []),
            "loop_failures": (
                "oflow_loop_failures",
                "Unexpected errors in background tasks and watchdogs, which go on.",
                ["loop"],
            ),
        }
        for counter_name, (name, text, labels) in families.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for (kind, *values), number in counters.items():
                if kind == counter_name:
                    counter.add_metric(values, number)
            yield counter
        now = GaugeMetricFamily("oflow_jobs_now", "Jobs currently in a state.", labels=["model", "state"])
        for (kind, *values), number in counters.items():
            if kind == "now" and values[1] != "expired":  # expired records are deleted without being counted
                now.add_metric(values, number)
        yield now
        yield _histogram("oflow_job_queue_seconds", "Time from acceptance to start.", "queue", counters)
        yield _histogram("oflow_job_run_seconds", "Time from first start to end.", "run", counters)

    def _now(self) -> Iterable[Metric]:
        labels = ["model"]
        depth = GaugeMetricFamily("oflow_queue_depth", "Jobs waiting to start.", labels=labels)
        oldest = GaugeMetricFamily(
            "oflow_queue_oldest_seconds", "Age of the longest-waiting job.", labels=labels
        )
        workers = GaugeMetricFamily("oflow_workers", "Live workers.", labels=labels)
        info = GaugeMetricFamily(
            "oflow_model_info",
            "Available models.",
            labels=["model", "task", "checkpoint_sha256", "resolution"],
        )
        quarantine = GaugeMetricFamily(
            "oflow_quarantined_records", "Job records that cannot be read and were set aside."
        )
        quarantine.add_metric([], self.jobs.quarantined.size())
        memory = GaugeMetricFamily("oflow_redis_memory_used_ratio", "Used share of Redis' maxmemory.")
        memory.add_metric([], self.memory.used())
        alive, checkpoints = self.registry.workers(), self.registry.checkpoints()
        for name, model in self.registry.models().items():
            waiting, since = self.jobs.waiting(name)
            depth.add_metric([name], waiting)
            oldest.add_metric([name], max(0.0, time.time() - since) if since else 0.0)
            workers.add_metric([name], alive.get(name, 0))
            for sha256 in checkpoints.get(name, [model.checkpoint_sha256]):
                info.add_metric([name, model.task, sha256, str(model.resolution)], 1)
        return [depth, oldest, workers, info, quarantine, memory]


def _histogram(
    name: str, text: str, counter_name: str, counters: Mapping[tuple[str, ...], float]
) -> HistogramMetricFamily:
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (kind, *rest), number in counters.items():
        if kind == counter_name:
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

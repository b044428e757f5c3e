"""Tracing, logs, metrics and the discovery document."""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.core.jobs.formats import Format
from tests.integration.service_processes import Gateway, Worker, running
from tests.otlp import Collector, collecting

JSON_LOGS = {"OFLOW_LOG_FORMAT": "json"}
FORM = r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def json_gateway(server_env: dict[str, str], collector: Collector) -> Iterator[Gateway]:
    often = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
    with running(Gateway(server_env | JSON_LOGS | collector.environment | often)) as process:
        yield process


@pytest.fixture(scope="module")
def json_worker(server_env: dict[str, str], collector: Collector) -> Iterator[Worker]:
    with running(Worker(server_env | JSON_LOGS | collector.environment), 240) as process:
        yield process


def records(process: Gateway | Worker) -> list[dict[str, Any]]:
    """The log records of a process, one JSON object per line."""
    lines = [line.split(" | ", 1)[1] for line in process.log.tail(process.name, 5000)]
    return [json.loads(line) for line in lines]


def wait_for_records(
    process: Gateway | Worker, matches: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """The matching log records, waiting for the first since logs arrive through a pipe."""
    end = time.monotonic() + 5
    while not (found := [record for record in records(process) if matches(record)]):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def metrics(gateway: Gateway) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    text = gateway.client.get("/metrics").text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labelled(metric: dict[tuple[tuple[str, str], ...], float], **labels: str) -> float:
    return sum(value for key, value in metric.items() if set(labels.items()) <= set(key))


def test_a_job_is_one_trace_from_upload_to_storage(
    json_gateway: Gateway, json_worker: Worker, collector: Collector, sample: bytes
) -> None:
    response = json_gateway.client.post(
        "/reconstruct", files={"file": ("a.npz", sample)}, data={"resolution": "32", "formats": "glb,npz"}
    )
    match = re.fullmatch(FORM, response.headers["traceparent"])
    assert match is not None
    job = json_gateway.follow(response.json()["id"])
    assert job["state"] == "succeeded"
    spans = collector.trace(match[1], 15)
    names = [(span.service.removeprefix("oflow-"), span.name) for span in spans]
    assert sorted(names) == sorted(
        [("gateway", name) for name in ("POST /reconstruct", "validate", "store", "enqueue")]
        + [("worker", name) for name in ("queue", "run", "fetch", "reconstruct", "finish")]
        + [
            ("worker", name)
            for name in ("write glb", "write npz", "write thumbnail", "store", "store", "store")
        ]
    )
    by_id = {span.span_id: span for span in spans}
    parents = {
        span.name if span.service == "oflow-worker" else f"gateway {span.name}": by_id[span.parent_id].name
        for span in spans
        if span.parent_id
    }
    assert parents == {
        "gateway validate": "POST /reconstruct",
        "gateway store": "POST /reconstruct",
        "gateway enqueue": "POST /reconstruct",
        "queue": "POST /reconstruct",
        "run": "POST /reconstruct",
        "fetch": "run",
        "reconstruct": "run",
        "finish": "run",
        "write glb": "finish",
        "write npz": "finish",
        "write thumbnail": "finish",
        "store": "finish",
    }
    [root] = [span for span in spans if not span.parent_id]
    assert root.attributes["http.response.status_code"] == 202
    [run] = [span for span in spans if span.name == "run"]
    assert run.attributes["oflow.job"] == job["id"]
    [computed] = [span for span in spans if span.name == "reconstruct"]
    seconds = {name.removeprefix("oflow.seconds."): value for name, value in computed.attributes.items()}
    timings = job["result"]["timings"]
    assert len(seconds) > 2
    assert seconds == {stage: pytest.approx(timings[stage], abs=1e-4) for stage in seconds}
    for span in spans:
        assert span.start <= span.end
        assert not span.failed
    assert not [each for each in collector.spans if each.name.endswith(("/livez", "/readyz", "/metrics"))]


def test_trace_is_propagated_to_all_logs(json_gateway: Gateway, json_worker: Worker, sample: bytes) -> None:
    trace_id = secrets.token_hex(16)
    parent = f"00-{trace_id}-{secrets.token_hex(8)}-01"
    response = json_gateway.client.post(
        "/reconstruct",
        files={"file": ("a.npz", sample)},
        data={"resolution": "32"},
        headers={"traceparent": parent},
    )
    match = re.fullmatch(FORM, response.headers["traceparent"])
    assert match is not None
    assert (match[1], match[3]) == (trace_id, "01")
    assert response.headers["traceparent"] != parent  # a new span
    job_id = response.json()["id"]
    assert json_gateway.follow(job_id)["state"] == "succeeded"
    (request,) = wait_for_records(json_gateway, lambda record: record.get("trace_id") == trace_id)
    assert (request["method"], request["path"], request["status"]) == ("POST", "/reconstruct", 202)
    assert request["bytes_in"] > len(sample)
    assert request["milliseconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", request["time"])
    wait_for_records(
        json_worker, lambda record: (record.get("trace_id"), record.get("stage")) == (trace_id, "write")
    )
    of_job = [r for r in records(json_worker) if r.get("trace_id") == trace_id]
    stages = [(r["stage"], r["job_id"]) for r in of_job if "stage" in r]
    assert stages == [(s, job_id) for s in ("fetch", "prepare", "register", "fit", "write")]
    assert all(r["seconds"] >= 0 for r in of_job if "stage" in r)


@pytest.mark.parametrize(
    "parent",
    [
        None, "nonsense", f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'0' * 16}-01",
        f"ff-{'1' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'1' * 16}-01-more", f"00-{'A' * 32}-{'1' * 16}-01",
    ],
)  # fmt: skip
def test_request_without_valid_trace_starts_a_new_one(json_gateway: Gateway, parent: str | None) -> None:
    headers = {} if parent is None else {"traceparent": parent}
    response = json_gateway.client.get("/jobs/unknown", headers=headers)
    match = re.fullmatch(FORM, response.headers["traceparent"])
    assert match is not None
    assert match[1] not in (parent or "")
    assert response.json()["trace_id"] == match[1]


def test_later_traceparent_versions_are_accepted(json_gateway: Gateway) -> None:
    parent = f"01-{'1' * 32}-{'1' * 16}-01-more"
    assert (
        "1" * 32 in json_gateway.client.get("/livez", headers={"traceparent": parent}).headers["traceparent"]
    )


def test_paths_cannot_break_log_lines(json_gateway: Gateway) -> None:
    json_gateway.client.get("/jobs/a%0Ab%22%1b[31m")
    (line,) = wait_for_records(json_gateway, lambda record: record.get("path", "").startswith("/jobs/a%"))
    assert line["path"] == "/jobs/a%0Ab%22%1B%5B31m"
    assert line["problem"] == "not_found"


def test_metrics_count_jobs_requests_bytes_and_errors(
    json_gateway: Gateway, json_worker: Worker, sample: bytes
) -> None:
    before = metrics(json_gateway)
    done = json_gateway.follow(json_gateway.submit(sample, resolution=32)["id"])
    json_gateway.follow(json_gateway.submit(sample, resolution=32, threshold=0.999999)["id"])
    json_gateway.client.get("/jobs/unknown")
    after = metrics(json_gateway)

    def increase(name: str, **labels: str) -> float:
        return labelled(after[name], **labels) - labelled(before.get(name, {}), **labels)

    assert increase("oflow_jobs_total", model="local_oflow", state="queued") == 2
    assert increase("oflow_jobs_total", model="local_oflow", state="succeeded") == 1
    assert increase("oflow_jobs_total", model="local_oflow", state="failed") == 1
    assert increase("oflow_job_errors_total", model="local_oflow", code="empty_surface") == 1
    assert labelled(after["oflow_jobs_now"], model="local_oflow", state="running") == 0
    assert increase("oflow_job_input_bytes_total", model="local_oflow") == 2 * len(sample)
    assert increase("oflow_job_result_bytes_total", format="glb") == done["result"]["files"][0]["bytes"]
    for name in ("oflow_job_queue_seconds", "oflow_job_run_seconds"):
        assert increase(f"{name}_count", model="local_oflow") == 2
        assert increase(f"{name}_bucket", model="local_oflow", le="+Inf") == 2
        buckets = [v for k, v in after[f"{name}_bucket"].items() if ("model", "local_oflow") in k]
        assert buckets == sorted(buckets)
        assert increase(f"{name}_sum", model="local_oflow") > 0
    assert increase("oflow_http_requests_total", route="/reconstruct", method="POST", status="202") == 2
    assert increase("oflow_http_problems_total", code="not_found") == 1
    assert increase("oflow_http_bytes_total", direction="in") > 2 * len(sample)
    assert increase("oflow_http_request_seconds_count", route="/jobs/{job_id}") >= 3
    info = next(key for key in after["oflow_model_info"] if ("model", "local_oflow") in key)
    assert dict(info)["checkpoint_sha256"]
    assert labelled(after["oflow_workers"], model="local_oflow") == 1
    assert after["oflow_redis_up"] == {(): 1}
    assert after["process_resident_memory_bytes"][()] < 150e6


def test_metrics_are_pushed_with_the_names_and_labels_of_the_page(
    json_gateway: Gateway, json_worker: Worker, collector: Collector, sample: bytes
) -> None:
    json_gateway.follow(json_gateway.submit(sample, resolution=32)["id"])
    shown = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(json_gateway.client.get("/metrics").text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    steady = {key: value for key, value in shown.items() if key[0].startswith("oflow_job")}
    assert len(steady) > 20
    end = time.monotonic() + 10
    while any(collector.metrics.get("oflow-gateway", {}).get(key) != steady[key] for key in steady):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert collector.metrics.keys() == {"oflow-gateway"}, "workers count in Redis"
    assert collector.metrics["oflow-gateway"].keys() >= shown.keys()


def test_queue_metrics(json_gateway: Gateway, queued: dict[str, Any], any_model: str) -> None:
    found = metrics(json_gateway)
    waiting = labelled(found["oflow_queue_depth"], model=any_model)
    assert waiting >= 1
    assert labelled(found["oflow_jobs_now"], model=any_model, state="queued") == waiting
    assert labelled(found["oflow_queue_oldest_seconds"], model=any_model) > 0
    json_gateway.client.delete(f"/jobs/{queued['id']}")
    assert labelled(metrics(json_gateway)["oflow_queue_depth"], model=any_model) == waiting - 1


def test_requests_cannot_add_metric_labels(json_gateway: Gateway) -> None:
    json_gateway.client.request("BREW", "/livez")
    json_gateway.client.get("/somewhere/else")
    labels = {label for key in metrics(json_gateway)["oflow_http_requests_total"] for label in key}
    assert ("method", "BREW") not in labels
    assert not any("somewhere" in value for _, value in labels)


def test_discovery_document_links_all_routes(json_gateway: Gateway) -> None:
    response = json_gateway.client.get("/", headers={"Accept": "application/json"})
    document = response.json()
    paths = set(json_gateway.client.get("/openapi.json").json()["paths"])
    linked = {path.replace("{id}", "{job_id}") for path in document["links"].values()}
    assert paths - {"/"} <= linked
    assert document["auth"] == "open"
    assert document["formats"] == [format.value for format in Format]
    assert document["limits"]["max_upload_bytes"] == 256 * 2**20


def test_version_matches_the_package(json_gateway: Gateway) -> None:
    from importlib.metadata import version

    assert json_gateway.client.get("/").json()["version"] == version("oflow")

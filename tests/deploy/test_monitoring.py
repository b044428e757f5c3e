"""deploy/monitoring held against the metrics of the gateway: names, labels, and values of labels."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from redis import Redis

from service.api.metrics import JobMetrics, RequestMetrics
from service.core.jobs.record import State
from service.core.jobs.room import Memory
from service.core.jobs.store import JobStore
from service.core.registry import Registry
from service.core.settings import Settings
from tests.conftest import redis_of
from tests.deploy.manifests import OVERLAYS, ROOT, of_kind

ALERTS = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "deploy/monitoring/dashboard.json").read_text())
OF_PROMETHEUS = {"job", "instance", "le"}
SOURCES = "".join(
    path.read_text() for part in ("worker/serving", "service/core") for path in (ROOT / part).rglob("*.py")
)
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}


def expressions() -> Iterator[tuple[str, str]]:
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


EXPRESSIONS = list(expressions())


@pytest.fixture(scope="module")
def series(settings: Settings) -> dict[str, set[str]]:
    """Name of every time series of a gateway, and its labels."""
    redis: Redis = redis_of(settings)
    requests = RequestMetrics()
    requests.observe("GET", "/", 200, 0.1, 0, 0, "not_found")
    jobs: list[Any] = list(JobMetrics(JobStore(redis), Registry(redis), Memory(redis)).collect())
    names = {
        f"{metric.name}{suffix}": set(metric._labelnames)
        for metric in jobs
        for suffix in SUFFIXES[metric.type]
    }
    registry: CollectorRegistry = requests.registry
    for metric in registry.collect():
        for sample in metric.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    return names


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_expressions_name_what_the_gateway_reports(
    where: str, expression: str, series: dict[str, set[str]]
) -> None:
    check(where, expression, series)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_scalers_ask_for_what_the_gateway_reports(overlay: str, series: dict[str, set[str]]) -> None:
    for scaled in of_kind(overlay, "ScaledObject"):
        [trigger] = scaled["spec"]["triggers"]
        check(scaled["metadata"]["name"], trigger["metadata"]["query"], series)


def check(where: str, expression: str, series: dict[str, set[str]]) -> None:
    used = re.findall(r"\b((?:oflow|process)_\w+)(?:\{([^}]*)\})?", expression)
    assert used, where
    labels = set(OF_PROMETHEUS)
    for name, matchers in used:
        assert name in series, f"{where}: {name}"
        labels |= series[name]
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            assert label in series[name] | OF_PROMETHEUS, f"{where}: {label} of {name}"
            if label == "state":
                assert set(value.split("|")) <= {state.value for state in State}
            if label == "code":
                assert [code for code in value.split("|") if f'"{code}"' not in SOURCES] == []
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", grouped)) <= labels, f"{where}: {grouped}"


def test_every_metric_of_jobs_is_shown(series: dict[str, set[str]]) -> None:
    text = " ".join(expression for _, expression in EXPRESSIONS)
    shown = [name for name in series if re.search(rf"\b{name}\b", text)]
    families = {re.sub("_(bucket|sum|count|total|created)$", "", name) for name in series if "oflow" in name}
    assert {re.sub("_(bucket|sum|count|total)$", "", name) for name in shown} >= families


def test_alerts_say_what_to_do() -> None:
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS) > 5
    guide = (ROOT / "docs/kubernetes.md").read_text()
    headings = re.findall("^## (Oflow.*)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(alert["alert"] for alert in ALERTS)
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert set(alert["annotations"]) == {"summary", "description"}
        assert f"`{alert['alert']}`" in guide


def test_panels_lie_side_by_side() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in DASHBOARD["panels"])

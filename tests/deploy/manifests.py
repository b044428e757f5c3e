"""The overlays of deploy/kubernetes as `kubectl kustomize` renders them."""

import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "deploy/kubernetes/overlays").iterdir())

Manifest = dict[str, Any]


@lru_cache
def render(overlay: str | Path) -> list[Manifest]:
    """An overlay of that name, or in that folder."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(ROOT / "deploy/kubernetes/overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str | Path, *kinds: str) -> list[Manifest]:
    return [manifest for manifest in render(overlay) if manifest["kind"] in kinds]


def pods(overlay: str | Path) -> dict[str, Manifest]:
    """The pod templates by the names of their workloads."""
    workloads = of_kind(overlay, "Deployment", "StatefulSet")
    found = {workload["metadata"]["name"]: workload["spec"]["template"] for workload in workloads}
    jobs = of_kind(overlay, "CronJob")
    return found | {job["metadata"]["name"]: job["spec"]["jobTemplate"]["spec"]["template"] for job in jobs}


def labels(pod: Manifest) -> dict[str, str]:
    return dict(pod["metadata"]["labels"])


def component(pod: Manifest) -> str:
    return labels(pod)["app.kubernetes.io/component"]


def container(pod: Manifest) -> Manifest:
    [only] = pod["spec"]["containers"]
    return dict(only)


def variables(overlay: str, pod: Manifest, secrets: dict[str, str]) -> dict[str, str]:
    """The environment of a pod's container, where every Secret holds `secrets`."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(overlay, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container(pod).get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]] if "configMapRef" in source else secrets
    for entry in container(pod).get("env", []):
        if "value" in entry:
            value = entry["value"]
            for name, text in found.items():
                value = value.replace(f"$({name})", text)
            found[entry["name"]] = value
        else:
            found[entry["name"]] = secrets[entry["valueFrom"]["secretKeyRef"]["key"]]
    return found


def matches(selector: Manifest, found: dict[str, str]) -> bool:
    """Whether a label selector selects a pod with these labels."""
    equal = selector.get("matchLabels", {}).items() <= found.items()
    rules = selector.get("matchExpressions", [])
    return equal and all(
        found.get(rule["key"]) in rule["values"] for rule in rules if rule["operator"] == "In"
    )

"""deploy/kubernetes held against the schemas of Kubernetes, the settings, the routes and the images."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml

from service.api.app import create_app
from service.cli.app import app
from service.core.settings import Settings
from tests.deploy.manifests import (
    OVERLAYS,
    ROOT,
    component,
    container,
    labels,
    matches,
    of_kind,
    pods,
    render,
    variables,
)
from tests.docker.compose import services, settings_in
from tests.docker.dockerfile import Dockerfile
from worker.serving.watchdog import EXIT_GRACE

SECRETS = {
    "OFLOW_REDIS_URL": "rediss://:secret@redis.example.org:6379/0",
    "VALKEY_PASSWORD": "a1" * 32,
    "OFLOW_S3_ACCESS_KEY_ID": "b2" * 16,
    "OFLOW_S3_SECRET_ACCESS_KEY": "c3" * 32,
    "OFLOW_WEBHOOK_SECRET": "d4" * 32,
}
OURS = ("gateway", "worker", "backup")
IMAGES = {"gateway": "gateway", "backup": "gateway", "worker": "worker"}


def settings_of(monkeypatch: pytest.MonkeyPatch, overlay: str, pod: dict[str, Any]) -> Settings:
    return settings_in(monkeypatch, variables(overlay, pod, SECRETS))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_valid(overlay: str) -> None:
    for manifest in render(overlay):
        if manifest["kind"] != "ScaledObject":
            kubernetes_validate.validate(manifest, "1.34", strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_find_valid_settings(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {f"OFLOW_{name.upper()}" for name in Settings.model_fields}
    for pod in pods(overlay).values():
        if component(pod) in OURS:
            given = variables(overlay, pod, SECRETS)
            assert {name for name in given if name.startswith("OFLOW_")} <= fields
            settings = settings_of(monkeypatch, overlay, pod)
            assert settings.redis_url.get_secret_value().startswith(("redis://:a1", "rediss://:secret@"))
            config = settings.model if component(pod) == "worker" else settings.default_model
            assert (ROOT / f"configs/{config}.yaml").is_file()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_in_the_manifests(overlay: str) -> None:
    assert not of_kind(overlay, "Secret")
    for config in of_kind(overlay, "ConfigMap"):
        assert not {name for name in config["data"] if re.search("SECRET|PASSWORD|KEY_ID|REDIS_URL", name)}
    for pod in pods(overlay).values():
        named = [
            each["secretRef"]["name"] for each in container(pod).get("envFrom", []) if "secretRef" in each
        ]
        assert ("oflow-gateway-secrets" in named) == (component(pod) == "gateway")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_and_ports_are_those_of_the_code(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = pods(overlay)
    gateway = container(found["gateway"])
    settings = settings_of(monkeypatch, overlay, found["gateway"])
    routes = create_app(settings).openapi()["paths"]
    probes = [gateway[name]["httpGet"] for name in ("readinessProbe", "livenessProbe", "startupProbe")]
    assert {probe["path"] for probe in probes} <= set(routes)
    assert {probe["port"] for probe in probes} == {"http"}
    [port] = gateway["ports"]
    assert (port["name"], port["containerPort"]) == ("http", settings.port)
    assert settings.host == "0.0.0.0"
    assert found["gateway"]["metadata"]["annotations"]["prometheus.io/path"] in routes
    check = Dockerfile("worker.Dockerfile").command("HEALTHCHECK")
    for pod in found.values():
        if component(pod) == "worker":
            for name in ("livenessProbe", "startupProbe"):
                assert container(pod)[name]["exec"]["command"] == check


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_worker_has_time_to_finish_its_job(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for pod in pods(overlay).values():
        if component(pod) == "worker":
            settings = settings_of(monkeypatch, overlay, pod)
            assert settings.drain_seconds > 0
            assert pod["spec"]["terminationGracePeriodSeconds"] > settings.drain_seconds + EXIT_GRACE


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_confined(overlay: str) -> None:
    """What the restricted Pod Security Standard asks for, which the namespace enforces, and a little more."""
    [namespace] = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(overlay).items():
        spec, only = pod["spec"], container(pod)
        on_gpu = "nvidia.com/gpu" in only["resources"]["limits"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert only["securityContext"]["allowPrivilegeEscalation"] is False
        assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert only["securityContext"]["readOnlyRootFilesystem"] is not on_gpu
        assert {"memory"} <= set(only["resources"]["limits"])
        if component(pod) in OURS:
            image = Dockerfile(f"{IMAGES[component(pod)]}.Dockerfile")
            assert str(spec["securityContext"]["runAsUser"]) == image.last("USER"), name
            assert any(mount["mountPath"] == "/tmp" for mount in only["volumeMounts"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_their_pods(overlay: str) -> None:
    found = pods(overlay)
    everything = [labels(pod) for pod in found.values()]
    for service in of_kind(overlay, "Service"):
        [chosen] = [each for each in everything if service["spec"]["selector"].items() <= each.items()]
        assert chosen["app.kubernetes.io/component"] in (*OURS, "redis", "s3")
    for kind in ("Deployment", "StatefulSet"):
        for workload in of_kind(overlay, kind):
            selector = workload["spec"]["selector"]
            own = [name for name, pod in found.items() if matches(selector, labels(pod))]
            assert own == [workload["metadata"]["name"]], "no workload takes another's pods"
    for budget in of_kind(overlay, "PodDisruptionBudget"):
        assert any(matches(budget["spec"]["selector"], each) for each in everything)
    for scaler in of_kind(overlay, "HorizontalPodAutoscaler", "ScaledObject"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_what_is_needed_gets_through(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    [closed] = [policy for policy in policies if policy["metadata"]["name"] == "nothing-else"]
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    def allowed(direction: str, found: dict[str, str]) -> set[int]:
        return {
            port["port"]
            for policy in policies
            if matches(policy["spec"]["podSelector"], found)
            for rule in policy["spec"].get(direction, [])
            for port in rule["ports"]
        }

    for pod in pods(overlay).values():
        ingress, egress = allowed("ingress", labels(pod)), allowed("egress", labels(pod))
        ports = {port["containerPort"] for port in container(pod).get("ports", [])}
        assert ingress == ports, "a worker listens on nothing"
        if component(pod) in OURS:
            assert {53, 6379} < egress
        else:
            assert egress == {53}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_backups_run_a_command_of_the_image(overlay: str) -> None:
    [job] = of_kind(overlay, "CronJob")
    command, name, folder = container(job["spec"]["jobTemplate"]["spec"]["template"])["command"]
    assert command == "oflow"
    assert name in typer.main.get_group(app).commands
    [claim] = of_kind(overlay, "PersistentVolumeClaim")
    pod = pods(overlay)["backup"]
    [volume] = [each for each in pod["spec"]["volumes"] if "persistentVolumeClaim" in each]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    assert folder.startswith(mounts[volume["name"]] + "/"), "the root of a volume may hold lost+found"


def test_bundled_servers_are_those_of_the_compose_file() -> None:
    found = pods("single-node")
    for name in ("valkey", "seaweedfs"):
        ours, composed = container(found[name]), services()[name]
        assert ours["image"] == composed["image"]
        if name == "valkey":
            assert ours["args"][0].split() == composed["command"][0].split()
        else:
            assert ours["args"] == composed["command"]
            assert set(composed["environment"]) == {entry["name"] for entry in ours["env"]}


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "single-node"])
def test_workers_are_scaled_by_their_own_jobs(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = of_kind(overlay, "ScaledObject")
    workers = {name: pod for name, pod in pods(overlay).items() if component(pod) == "worker"}
    assert {each["spec"]["scaleTargetRef"]["name"] for each in scaled} == set(workers)
    for each in scaled:
        spec = each["spec"]
        assert each["apiVersion"] == "keda.sh/v1alpha1"
        known = {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod"}
        assert set(spec) <= known | {"advanced", "triggers"}
        [trigger] = spec["triggers"]
        assert trigger["type"] == "prometheus"
        assert set(trigger["metadata"]) == {"serverAddress", "query", "threshold", "activationThreshold"}
        model = settings_of(monkeypatch, overlay, workers[spec["scaleTargetRef"]["name"]]).model_name
        assert f'model="{model}"' in trigger["metadata"]["query"]
        assert spec["minReplicaCount"] == 0
        assert spec["scaleTargetRef"]["kind"] == "Deployment"
    for workload in of_kind(overlay, "Deployment"):
        if workload["metadata"]["name"] in workers:
            assert "replicas" not in workload["spec"], "a new rollout would undo the scaling"


def test_the_guide_explains_every_value() -> None:
    guide = (ROOT / "docs/kubernetes.md").read_text()
    for overlay in OVERLAYS:
        assert f"overlays/{overlay}" in guide
        for config in of_kind(overlay, "ConfigMap"):
            for name in config["data"]:
                assert f"`{name}`" in guide, name
    for name in SECRETS:
        assert f"`{name}`" in guide, name
    components = [
        path.parent.name
        for path in (ROOT / "deploy/kubernetes").glob("*/kustomization.yaml")
        if yaml.safe_load(path.read_text())["kind"] == "Component"
    ]
    assert len(components) >= 4
    for name in components:
        assert f"`{name}`" in guide, name


def with_component(overlay: str, place: Path, name: str) -> Path:
    """The folder of a copy of the overlay that has one more component."""
    shutil.copytree(ROOT / "deploy/kubernetes", place / "kubernetes", dirs_exist_ok=True)
    folder = place / "kubernetes/overlays" / overlay
    file = folder / "kustomization.yaml"
    listed = re.compile(r"^(components: \[.*)\]$", re.MULTILINE)
    text, count = listed.subn(rf"\1, {name}]", file.read_text())
    assert count == 1
    file.write_text(text)
    return folder


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_collector_is_named_to_those_who_reach_it(overlay: str, tmp_path: Path) -> None:
    folder = with_component(overlay, tmp_path, "../../otel")
    for manifest in render(folder):
        if manifest["kind"] != "ScaledObject":
            kubernetes_validate.validate(manifest, "1.34", strict=True)
    [policy] = [each for each in of_kind(folder, "NetworkPolicy") if each["metadata"]["name"] == "collector"]
    for pod in pods(folder).values():
        told = {entry["name"]: entry.get("value") for entry in container(pod).get("env", [])}
        may_send = matches(policy["spec"]["podSelector"], labels(pod))
        assert (
            ("OTEL_EXPORTER_OTLP_ENDPOINT" in told) == may_send == (component(pod) in ("gateway", "worker"))
        )
        if may_send:
            [rule] = policy["spec"]["egress"]
            assert told["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(f".monitoring:{rule['ports'][0]['port']}")


def test_the_component_of_a_release_names_images_by_digest(tmp_path: Path) -> None:
    """What the workflow writes, run here with digests of three images, and taken by an overlay."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    [script] = [step["run"] for step in jobs["digests"]["steps"] if step.get("name") == "write the component"]
    names = {entry["image"] for entry in jobs["images"]["strategy"]["matrix"]["include"]}
    (tmp_path / "digests").mkdir()
    for name in names:
        (tmp_path / "digests" / name).write_text(f"registry.example.org/us/{name}@sha256:{'a' * 64}\n")
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True)
    shutil.copytree(ROOT / "deploy/kubernetes", tmp_path / "kubernetes")
    for overlay in OVERLAYS:
        folder = tmp_path / "kubernetes/overlays" / overlay
        file = folder / "kustomization.yaml"
        listed = re.compile(r"^(components: \[.*)\]$", re.MULTILINE)
        text, count = listed.subn(
            r"\1, ../../../images]", file.read_text()
        )  # the last: others add containers
        assert count == 1
        file.write_text(text)
        found = {container(pod)["image"] for pod in pods(folder).values() if component(pod) in OURS}
        assert found <= {f"registry.example.org/us/{name}@sha256:{'a' * 64}" for name in names}, overlay
        assert len(found) == 2

"""docker-compose.yml held against the settings, the commands and the local stack of the code."""

import re

import pytest
import typer.main
from pydantic import ValidationError

from service.__main__ import STOP_SECONDS
from service.core.settings import LOOPBACK, Settings
from service.local.object_store import GRPC_OFFSET, _flags
from service.local.redis_server import _CONFIG
from tests.docker.compose import (
    ROOT,
    SECRETS,
    VARIABLE,
    example,
    interpolate,
    raw,
    services,
    settings_in,
    variables,
)
from tests.docker.dockerfile import Dockerfile
from worker.commands.cli import app as worker_command
from worker.serving.watchdog import EXIT_GRACE

OURS = ["gateway", "worker", "worker-gpu"]
TRAINING = ["train", "train-gpu"]


def settings_of(monkeypatch: pytest.MonkeyPatch, name: str, **environment: str) -> Settings:
    return settings_in(monkeypatch, variables(services(**environment)[name], **environment))


@pytest.mark.parametrize("name", OURS)
def test_environment_makes_valid_settings(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    settings = settings_of(monkeypatch, name)
    assert settings.redis_url.get_secret_value() == f"redis://:{SECRETS['VALKEY_PASSWORD']}@valkey:6379/0"
    assert settings.s3_endpoint_url == "http://seaweedfs:8333"
    assert settings.s3_access_key_id == SECRETS["OFLOW_S3_ACCESS_KEY_ID"]
    assert settings.s3_path_style
    for field in ("model", "retention_seconds", "max_upload_bytes", "log_level"):
        assert getattr(settings, field) == Settings.model_fields[field].default, (
            "an unset setting is not handed on"
        )


def test_every_setting_that_the_example_offers_reaches_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = {name: value for name, value in example().items() if name.startswith("OFLOW_") and value}
    changed = {name: str(int(value) + 1) if value.isdigit() else value for name, value in offered.items()}
    assert len(changed) > 10
    read = [settings_of(monkeypatch, name, **changed) for name in OURS[:2]]
    for name, value in changed.items():
        if name != "OFLOW_PORT":  # the port on the host; the one in the container stays
            found = [getattr(settings, name.removeprefix("OFLOW_").lower()) for settings in read]
            assert value in [f"{each:g}" if isinstance(each, float) else str(each) for each in found], name


def test_gateway_would_refuse_this_network_if_it_were_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in variables(services()["gateway"]).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("OFLOW_TRUSTED_NETWORK")
    with pytest.raises(ValidationError, match=r"OFLOW_HOST is .* the gateway may only listen on loopback"):
        Settings()  # type: ignore[call-arg]


def test_every_variable_of_ours_is_a_setting() -> None:
    fields = {f"OFLOW_{name.upper()}" for name in Settings.model_fields}
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / ".env.example").read_text()
    used = set(re.findall(r"OFLOW_[A-Z0-9_]+", text))
    assert len(used) > 15
    assert used <= fields
    images = Dockerfile("gateway.Dockerfile").environment() | Dockerfile("worker.Dockerfile").environment()
    assert {name for name in images if name.startswith("OFLOW_")} <= fields


def test_example_offers_every_variable_of_the_file_and_no_other() -> None:
    text = re.sub(r"#.*", "", (ROOT / "docker-compose.yml").read_text())
    interpolated = {name for match in VARIABLE.finditer(text) for name in re.findall(r"\$\{(\w+)", match[0])}
    handed_on = {
        name
        for service in raw()["services"].values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }
    assert set(example()) == interpolated | handed_on | {"COMPOSE_PROFILES"}


def test_example_shows_the_defaults() -> None:
    for name, value in example().items():
        field = Settings.model_fields.get(name.removeprefix("OFLOW_").lower())
        if field is not None and field.default is not None and not field.is_required():
            assert value == str(field.default), name


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("value", [None, ""])
def test_no_secret_has_a_default(secret: str, value: str | None) -> None:
    environment = {name: text for name, text in SECRETS.items() if name != secret} | (
        {} if value is None else {secret: value}
    )
    with pytest.raises(ValueError, match=f"{secret} is missing, see .env.example"):
        interpolate(raw()["services"], environment)
    assert example()[secret] == ""


def test_only_loopback_is_published() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:8000:8000"], "seaweedfs": ["127.0.0.1:8333:8333"]}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_ports_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = {"OFLOW_PORT": "9000", "S3_PORT": "9333"}
    compose = services(**moved)
    gateway = settings_of(monkeypatch, "gateway", **moved)
    image = Dockerfile("gateway.Dockerfile")
    assert compose["gateway"]["ports"] == [f"127.0.0.1:9000:{gateway.port}"]
    assert str(gateway.port) == image.last("EXPOSE") == image.environment()["OFLOW_PORT"]
    assert gateway.s3_public_endpoint_url == "http://127.0.0.1:9333"
    flags = dict(flag.lstrip("-").split("=") for flag in compose["seaweedfs"]["command"] if "=" in flag)
    assert compose["seaweedfs"]["ports"] == [f"127.0.0.1:9333:{flags['s3.port']}"]
    assert gateway.s3_endpoint_url == f"http://seaweedfs:{flags['s3.port']}"
    assert f"127.0.0.1:{flags['s3.port']}/" in compose["seaweedfs"]["healthcheck"]["test"][-1]
    assert flags["bucket"] == gateway.s3_bucket
    assert gateway.host not in LOOPBACK, "it would not be reached from outside its container"


def test_public_address_of_the_store_can_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://files.example.org"
    gateway = settings_of(monkeypatch, "gateway", OFLOW_S3_PUBLIC_ENDPOINT_URL=address)
    assert gateway.s3_public_endpoint_url == address


@pytest.mark.parametrize("name", services())
def test_containers_are_confined(name: str) -> None:
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is not name.endswith("-gpu")
    assert not {"privileged", "network_mode", "pid", "cap_add"} & set(service)


@pytest.mark.parametrize("name", [name for name in services() if name not in TRAINING])
def test_servers_start_again_and_keep_to_their_memory(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    for volume in service["volumes"]:
        assert volume.split(":")[0] in raw()["volumes"], "no directory of the host is mounted"
    if "image" in service:
        assert re.fullmatch(r"[\w/]+:\d+(\.\d+)+(@sha256:[0-9a-f]{64})?", service["image"]), "a version"
        assert service["user"] == {"valkey": "valkey", "seaweedfs": "seaweed"}[name]
        assert service["healthcheck"]["test"][0].startswith("CMD")


@pytest.mark.parametrize("name", TRAINING)
def test_training_reads_and_writes_folders_of_the_host(name: str) -> None:
    service = services()[name]
    assert service["volumes"] == ["./data:/workspace/data:ro", "./out:/workspace/out", "train-tmp:/tmp"]
    places = services(DATA_DIR="/srv/d", OUT_DIR="/srv/o", TRAIN_USER="1000:1000")[name]
    assert places["volumes"][:2] == ["/srv/d:/workspace/data:ro", "/srv/o:/workspace/out"]
    assert places["user"] == "1000:1000"
    assert service["user"].split(":")[0] == Dockerfile("worker.Dockerfile").last("USER")
    assert service["restart"] == "no"
    assert service["healthcheck"] == {"disable": True}, "the image's own asks for a worker in the registry"
    assert service["build"]["args"]["EXTRA"] == "train"
    assert "depends_on" not in service
    assert "ports" not in service
    command, *arguments = service["command"]
    assert command == "worker"
    assert arguments[0] in typer.main.get_group(worker_command).commands


def test_redis_and_workers_have_no_way_out() -> None:
    assert raw()["networks"]["private"] == {"internal": True}
    assert {name for name, service in services().items() if service["networks"] == ["private"]} == {
        "valkey",
        "worker",
        "worker-gpu",
    }


def test_cpu_worker_is_the_default_and_gpu_a_profile() -> None:
    profiles = {name: service.get("profiles", []) for name, service in services().items()}
    assert profiles == {
        "gateway": [],
        "valkey": [],
        "seaweedfs": [],
        "worker": ["cpu"],
        "worker-gpu": ["gpu"],
        "train": ["train"],
        "train-gpu": ["train-gpu"],
    }
    assert example()["COMPOSE_PROFILES"] == "cpu"
    for name in ("worker", "train"):
        gpu = services()[f"{name}-gpu"]
        [device] = gpu["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
        assert services()[name]["build"]["target"] == "cpu"
        assert gpu["build"]["target"] == "cuda"


@pytest.mark.parametrize("name", [*OURS, *TRAINING])
def test_builds_name_files_targets_and_arguments_that_exist(name: str) -> None:
    build = services(TORCH_INDEX_CPU="https://cpu.example", TORCH_INDEX_CUDA="https://cuda.example")[name][
        "build"
    ]
    image = Dockerfile(build["dockerfile"].removeprefix("docker/"))
    assert (ROOT / build["dockerfile"]).is_file()
    if name != "gateway":
        assert build["target"] in image.targets
        assert build["args"]["TORCH_INDEX"] == f"https://{build['target']}.example"
        assert set(build["args"]) <= set(image.arguments())


def test_parts_wait_for_the_servers() -> None:
    for name in OURS:
        assert services()[name]["depends_on"] == {
            "valkey": {"condition": "service_healthy"},
            "seaweedfs": {"condition": "service_healthy"},
        }


def test_a_stopped_worker_has_time_to_hand_its_job_back() -> None:
    for name in OURS[1:]:
        grace = int(services()[name]["stop_grace_period"].removesuffix("s"))
        assert grace > EXIT_GRACE + Settings.model_fields["drain_seconds"].default


def test_a_stopped_gateway_has_time_to_finish_uploads() -> None:
    assert int(services()["gateway"]["stop_grace_period"].removesuffix("s")) > STOP_SECONDS


def test_valkey_is_set_up_as_in_the_local_stack() -> None:
    def settings(config: str) -> dict[str, str]:
        lines = [line.split(maxsplit=1) for line in config.splitlines() if " " in line]
        return {
            name: value for name, value in lines if name not in {"bind", "port", "requirepass", "dir", "exec"}
        }

    [script] = services()["valkey"]["command"]
    ours = settings(script)
    assert ours.pop("maxmemory") == "192mb"
    assert ours == settings(_CONFIG)
    assert "requirepass $REDISCLI_AUTH" in script.splitlines()
    assert "dir /data" in script.splitlines()
    assert services()["valkey"]["volumes"] == ["valkey:/data"]


def test_seaweedfs_is_set_up_as_in_the_local_stack() -> None:
    def settings(command: list[str]) -> dict[str, str]:
        assert command[:2] == ["-logtostderr=true", "mini"]
        flags = dict(flag.removeprefix("-").split("=") for flag in command[2:])
        places = {f"{part}.port{kind}" for part in ports for kind in ("", ".grpc")}
        places |= {"dir", "ip.bind", "metricsPort", "filer.localSocket", "s3.localSocket"}
        return {name: value for name, value in flags.items() if name not in places}

    ports = {"s3": 1, "master": 2, "filer": 3, "volume": 4, "admin": 5}
    command = services()["seaweedfs"]["command"]
    assert settings(command) == settings(_flags(ports, GRPC_OFFSET))
    assert "-dir=/data" in command
    assert services()["seaweedfs"]["volumes"] == ["seaweedfs:/data"]
    environment = services()["seaweedfs"]["environment"]
    assert environment["AWS_ACCESS_KEY_ID"] == SECRETS["OFLOW_S3_ACCESS_KEY_ID"]
    assert environment["AWS_SECRET_ACCESS_KEY"] == SECRETS["OFLOW_S3_SECRET_ACCESS_KEY"]

"""Two gateways and two workers of one model serve two keys; another version of the model runs beside it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.api.keys import KeyStore
from service.core.settings import Settings
from tests.conftest import redis_of
from tests.integration.service_processes import Gateway, Worker, running
from tests.suites.load.small_model import write_small_model

OPTIONS = {"resolution": "32", "refine": "off"}
JOBS = 4  # of each key


@dataclass
class Service:
    gateways: list[Gateway]
    workers: list[Worker]  # two of `blue`, one of `green`
    keys: list[str]

    def submit(self, gateway: int, key: int, sample: bytes, **options: str) -> str:
        answer = self.gateways[gateway].client.post(
            "/reconstruct",
            files={"file": ("a.npz", sample)},
            data=OPTIONS | options,
            headers=self.bearer(key),
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def follow(self, gateway: int, key: int, job_id: str) -> dict[str, Any]:
        client = self.gateways[gateway].client
        while True:
            job: dict[str, Any] = client.get(
                f"/jobs/{job_id}", headers=self.bearer(key) | {"Prefer": "wait=10"}
            ).json()
            if job["state"] not in ("queued", "running"):
                assert job["state"] == "succeeded", job
                return job

    def bearer(self, key: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[key]}"}


@pytest.fixture(scope="module")
def service(
    server_env: dict[str, str], settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("versions")
    environment = server_env | {"OFLOW_AUTH": "keys"}
    keys = KeyStore(redis_of(settings))
    with ExitStack() as stack:
        workers = [
            Worker(environment | model_of(folder, name, seed), f"worker{number}")
            for number, (name, seed) in enumerate([("blue", 0), ("blue", 0), ("green", 1)])
        ]
        for worker in workers:  # all at once
            stack.callback(worker.kill)  # idle by then
            worker.start()
        gateways = [
            stack.enter_context(running(Gateway(environment | {"OFLOW_DEFAULT_MODEL": name})))
            for name in ("blue", "green")
        ]
        for worker in workers:
            worker.wait_until_ready(120)
        yield Service(gateways, workers, [keys.create(name)[1] for name in ("one", "other")])


def model_of(folder: Path, name: str, seed: int) -> dict[str, str]:
    config, checkpoint = write_small_model(folder, name, seed)
    return {"OFLOW_MODEL": str(config), "OFLOW_CHECKPOINT": str(checkpoint)}


def test_gateways_and_workers_share_the_work_and_keep_keys_apart(service: Service, sample: bytes) -> None:
    owned = [
        [service.submit(number % 2, key, sample, model="blue") for number in range(JOBS)] for key in range(2)
    ]
    files = set()
    for key, ids in enumerate(owned):
        for number, job_id in enumerate(ids):
            job = service.follow((number + 1) % 2, key, job_id)  # at the gateway that did not take it
            assert job["attempt"] == 1
            files.add(job["result"]["files"][0]["sha256"])
    assert len(files) == 1, "one input, one result"
    for gateway in service.gateways:
        for key, ids in enumerate(owned):
            listed = gateway.client.get("/jobs", headers=service.bearer(key)).json()["jobs"]
            assert {job["id"] for job in listed} == set(ids)
            assert gateway.client.get(f"/jobs/{ids[0]}", headers=service.bearer(1 - key)).status_code == 404
    ran = ["\n".join(worker.lines()) for worker in service.workers]
    shares = [sum(f"job {job_id} started" in lines for ids in owned for job_id in ids) for lines in ran]
    assert sum(shares) == 2 * JOBS
    assert min(shares[:2]) > 0
    assert shares[2] == 0, "the worker of another model takes none"


def test_callers_move_to_another_version_with_the_default(service: Service, sample: bytes) -> None:
    """Blue/green: both are served by name, and each gateway's default decides for jobs that name none."""
    models = service.gateways[0].client.get("/models", headers=service.bearer(0)).json()
    checkpoints = {model["name"]: model["checkpoint_sha256"] for model in models}
    assert checkpoints["blue"] != checkpoints["green"]
    submitted = [
        (service.submit(gateway, 0, sample, **named), expected)
        for gateway, named, expected in (
            (0, {}, "blue"),
            (1, {}, "green"),
            (0, {"model": "green"}, "green"),
            (1, {"model": "blue"}, "blue"),
        )
    ]
    made: dict[str, set[str]] = {}
    for job_id, expected in submitted:
        job = service.follow(0, 0, job_id)
        assert job["model"] == expected
        assert job["result"]["provenance"]["checkpoint_sha256"] == checkpoints[expected]
        made.setdefault(expected, set()).add(job["result"]["files"][0]["sha256"])
    assert len(made["blue"]) == len(made["green"]) == 1
    assert made["blue"] != made["green"]

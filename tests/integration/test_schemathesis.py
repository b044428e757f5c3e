"""Requests generated from the OpenAPI document: responses conform to it, without server errors."""

import os
import re
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from service.api.keys import KeyStore
from service.core.jobs.options import Options
from service.core.registry import Registry
from tests.integration.schemathesis.hooks import UPLOADS
from tests.integration.service_processes import ANY_INPUT, Gateway, running

SCHEMATHESIS = Path(sysconfig.get_path("scripts")) / "schemathesis"
ROOT = Path(__file__).parent.parent.parent
FOLDER = Path(__file__).parent / "schemathesis"
EVENTS = "/jobs/{job_id}/events"
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")  # increase for manual runs


@pytest.fixture(scope="module")
def redis(server_env: dict[str, str]) -> Redis:
    return Redis.from_url(server_env["OFLOW_REDIS_URL"], decode_responses=True)


@pytest.fixture(scope="module")
def gateway(server_env: dict[str, str], redis: Redis) -> Iterator[Gateway]:
    """A gateway that requires keys, with a model that accepts any input and appears to have a worker."""
    registry = Registry(redis)
    registry.announce(ANY_INPUT)
    registry.beat("nobody", ANY_INPUT, 600)
    process = Gateway(
        server_env
        | {
            "OFLOW_AUTH": "keys",
            "OFLOW_DEFAULT_MODEL": ANY_INPUT.name,
            "OFLOW_RATE_LIMIT": "1000000",
            "OFLOW_MAX_QUEUED": "1000000",
            "OFLOW_OPEN_JOBS": "1000000",
            "OFLOW_WEBHOOK_SECRET": "0" * 32,
        }
    )
    _, text = KeyStore(redis).create("schemathesis")
    process.client.headers["Authorization"] = f"Bearer {text}"
    try:
        with running(process):
            yield process
    finally:
        registry.leave("nobody", ANY_INPUT.name)
        redis.hdel(registry.models_key, ANY_INPUT.name)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("which", ["all but events", "events"])
def test_the_document_holds(gateway: Gateway, which: str, tmp_path: Path) -> None:
    # The event stream of a queued job does not end, and generated requests use the ids of real jobs.
    events = which == "events"
    phases = "coverage,fuzzing" if events else "examples,coverage,fuzzing,stateful"
    key = gateway.client.headers["Authorization"]
    command = [
        str(SCHEMATHESIS), "--config-file", str(FOLDER / "schemathesis.toml"), 
        "run", f"{gateway.client.base_url}/openapi.json",
        "--include-path" if events else "--exclude-path", EVENTS,
        "--phases", phases, "--max-examples", EXAMPLES, "--request-timeout", "10",
        "--continue-on-failure", "--no-color", "--seed", "0", "--header", f"Authorization: {key}",
    ]  # fmt: skip
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": f"{FOLDER}:{ROOT}",
        "NO_PROXY": "127.0.0.1",
    }
    began = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr
    # Failures are reported with the request body, which may be a whole sequence.
    assert done.returncode == 0, "\n".join(line[:400] for line in output.splitlines())
    passed = re.search(r"(\d+) generated, (\d+) passed", output)
    assert passed is not None
    print(f"{which}: {passed[2]} requests in {time.monotonic() - began:.0f} s")
    assert int(passed[1]) == int(passed[2]) > (20 if events else 200)
    lines = gateway.log.tail("gateway", 2000)
    assert not [line for line in lines if "Traceback" in line or "unforeseen" in line]
    if not events:
        check_what_was_accepted(gateway)


def check_what_was_accepted(gateway: Gateway) -> None:
    """Every form of upload, and every option with other values than its default."""
    jobs: list[dict[str, Any]] = []
    query = {"limit": "100"}
    while True:
        page = gateway.client.get("/jobs", params=query).json()
        jobs += page["jobs"]
        if "next_cursor" not in page:
            break
        query["cursor"] = page["next_cursor"]
    assert {job["input"]["frames"] for job in jobs} >= UPLOADS.keys()
    defaults = Options().model_dump(mode="json")
    changed = {name for job in jobs for name, value in job["options"].items() if value != defaults[name]}
    assert len(jobs) > 100
    assert Options.model_fields.keys() - changed <= {"model", "metadata"}

"""The TypeScript client: its types are those of the gateway, and its methods work with a running one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.api.dependencies import GatewayContext
from service.core.settings import Settings
from service.page.samples import SAMPLES
from tests.integration.acting_worker import CONTENT, finish
from tests.integration.service_processes import Gateway
from tests.node import installed_packages

HERE = Path(__file__).parent
PACKAGE = HERE.parent.parent / "clients" / "typescript"


@pytest.fixture(scope="module", autouse=True)
def packages() -> Path:
    return installed_packages(PACKAGE)


def npm(*arguments: str, **environment: str) -> None:
    command, env = ["npm", "run", *arguments], os.environ | environment
    done = subprocess.run(command, cwd=PACKAGE, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)} in {PACKAGE} failed:\n{done.stdout}{done.stderr}"


def test_the_types_are_those_of_the_gateway() -> None:
    """If this fails, `npm run generate` in the folder of the package writes them anew."""
    npm("generate", "--", "--check", PYTHON=sys.executable)


def test_the_client_works(gateway: Gateway, any_model: str, settings: Settings) -> None:
    npm("build")
    files = (HERE / "typescript_client.mjs", PACKAGE / "dist" / "index.js", SAMPLES["knees"].path)
    command = ["node", *map(str, files), str(gateway.client.base_url), any_model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        job_id = script.stdout.readline().strip()
        if job_id:
            finish(GatewayContext(settings), job_id)
        output, errors = script.communicate(timeout=60)
    assert script.returncode == 0, errors
    said = json.loads(output)
    states, refusal = said.pop("states"), said.pop("refusal")
    assert (states[0], states[-1]) == ("queued", "succeeded")
    assert refusal[:2] == [422, "invalid_options"]
    assert refusal[2] == "resolution: found '7', wanted at least 32"
    assert said == {
        "metadata": {"take": 3},
        "name": "knees.npz",
        "content": CONTENT.decode(),
        "isListed": True,
        "afterwards": "expired",
        "canceled": "canceled",
        "failure": "canceled",
    }

"""The gateway's memory use stays small during large uploads."""

import threading
import time
from pathlib import Path

import numpy as np
import psutil
from redis import Redis

from service.core.registry import Registry
from tests.integration.service_processes import ANY_INPUT, Gateway

LIMIT = 150e6  # bytes


def test_memory_stays_low_while_100_mb_arrive(
    server_env: dict[str, str], tmp_path: Path, gateway: Gateway
) -> None:
    # Submitting a job requires a registered model, but no worker.
    registry = Registry(Redis.from_url(server_env["OFLOW_REDIS_URL"], decode_responses=True))
    registry.announce(ANY_INPUT)
    file = tmp_path / "large.npz"
    np.savez(file, points=np.random.default_rng(0).random((17, 490_000, 3), dtype=np.float32))
    assert file.stat().st_size > 99e6
    process = psutil.Process(gateway.pid)
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with file.open("rb") as upload:
            response = gateway.client.post(
                "/reconstruct", files={"file": ("large.npz", upload)}, data={"model": "any"}
            )
    finally:
        done.set()
        watcher.join()
        registry.redis.hdel(registry.models_key, ANY_INPUT.name)  # other tests share this Redis
    assert response.status_code == 202, response.text
    assert response.json()["input"]["points"] == 490_000
    print(f"gateway: {peak / 1e6:.0f} MB at most")
    assert peak < LIMIT

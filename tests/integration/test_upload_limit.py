"""Bodies beyond the size limit are refused: declared or streamed, raw or in a form."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from service.core.registry import Registry
from tests.integration.service_processes import ANY_INPUT, Gateway

LIMIT = 2**20


@pytest.fixture(scope="module")
def small_gateway(server_env: dict[str, str]) -> Iterator[Gateway]:
    registry = Registry(Redis.from_url(server_env["OFLOW_REDIS_URL"], decode_responses=True))
    registry.announce(ANY_INPUT)
    process = Gateway(
        server_env | {"OFLOW_MAX_UPLOAD_BYTES": str(LIMIT), "OFLOW_DEFAULT_MODEL": ANY_INPUT.name}
    )
    try:
        process.start()
        process.wait_until_ready(60)
        yield process
    finally:
        process.stop()
        registry.redis.hdel(registry.models_key, ANY_INPUT.name)


def chunks(size: int) -> Iterator[bytes]:
    """A streamed body without Content-Length."""
    for _ in range(size // 2**16):
        yield bytes(2**16)


@pytest.mark.parametrize(
    "body",
    [
        {"content": bytes(4 * LIMIT), "headers": {"Content-Type": "application/octet-stream"}},
        {"content": chunks(4 * LIMIT), "headers": {"Content-Type": "application/octet-stream"}},
        {"files": {"file": ("a.npz", bytes(4 * LIMIT))}},
        {"files": {"file": ("a.npz", bytes(LIMIT + 1))}},  # the form is small enough, its file is not
    ],
    ids=["declared", "streamed", "form", "form, just over"],
)
def test_too_large(small_gateway: Gateway, body: dict[str, Any]) -> None:
    with small_gateway.client.stream("POST", "/reconstruct", **body) as response:
        response.read()
    assert response.status_code == 413, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "too_large"
    assert response.headers["connection"] == "close"  # the rest is not read
    assert small_gateway.client.get("/livez").status_code == 200

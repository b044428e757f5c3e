"""A gateway with keys and short timeouts, and clients with keys."""

from collections.abc import Iterator

import pytest

from service.api.keys import KeyStore
from service.core.settings import Settings
from tests.conftest import redis_of
from tests.integration.service_processes import Gateway, running
from tests.security.caller import Caller

IMPATIENT = {
    "OFLOW_AUTH": "keys",
    "OFLOW_LOG_FORMAT": "json",
    "OFLOW_HEADER_SECONDS": "0.5",
    "OFLOW_STALL_SECONDS": "1",
    "OFLOW_OPEN_STREAMS": "4",
    "OFLOW_RATE_LIMIT": "100000",
    "OFLOW_OPEN_JOBS": "100000",
    "OFLOW_MAX_QUEUED": "100000",
}


@pytest.fixture(scope="session")
def locked(server_env: dict[str, str]) -> Iterator[Gateway]:
    with running(Gateway(server_env | IMPATIENT)) as process:
        yield process


@pytest.fixture(scope="session")
def keys(settings: Settings) -> KeyStore:
    return KeyStore(redis_of(settings))


@pytest.fixture(scope="session")
def mine(locked: Gateway, keys: KeyStore) -> Caller:
    return Caller(locked, *keys.create("mine"))


@pytest.fixture(scope="session")
def yours(locked: Gateway, keys: KeyStore) -> Caller:
    return Caller(locked, *keys.create("yours"))

"""Repeated requests with an idempotency key create only one job."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from service.api.idempotency import LEASE_SECONDS, Idempotency, Reservation
from service.core.jobs.admission import ReservationLost
from service.core.jobs.options import Options
from service.core.jobs.record import OPEN_OWNER, Input, Job
from service.core.jobs.store import JobStore
from tests.integration.service_processes import Gateway


def post(gateway: Gateway, file: bytes, key: str, **options: Any) -> httpx.Response:
    return gateway.client.post(
        "/reconstruct",
        files={"file": ("a.npz", file)},
        data=options,
        headers={"Idempotency-Key": key},
    )


def test_repeated_request_returns_the_same_job(gateway: Gateway, any_model: str, sample: bytes) -> None:
    key = secrets.token_hex()
    first, second = (post(gateway, sample, key, model=any_model, resolution=64) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["location"] == first.headers["location"]
    gateway.client.delete(f"/jobs/{first.json()['id']}")
    again = post(gateway, sample, key, model=any_model, resolution=64)
    assert (again.json()["id"], again.json()["state"]) == (first.json()["id"], "canceled")


def test_reused_key_with_different_request_is_refused(
    gateway: Gateway, any_model: str, sample: bytes
) -> None:
    key = secrets.token_hex()
    assert post(gateway, sample, key, model=any_model).status_code == 202
    for other in (
        post(gateway, sample, key, model=any_model, resolution=64),
        post(gateway, sample + b"\0", key, model=any_model),
    ):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_refused_request_releases_its_idempotency_key(
    gateway: Gateway, any_model: str, sample: bytes
) -> None:
    key = secrets.token_hex()
    assert post(gateway, b"nothing", key, model=any_model).status_code == 415
    assert post(gateway, sample, key, model=any_model).status_code == 202


def test_concurrent_requests_create_one_job(gateway: Gateway, any_model: str, sample: bytes) -> None:
    key = secrets.token_hex()
    with ThreadPoolExecutor(12) as pool:
        responses = list(pool.map(lambda _: post(gateway, sample, key, model=any_model), range(12)))
    created = {response.json()["id"] for response in responses if response.status_code == 202}
    others = [response for response in responses if response.status_code != 202]
    assert len(created) == 1
    assert {(response.status_code, response.json()["code"]) for response in others} <= {
        (409, "idempotency_in_flight")
    }
    assert all(int(response.headers["retry-after"]) >= 1 for response in others)
    listed = gateway.client.get("/jobs", params={"limit": 2}).json()["jobs"]
    assert [job["id"] in created for job in listed] == [True, False]


def test_request_of_a_dead_gateway_is_in_flight_until_its_lease_ends(
    gateway: Gateway, any_model: str, sample: bytes, jobs: JobStore
) -> None:
    key = secrets.token_hex()
    first = post(gateway, sample, key, model=any_model).json()
    reservations = Idempotency(jobs.redis)
    reservation_key = reservations.key(OPEN_OWNER, key)
    assert jobs.redis.ttl(reservation_key) > 3600  # lives with the job
    other = secrets.token_hex()
    fingerprint = str(jobs.redis.get(reservation_key)).split(" ")[1]
    reservations.reserve(reservations.key(OPEN_OWNER, other), Reservation("f" * 32, fingerprint))
    response = post(gateway, sample, other, model=any_model)
    assert (response.status_code, response.json()["code"]) == (409, "idempotency_in_flight")
    assert 0 < jobs.redis.ttl(reservations.key(OPEN_OWNER, other)) <= LEASE_SECONDS
    jobs.redis.delete(reservations.key(OPEN_OWNER, other))  # simulates its expiry
    retried = post(gateway, sample, other, model=any_model)
    assert retried.status_code == 202
    assert retried.json()["id"] != first["id"]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_idempotency_key_length_is_limited(gateway: Gateway, any_model: str, sample: bytes, key: str) -> None:
    response = post(gateway, sample, key, model=any_model)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_reservation_is_renewed_only_while_its_request_runs(jobs: JobStore) -> None:
    reservations = Idempotency(jobs.redis)
    key = reservations.key(OPEN_OWNER, secrets.token_hex())
    reservations.reserve(key, Reservation("f" * 32, "print"))
    with reservations.held(key):
        jobs.redis.expire(key, 1)
        reservations.renew()
        assert 1 < jobs.redis.ttl(key) <= LEASE_SECONDS
        jobs.redis.expire(key, 3600)  # as if the job had been recorded
        reservations.renew()
        assert jobs.redis.ttl(key) > 3000
    jobs.redis.expire(key, 1)
    reservations.renew()
    assert jobs.redis.ttl(key) <= 1


def test_job_with_a_lost_reservation_is_not_recorded(jobs: JobStore) -> None:
    job = Job.new("nobody", Options(), Input(frames=2, points=32, bytes=3, sha256="0" * 64), 600)
    reservations = Idempotency(jobs.redis)
    key = reservations.key(OPEN_OWNER, secrets.token_hex())
    for other in (None, Reservation("f" * 32, "print")):  # lapsed; taken by another request
        if other:
            reservations.reserve(key, other)
        with pytest.raises(ReservationLost):
            jobs.create(job, reserved=key)
        assert jobs.get(job.id) is None

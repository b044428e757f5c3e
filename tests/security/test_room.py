"""One key cannot fill Redis, and a Redis that gets full refuses new jobs with a clear answer."""

import time
from collections.abc import Callable, Iterator

import pytest

from service.api.dependencies import GatewayContext
from service.core.jobs.admission import Limits, TooManyJobs
from service.core.jobs.options import MAX_METADATA, Options
from service.core.jobs.record import Input, Job, Progress, State
from service.core.jobs.room import FULL, TIGHT, Memory, Quota
from service.core.settings import Settings
from tests.security.caller import Caller

SOURCE = Input(frames=2, points=32, bytes=3, sha256="0" * 64)
LARGE = {"a": "x" * (MAX_METADATA - 10)}
ROUNDED = 1.25  # allocators round up to sizes of their own
TOMBSTONE = 4000  # bytes that are left of an expired job at most


@pytest.fixture
def context(settings: Settings) -> GatewayContext:
    return GatewayContext(settings)


@pytest.fixture
def owner(context: GatewayContext) -> str:
    """An owner without any records."""
    name = f"owner-{time.time_ns()}"
    assert context.redis.zcard(context.jobs.room.index(name)) == 0
    return name


def created(context: GatewayContext, owner: str, limits: Limits | None = None) -> Job:
    job = Job.new("any", Options(metadata=LARGE), SOURCE, 600, owner=owner)
    context.jobs.create(job, limits)
    return job


def expired(context: GatewayContext, owner: str) -> Job:
    job = created(context, owner)
    context.jobs.cancel(job.id)
    assert context.jobs.expire(job.id) is not None
    context.redis.zrem(context.jobs.expiry, job.id)
    return job


def used(context: GatewayContext, job: Job) -> int:
    keys = context.jobs.key(job.id), context.jobs.events.key(job.id)
    return sum(context.redis.memory_usage(key) or 0 for key in keys)


def counted(context: GatewayContext, owner: str) -> int:
    return int(str(context.redis.get(context.jobs.room.stored(owner))))


def test_expired_job_leaves_little(context: GatewayContext, owner: str) -> None:
    job = created(context, owner)
    assert MAX_METADATA < used(context, job) < ROUNDED * counted(context, owner)
    attempt = context.jobs.claim(job.id, 3)
    assert attempt is not None
    for number in range(200):
        assert context.jobs.report(attempt, Progress(stage="fit", percent=number / 2))
    assert used(context, job) < ROUNDED * counted(context, owner)
    context.jobs.cancel(job.id)
    context.jobs.expire(job.id)
    assert used(context, job) < TOMBSTONE
    left = context.jobs.get(job.id)
    assert left is not None
    assert (left.state, left.metadata) == (State.EXPIRED, {})
    assert [state for _, state, _ in context.jobs.events.after(job.id, 0)][-2:] == ["state", "state"]


@pytest.mark.parametrize(
    ("quota", "where"),
    [(Quota(5, 10**9), "records"), (Quota(10**6, 5 * MAX_METADATA + 8000), "bytes")],
)
def test_quota_of_an_owner(context: GatewayContext, owner: str, quota: Quota, where: str) -> None:
    limits = Limits(quota=quota)
    jobs = [created(context, owner, limits) for _ in range(5)]
    for refuse in (
        lambda: created(context, owner, limits),
        lambda: context.jobs.require_room("any", owner, limits),
    ):
        with pytest.raises(TooManyJobs) as error:
            refuse()
        assert error.value.where == where
    context.jobs.require_room("any", "somebody else", limits)
    for job in jobs[1:]:  # the first remains open
        context.jobs.cancel(job.id)
        context.jobs.expire(job.id)
        context.redis.zrem(context.jobs.expiry, job.id)
    context.redis.delete(f"oflow:recount:{owner}")
    context.jobs.require_room("any", owner, limits)
    created(context, owner, limits)
    assert context.jobs.get(jobs[0].id) is not None
    if where == "records":
        assert context.jobs.get(jobs[1].id) is None, "the oldest gives way"
        assert context.jobs.get(jobs[4].id) is not None


def test_records_that_redis_deleted_are_counted_out(context: GatewayContext, owner: str) -> None:
    quota = Quota(3, 10**9)
    for _ in range(3):
        context.redis.delete(context.jobs.key(created(context, owner).id))
    context.jobs.require_room("any", owner, Limits(quota=quota))
    assert context.redis.zcard(context.jobs.room.index(owner)) == 0
    assert counted(context, owner) == 0


def test_recount_is_rare(context: GatewayContext, owner: str) -> None:
    quota = Quota(1, 10**9)
    created(context, owner)
    assert [context.jobs.room.make(owner, quota) for _ in range(3)] == [True, False, False]


def test_the_wait_ends_with_the_recount_or_the_first_record(context: GatewayContext, owner: str) -> None:
    room, lock = context.jobs.room, f"oflow:recount:{owner}"
    assert room.wait(owner) == 1
    job = created(context, owner)  # for ten minutes
    assert 595 < room.wait(owner) <= 600
    expired(context, owner)
    assert room.wait(owner) == 1
    assert room.make(owner, Quota(9, 10**9))
    assert 8 <= room.wait(owner) <= context.redis.ttl(lock) + 1 <= 11
    context.redis.delete(lock)
    assert context.jobs.cancel(job.id) is not None
    assert room.wait(owner) == 1


Fill = Callable[[float], None]


@pytest.fixture
def fill(context: GatewayContext) -> Iterator[Fill]:
    """Set the limit of Redis' memory so that this share of it is used, and wait until gateways notice."""

    def set_limit(share: float) -> None:
        used = []
        for _ in range(8):  # buffers of clients are given back meanwhile, a tenth of so small a Redis
            time.sleep(0.1)
            used.append(int(context.redis.info("memory")["used_memory"]))
        context.redis.config_set("maxmemory", int(min(used) / share))
        time.sleep(1.1)

    yield set_limit
    context.redis.config_set("maxmemory", 0)
    time.sleep(1.1)


def test_quotas_shrink_as_redis_gets_full(context: GatewayContext, fill: Fill) -> None:
    memory = Memory(context.redis)
    assert memory.share() == 1
    fill((TIGHT + FULL) / 2)
    assert 0.2 < memory.share() < 0.8
    fill(FULL + 0.05)
    assert memory.share() == 0
    assert Quota(100, 1000).shrunk(0.5) == Quota(50, 500)


def test_nearly_full_redis_refuses_new_jobs(
    mine: Caller, any_model: str, sample: bytes, fill: Fill, context: GatewayContext
) -> None:
    job = mine.submit(sample, model=any_model)
    fill(FULL + 0.05)
    refused = mine.send("POST", "/reconstruct", files={"file": ("a.npz", sample)}, data={"model": any_model})
    assert (refused.status_code, refused.json()["code"]) == (503, "records_full")
    assert refused.headers["retry-after"] == "60"
    assert mine.send("GET", f"/jobs/{job['id']}").status_code == 200
    assert mine.send("DELETE", f"/jobs/{job['id']}").json()["state"] == "canceled"
    context.redis.config_set("maxmemory", 1)  # nothing at all can be written
    assert mine.send("GET", f"/jobs/{job['id']}").status_code == 200
    assert mine.send("GET", "/jobs").status_code == 200
    for method, path in (("DELETE", f"/jobs/{job['id']}"), ("POST", "/uploads")):
        answer = mine.send(method, path)
        assert (answer.status_code, answer.json()["code"]) == (503, "records_full")


def test_key_with_many_records_is_refused_first(
    mine: Caller, yours: Caller, any_model: str, sample: bytes, context: GatewayContext, fill: Fill
) -> None:
    form = {"files": {"file": ("a.npz", sample)}, "data": {"model": any_model}}
    stored = context.jobs.room.stored(mine.key.id)
    mine.submit(sample, model=any_model)
    before = counted(context, mine.key.id)
    context.redis.incrby(stored, 2**30)
    context.redis.set(f"oflow:recount:{mine.key.id}", "1", ex=10)  # the sum is not corrected at once
    refused = mine.send("POST", "/reconstruct", **form)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_records")
    assert int(refused.headers["retry-after"]) == context.jobs.room.wait(mine.key.id)
    fill((TIGHT + FULL) / 2)
    refused = mine.send("POST", "/reconstruct", **form)
    assert (refused.status_code, refused.json()["code"]) == (503, "records_full")
    assert yours.send("POST", "/reconstruct", **form).status_code == 202
    context.redis.set(stored, before)


def test_deleted_job_of_an_idempotency_key(
    mine: Caller, any_model: str, sample: bytes, context: GatewayContext
) -> None:
    form = {"files": {"file": ("a.npz", sample)}, "data": {"model": any_model}}
    again = {"headers": {"Idempotency-Key": "gone"}}
    job = mine.send("POST", "/reconstruct", **form, **again).json()
    context.redis.delete(context.jobs.key(job["id"]))
    answer = mine.send("POST", "/reconstruct", **form, **again)
    assert (answer.status_code, answer.json()["code"]) == (410, "job_expired")

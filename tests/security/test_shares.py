"""No key takes more than its share: jobs are priced at the door, and keys with few jobs come first."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import Reconstructor
from service.api.background.aging import bring_forward
from service.api.background.lost_data import drop_messages_of_ended_jobs
from service.api.dependencies import GatewayContext
from service.core.jobs.admission import Limits, TooManyJobs
from service.core.jobs.estimate import Estimate
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, State
from service.core.jobs.store import JobStore
from service.core.jobs.stored import dump
from service.core.queue import queue_keys
from service.core.settings import Settings
from tests.integration.service_processes import ANY_INPUT
from tests.security.caller import Caller

SOURCE = Input(frames=2, points=32, bytes=3, sha256="0" * 64)


def test_job_answers_with_its_estimate(mine: Caller, any_model: str, sample: bytes) -> None:
    job = mine.submit(sample, model=any_model)
    assert job["estimate"]["seconds"] > 0
    assert job["estimate"]["bytes"] > 0
    assert mine.send("GET", f"/jobs/{job['id']}").json()["estimate"] == job["estimate"]
    assert "queue_priority" not in job


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"resolution": 512, "frames": 1000, "formats": "obj"}, "MiB of memory, at most 2,048 MiB"),
        (
            {"resolution": 512, "quality": "exact", "frames": 1000, "formats": "obj,ply,glb,usdz,usdc,npz"},
            "at most 900 s",
        ),
    ],
)
def test_too_large_a_job_is_refused_at_the_door(
    mine: Caller, any_model: str, sample: bytes, options: dict[str, Any], told: str
) -> None:
    """A small file with the largest options killed three workers, one after another."""
    answer = mine.send(
        "POST",
        "/reconstruct",
        files={"file": ("a.npz", sample)},
        data={"model": any_model, **options},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "job_too_large")
    assert told in answer.json()["detail"]
    assert "lower" in answer.json()["detail"]


@pytest.fixture
def line(settings: Settings) -> Iterator["Line"]:
    context = GatewayContext(settings)
    served = Line(context)
    yield served
    while context.redis.exists(*queue_keys("line")):
        served.serve()


class Line:
    """The queue of a model, served as a worker does: the first message of the first list that has one."""

    def __init__(self, context: GatewayContext) -> None:
        self.context = context

    def submit(self, owner: str, seconds: float = 1, limits: Limits | None = None) -> Job:
        cost = Estimate(seconds=seconds, bytes=1, memory_bytes=1)
        job = Job.new("line", Options(), SOURCE, 600, owner=owner, estimate=cost)
        job = self.context.jobs.create(job, limits)
        self.context.queue.push(job)
        return job

    def serve(self) -> str:
        """Take the next message, let its job run and end; returns its owner."""
        redis = self.context.redis
        key = next(key for key in queue_keys("line") if redis.exists(key))
        job_id = json.loads(str(redis.rpop(key)))["headers"]["id"]
        job = self.context.jobs.claim(job_id, 3)
        if job is None:  # canceled before
            return ""
        self.context.jobs.cancel(job_id)
        return job.owner


def test_new_key_waits_for_one_job_at_most_whatever_another_has_queued(line: Line) -> None:
    jobs = [line.submit("heavy") for _ in range(60)]
    assert line.serve() == "heavy"
    late = line.submit("light")
    assert line.context.jobs.queue_position(late) == 0
    assert line.serve() == "light"
    assert [line.context.jobs.queue_position(job) for job in jobs[1:]] == list(range(59))  # in their order


def test_keys_with_many_jobs_take_turns(line: Line) -> None:
    for _ in range(12):
        line.submit("first")
    for _ in range(4):
        line.submit("second")
    served = [line.serve() for _ in range(8)]
    assert served == ["first", "second"] * 4


def test_own_jobs_keep_their_order(line: Line) -> None:
    old = [line.submit("one") for _ in range(6)]
    for _ in range(4):
        line.serve()
    new = line.submit("one")  # with few open jobs, but not before those that wait
    assert [line.context.jobs.queue_position(job) for job in (*old[4:], new)] == [0, 1, 2]
    for _ in range(3):
        line.serve()
    assert line.submit("one").queue_priority == 0


def _age(line: Line, jobs: list[Job], seconds: float = 61) -> None:
    """Let this time have passed since these jobs were created, and the next round begin."""
    for job in line.context.jobs.read([job.id for job in jobs]):
        older = job.with_(created_at=job.created_at - timedelta(seconds=seconds))
        line.context.redis.set(line.context.jobs.key(job.id), dump(older), keepttl=True)
    line.context.redis.delete("oflow:bring-forward")


def test_backlog_goes_on_while_others_keep_submitting(line: Line) -> None:
    """Each of them has one job at a time and thus the first priority, and there is always one waiting."""
    line.context.registry.announce(ANY_INPUT.model_copy(update={"name": "line"}))
    backlog = [line.submit("heavy") for _ in range(4)]
    assert line.serve() == "heavy"
    served = []
    line.submit("other-0")
    for number in range(1, 21):
        line.submit(f"other-{number}")
        if number > 5:  # a minute has passed
            _age(line, [job for job in backlog if _waits(line, job)])
        bring_forward(line.context)
        served.append(line.serve())
    assert served[:5] == [f"other-{n}" for n in range(5)]
    assert served.count("heavy") == 3, served  # one after each of the others' that waits
    line.context.redis.hdel(line.context.registry.models_key, "line")


def _waits(line: Line, job: Job) -> bool:
    found = line.context.jobs.get(job.id)
    return found is not None and found.state is State.QUEUED


def test_only_the_oldest_job_of_a_key_comes_forward_and_joins_the_end(line: Line) -> None:
    line.context.registry.announce(ANY_INPUT.model_copy(update={"name": "line"}))
    heavy = [line.submit("heavy") for _ in range(4)]
    assert line.serve() == "heavy"
    light = line.submit("light")
    _age(line, heavy[1:])
    bring_forward(line.context)
    order = [light, heavy[1], heavy[2], heavy[3]]
    assert [line.context.jobs.queue_position(job) for job in order] == [0, 1, 2, 3]
    ids = line.context.queue.job_ids("line")
    assert ids[0] == [light.id, heavy[1].id]
    line.context.redis.delete("oflow:bring-forward")
    bring_forward(line.context)
    assert line.context.queue.job_ids("line") == ids  # one at a time
    line.context.redis.hdel(line.context.registry.models_key, "line")


def test_job_that_lost_its_worker_goes_to_the_front(line: Line) -> None:
    line.context.registry.announce(ANY_INPUT.model_copy(update={"name": "line"}))
    _, lost, _ = (line.submit("heavy") for _ in range(3))
    light = line.submit("light")
    assert line.context.jobs.claim(lost.id, 3) is not None  # its message has returned to the queue
    line.context.redis.delete("oflow:bring-forward")
    bring_forward(line.context)
    [text, *_] = line.context.redis.lrange(queue_keys("line")[0], -1, -1)
    message = json.loads(str(text))
    assert (message["headers"]["id"], message["properties"]["priority"]) == (lost.id, 0)
    assert line.context.queue.job_ids("line")[0][-1] == light.id
    line.context.redis.hdel(line.context.registry.models_key, "line")


def test_estimated_seconds_of_open_jobs_are_limited(line: Line, jobs: JobStore) -> None:
    budget = Limits(seconds=100)
    first = line.submit("spender", 60, budget)
    with pytest.raises(TooManyJobs) as refused:
        line.submit("spender", 41, budget)
    assert refused.value.where == "seconds"
    line.submit("another", 60, budget)
    second = line.submit("spender", 40, budget)
    jobs.cancel(first.id)
    third = line.submit("spender", 60, budget)
    for job in (second, third):
        jobs.cancel(job.id)
    assert int(str(jobs.redis.get(jobs.turns.seconds("spender")))) == 0


def test_canceled_jobs_leave_no_messages(line: Line) -> None:
    context = line.context
    context.registry.announce(ANY_INPUT.model_copy(update={"name": "line"}))
    kept, *canceled = (line.submit("fickle") for _ in range(5))
    for job in canceled:
        context.jobs.cancel(job.id)
    context.redis.delete("oflow:drop-messages")
    drop_messages_of_ended_jobs(context)
    left = [text for key in queue_keys("line") for text in context.redis.lrange(key, 0, -1)]
    assert len(left) == 1
    assert kept.id in str(left[0])
    context.redis.hdel(context.registry.models_key, "line")


def test_job_without_enough_memory_fails_instead_of_its_process() -> None:
    code = (
        "from worker.serving.memory import limit_memory; import numpy as np; limit_memory(128 * 2**20)\n"
        "np.ones(2**23)\n"
        "try: np.ones(2**25)\n"
        "except MemoryError: print('refused')\n"
        "kept = np.ones(2**23); limit_memory(128 * 2**20); np.ones(2**23)"  # the next job has as much
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "refused"), done.stderr


def test_threads_without_memory_fail_instead_of_waiting_for_ever() -> None:
    """A thread that finds no memory at all when it begins never says so to the one that started it."""
    code = (
        "from worker.serving.memory import limit_memory; import time\n"
        "from model.registration.parallel import side_by_side\n"
        "side_by_side(lambda _: time.sleep(0.05), [1, 2], 2)\n"  # their stacks are kept for the next ones
        "limit_memory(4 * 2**20); held = []\n"
        "for size in (65536, 4096, 512, 64):\n"
        "    try:\n"
        "        while True: held.append(bytearray(size))\n"
        "    except MemoryError: pass\n"
        "try: side_by_side(abs, [1, 2], 2)\n"
        "except MemoryError: held.clear(); print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "refused"), done.stderr


@pytest.mark.parametrize("cleanup", ["auto", "off"])
def test_wild_later_frames_take_no_more_work(
    reconstructor: Reconstructor, sample: bytes, cleanup: str
) -> None:
    """Every triangle was once a candidate for points that far away, which took all memory."""
    with np.load(io.BytesIO(sample)) as arrays:
        plain = arrays["points"].astype(np.float64)  # [T, N, 3]
    one, away = plain.copy(), plain.copy()
    one[3, 0, 0] = 1e18
    away[5:] += 1e8

    def seconds(points: NDArray[np.float64]) -> float:
        start = time.process_time()
        reconstructor(list(points), resolution=32, cleanup=cleanup)
        return time.process_time() - start

    seconds(plain)  # compiles
    usual = seconds(plain)
    assert max(seconds(one), seconds(away)) < 4 * usual + 1


@pytest.fixture(scope="module")
def reconstructor() -> Reconstructor:
    return Reconstructor.from_config("local_oflow", device="cpu")

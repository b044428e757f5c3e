"""No request makes a record that cannot be read, and a record that cannot be read troubles nobody else."""

import io
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from service.api.background.retention import expire_jobs
from service.api.background.tasks import queue_dropped_jobs, queue_lost_jobs
from service.api.dependencies import GatewayContext
from service.core.jobs.option_faults import OptionsError
from service.core.jobs.options import MAX_METADATA, Options
from service.core.jobs.record import SCHEMA, Input, Job, Progress, State
from service.core.jobs.stored import UnreadableRecord, dump, load
from service.core.settings import Settings
from tests.integration.acting_worker import RESULT
from tests.security.caller import Caller
from worker.serving.context import WorkerContext
from worker.serving.failures import errors_recorded
from worker.serving.watchdog import Watchdog

SOURCE = Input(frames=2, points=32, bytes=3, sha256="0" * 64)
NOTHING_STORED: Any = SimpleNamespace(beat=lambda: None, spool=SimpleNamespace(loaded=lambda: None))
LARGEST = '{"a":[' + ",".join("1" * 8000) + "]}"  # within the limit only without spaces
DAMAGED = ["{", "[]", "{}", '{"schema_version": 99}', '{"state": "upside down"}', '{"input": null}']


@pytest.fixture
def context(settings: Settings) -> GatewayContext:
    return GatewayContext(settings)


def created(context: GatewayContext, **options: Any) -> Job:
    job = Job.new("any", Options(**options), SOURCE, 600, owner="victim")
    context.store.put(job.input_key, io.BytesIO(b"abc"), "text/plain")
    context.jobs.create(job)
    return job


def damage(context: GatewayContext, job_id: str, how: str) -> None:
    """Replace the record by text that is no object, or change single fields of it."""
    key = context.jobs.key(job_id)
    changes = json.loads(how) if how not in ("{", "[]", "{}") else None
    text = how if changes is None else json.dumps(json.loads(str(context.redis.get(key))) | changes)
    context.redis.set(key, text, keepttl=True)


def test_largest_metadata_can_be_read_back(mine: Caller, any_model: str, sample: bytes) -> None:
    assert MAX_METADATA - 400 < len(LARGEST) <= MAX_METADATA
    job = mine.submit(sample, model=any_model, metadata=LARGEST)
    assert mine.send("GET", f"/jobs/{job['id']}").json()["metadata"] == json.loads(LARGEST)
    assert mine.send("GET", "/jobs").status_code == 200
    assert mine.send("DELETE", f"/jobs/{job['id']}").json()["state"] == "canceled"


def test_metadata_is_measured_in_bytes(mine: Caller, any_model: str, sample: bytes) -> None:
    wide = json.dumps({"a": "\U0001f600" * (MAX_METADATA // 4)}, ensure_ascii=False)
    options = {"model": any_model, "metadata": wide}
    answer = mine.send("POST", "/reconstruct", files={"file": ("a.npz", sample)}, data=options)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_options")
    assert f"{len(wide.encode()) - 1} bytes" in answer.json()["detail"]  # a space less


def test_what_cannot_be_read_again_is_not_written() -> None:
    job = Job.new("any", Options(), SOURCE, 600)
    broken = RESULT.model_copy(update={"timings": {"fetch": float("nan")}})
    for wrong in (
        job.ended(State.SUCCEEDED, result=broken),
        job.with_(model=None),
        job.with_(model="\ud800"),
    ):
        with pytest.raises(ValueError, match=r"JSON|unreadable|surrogates"):
            dump(wrong)


@pytest.mark.parametrize("how", DAMAGED)
def test_unreadable_record_is_answered_for_its_owner_only(
    mine: Caller, yours: Caller, context: GatewayContext, any_model: str, sample: bytes, how: str
) -> None:
    good, bad = (mine.submit(sample, model=any_model)["id"] for _ in range(2))
    damage(context, bad, how)
    known = how.startswith('{"')
    expected = (410, "record_unreadable") if known else (404, "not_found")
    for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/result"), ("DELETE", "")):
        answer = mine.send(method, f"/jobs/{bad}{path}")
        assert (answer.status_code, answer.json()["code"]) == expected
        assert yours.send(method, f"/jobs/{bad}{path}").status_code == 404
    assert (context.store.size(f"jobs/{bad}/input") is None) is known  # its owner has deleted it
    listed = [job["id"] for job in mine.send("GET", "/jobs").json()["jobs"]]
    assert good in listed
    assert bad not in listed
    assert not context.redis.sismember(f"oflow:open:{mine.key.id}", bad)
    assert context.redis.zscore(context.jobs.waiting_key(any_model), bad) is None
    found = [
        line for line in mine.send("GET", "/metrics").text.splitlines() if "quarantined_records " in line
    ]
    assert float(found[-1].split()[-1]) >= 1


@pytest.mark.parametrize("how", DAMAGED)
def test_unreadable_records_do_not_stop_the_background_tasks(context: GatewayContext, how: str) -> None:
    bad, good = created(context), created(context)
    damage(context, bad.id, how)
    first = {bad.id: time.time() - 100, good.id: time.time() - 99}
    context.redis.zadd(context.jobs.unsent, first)
    queue_lost_jobs(context)
    assert context.redis.zscore(context.jobs.unsent, good.id) is None
    context.redis.zadd(context.jobs.leased, first)
    queue_dropped_jobs(context)
    assert context.redis.zmscore(context.jobs.leased, [*first]) == [None, None]
    context.redis.zadd(context.jobs.expiry, first)
    expire_jobs(context)
    assert [context.store.size(job.input_key) for job in (bad, good)] == [None, None]
    assert context.redis.zmscore(context.jobs.expiry, [*first]) == [None, None]
    assert context.redis.zscore(context.jobs.quarantined.key, bad.id) is not None
    assert context.jobs.claim(bad.id, 3) is None


def test_an_error_at_one_item_does_not_stop_the_others(
    context: GatewayContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = created(context), created(context)
    cancel = context.jobs.cancel

    def fail(job_id: str, *rest: Any) -> Any:
        if job_id == bad.id:
            raise ZeroDivisionError
        return cancel(job_id, *rest)

    monkeypatch.setattr(context.jobs, "cancel", fail)
    context.redis.zadd(context.jobs.expiry, {bad.id: 1.0, good.id: 2.0})
    before = failures(context, "expire_jobs")
    expire_jobs(context)
    assert context.store.size(good.input_key) is None
    assert failures(context, "expire_jobs") == before + 1
    context.redis.zrem(context.jobs.expiry, bad.id)


def test_watchdog_sets_unreadable_records_aside(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    context = WorkerContext(settings.model_copy(update={"model": "watched"}))
    bad, good = (created(GatewayContext(settings)) for _ in range(2))
    damage(GatewayContext(settings), bad.id, "{")
    requests = [SimpleNamespace(id=job.id, worker_pid=1) for job in (bad, good)]
    monkeypatch.setattr(state, "reserved_requests", requests)
    context.jobs.cancel(good.id)
    watchdog = Watchdog(context, NOTHING_STORED)
    watchdog.stop_stuck()
    assert watchdog.canceled.keys() == {good.id}
    assert context.redis.zscore(context.jobs.quarantined.key, bad.id) is not None


@pytest.mark.parametrize("how", DAMAGED)
def test_attempt_whose_record_becomes_unreadable_is_given_up(settings: Settings, how: str) -> None:
    gateway, worker = GatewayContext(settings), WorkerContext(settings)
    bad = created(gateway)
    attempt = worker.jobs.claim(bad.id, 3)
    assert attempt is not None
    worker.store.put(attempt.result_key("mesh.glb"), io.BytesIO(b"abc"), "text/plain")
    damage(gateway, bad.id, how)
    with errors_recorded(worker, attempt):
        worker.jobs.report(attempt, Progress(stage="fit", percent=50))
        raise AssertionError("the attempt went on")
    assert worker.store.size(attempt.result_key("mesh.glb")) is None
    worker.jobs.give_back(bad.id)  # as at SIGTERM
    assert worker.redis.zscore(worker.jobs.quarantined.key, bad.id) is not None


def test_watchdog_survives_every_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    context = WorkerContext(settings.model_copy(update={"model": "watched"}))
    request = SimpleNamespace(id="a", worker_pid=1, message=SimpleNamespace(delivery_tag="poison"))
    monkeypatch.setattr(state, "reserved_requests", [request])
    monkeypatch.setattr(context.jobs, "get", lambda _: 1 / 0)
    context.redis.zadd("unacked_index", {"poison": 1.0})
    before = failures(context, "watchdog")
    watchdog = Watchdog(context, NOTHING_STORED, interval=0.02)
    watchdog.start()
    end = time.monotonic() + 10
    while failures(context, "watchdog") < before + 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert watchdog.is_alive()
    assert (context.redis.zscore("unacked_index", "poison") or 0) > time.time() - 5  # still renewed
    watchdog.stop()
    watchdog.join()
    context.redis.zrem("unacked_index", "poison")


def failures(context: Any, loop: str) -> float:
    return float(context.jobs.counters.read().get(("loop_failures", loop), 0))


def test_fields_of_a_later_release_are_kept(context: GatewayContext) -> None:
    job = created(context, metadata={"take": 3})
    text = json.loads(str(context.redis.get(context.jobs.key(job.id))))
    text["priority"] = {"class": "fast"}
    text["options"]["smoothness"] = 2
    text["input"]["scanner"] = "x"
    text["progress"]["watts"] = 3
    context.redis.set(context.jobs.key(job.id), json.dumps(text), keepttl=True)
    attempt = context.jobs.claim(job.id, 3)
    assert attempt is not None
    with pytest.raises(OptionsError, match="smoothness is an option of a later version"):
        attempt.reconstruction_options()
    assert context.jobs.succeed(attempt, RESULT)
    stored = json.loads(str(context.redis.get(context.jobs.key(job.id))))
    assert stored["priority"] == {"class": "fast"}
    assert (stored["options"]["smoothness"], stored["input"]["scanner"]) == (2, "x")
    assert (stored["state"], stored["result"]["files"][0]["format"]) == ("succeeded", "glb")
    assert stored["options"]["metadata"] == {"take": 3}
    assert context.jobs.expire(job.id) is not None
    assert "result" not in json.loads(str(context.redis.get(context.jobs.key(job.id))))


def test_later_schema_is_refused_and_left_alone(context: GatewayContext) -> None:
    job = created(context)
    damage(context, job.id, json.dumps({"schema_version": SCHEMA + 1}))
    before = context.redis.get(context.jobs.key(job.id))
    with pytest.raises(
        UnreadableRecord, match=f"schema version {SCHEMA + 1}, this release reads up to {SCHEMA}"
    ):
        context.jobs.cancel(job.id)
    assert context.redis.get(context.jobs.key(job.id)) == before


def test_formats_of_a_later_release_are_listed() -> None:
    job = Job.new("any", Options(), SOURCE, 600).ended(State.SUCCEEDED, result=RESULT)
    later = json.loads(dump(job))
    later["result"]["files"][0]["format"] = "hologram"
    result = load(job.id, json.dumps(later)).result
    assert result is not None
    assert result.files[0].format == "hologram"

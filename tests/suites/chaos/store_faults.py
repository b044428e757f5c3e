"""An object store that is down, slow, breaks off, or does not hold what it was given."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx

from service.client import Client
from service.client.retrying import ServiceError
from tests.suites.chaos.kinds import LARGE_INPUT, MANY_PARTS, QUICK, STEADY
from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.scenarios import Recovery, scenario
from tests.suites.chaos.stack import Stack, model_process, suspended

DOWN = 30.0  # seconds
SLOW_LINE = 400_000  # bytes a second
SERVER_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@scenario("S3", f"down for {DOWN:g} s (kill -9), then back", within=30)
def store_down(stack: Stack, ledger: Ledger) -> Recovery:
    """Jobs that run wait for it; a client that submits meanwhile is told to come again, and does."""
    running = ledger.submit(STEADY, MANY_PARTS)
    ledger.submit(QUICK, QUICK)
    stack.wait_for_attempt(running[0], 1, "extract")
    stack.store.kill()
    came_back = time.monotonic() + DOWN
    late = threading.Thread(target=ledger.submit, args=[QUICK])
    late.start()
    time.sleep(DOWN)
    assert all((job := stack.record(job_id)) and job.state.open for job_id in running)
    stack.start(stack.store)
    stack.store.wait_until_ready(60)
    came_back = time.monotonic()
    late.join()
    ledger.settle()
    return Recovery(time.monotonic() - came_back, "back → all jobs done")


@scenario("S3", f"slow: {SLOW_LINE // 1000} kB/s a connection", within=90)
def store_slow(stack: Stack, ledger: Ledger) -> Recovery:
    """Jobs take their time; meanwhile the gateway answers as quickly as ever."""
    stack.files.slow(SLOW_LINE)
    began = time.monotonic()
    job_id, *_ = ledger.submit(STEADY, STEADY, QUICK)
    uploads = [threading.Thread(target=ledger.submit, args=[LARGE_INPUT]) for _ in range(2)]
    for upload in uploads:
        upload.start()
    longest = 0.0
    while any(upload.is_alive() for upload in uploads):
        asked = time.monotonic()
        stack.gateway.client.get(f"/jobs/{job_id}").raise_for_status()
        longest = max(longest, time.monotonic() - asked)
        time.sleep(0.1)
    ledger.settle()
    assert longest < 2, f"GET /jobs/… took {longest:.1f} s while the store was slow"
    return Recovery(
        time.monotonic() - began, "submitted → all jobs done", f"GET /jobs/… at most {longest * 1000:.0f} ms"
    )


@scenario("S3", "breaks off in the middle of multipart uploads: resets, then answers of 500", within=90)
def multipart_broken(stack: Stack, ledger: Ledger) -> Recovery:
    """The upload of an input and the storing of a result, both of three parts."""
    began, broken = time.monotonic(), 0
    for answer in (None, SERVER_ERROR):
        for kind in (LARGE_INPUT, MANY_PARTS):
            stack.files.break_requests(b"partNumber=2", times=7, answer=answer)
            ledger.submit(kind)
            ledger.settle()
            broken += stack.files.broken
            assert stack.files.broken == 7, f"{stack.files.broken} requests were broken, not 7"
    stack.files.heal()
    return Recovery(time.monotonic() - began, "submitted → all jobs done", f"{broken} requests broken")


@scenario("S3", "an input missing or altered before its worker reads it")
def input_gone(stack: Stack, ledger: Ledger) -> Recovery:
    files, bucket = stack.store.client(), stack.store.bucket
    with suspended(*map(model_process, stack.workers)):  # nothing is read yet
        [missing] = ledger.submit(QUICK, ends="input_missing")
        [altered] = ledger.submit(QUICK, ends="input_altered")
        ledger.submit(QUICK, STEADY)
        files.delete_object(Bucket=bucket, Key=f"jobs/{missing}/input")
        other = ledger.source(STEADY).read_bytes()[:-1]
        files.put_object(Bucket=bucket, Key=f"jobs/{altered}/input", Body=other)
    began = time.monotonic()
    ledger.settle()
    return Recovery(time.monotonic() - began, "read → told in words, the others done")


@scenario("S3", "a result missing or altered before it is fetched")
def result_gone(stack: Stack, ledger: Ledger) -> Recovery:
    """Nobody gets bytes that are not the job's: whoever asks is told."""
    altered, missing = ledger.submit(QUICK, QUICK)
    ledger.settle()
    ledger.verify()
    files, bucket = stack.store.client(), stack.store.bucket
    key = f"jobs/{altered}/attempt-1/mesh.glb"
    whole = files.get_object(Bucket=bucket, Key=key)["Body"].read()
    files.put_object(Bucket=bucket, Key=key, Body=whole[:-4] + b"\xff\xff\xff\xff")
    files.delete_object(Bucket=bucket, Key=f"jobs/{missing}/attempt-1/mesh.glb")
    began = time.monotonic()
    with Client(stack.address, patience=2) as client:
        told = [_refusal(client, job_id, ledger.folder / "mesh.glb") for job_id in (altered, missing)]
    assert told == ["damaged", "result_lost"], told
    seconds = time.monotonic() - began
    with suppress(httpx.RemoteProtocolError):  # it breaks off, its last part unsent
        answer = stack.gateway.client.get(f"/jobs/{altered}/result?redirect=false")
        raise AssertionError(f"the gateway handed out {len(answer.content)} damaged bytes as a whole file")
    return Recovery(seconds, "asked for → told", "two files")


def _refusal(client: Client, job_id: str, target: Path) -> str:
    """The code of the error that a download ends with."""
    try:
        client.download(client.job(job_id), target)
    except ServiceError as error:
        return error.code
    return "none: it was handed out as if nothing were wrong"

"""An object store that is down, slow, drops connections, or loses or corrupts objects."""

import time
from concurrent.futures import ThreadPoolExecutor
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
    """Running jobs wait for it; clients that submit meanwhile are told to retry."""
    running = ledger.submit(STEADY, MANY_PARTS)
    ledger.submit(QUICK, QUICK)
    stack.wait_for_attempt(running[0], 1, "register")
    stack.store.kill()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(ledger.submit, QUICK)
        time.sleep(DOWN)
        assert all((job := stack.record(job_id)) and job.state.open for job_id in running)
        stack.start(stack.store)
        stack.store.wait_until_ready(60)
        came_back = time.monotonic()
        late.result()
    ledger.settle()
    return Recovery(time.monotonic() - came_back, "back → all jobs done")


@scenario("S3", f"slow: {SLOW_LINE // 1000} kB/s a connection", within=90)
def store_slow(stack: Stack, ledger: Ledger) -> Recovery:
    """Jobs take longer, but the gateway's response times do not change."""
    stack.files.slow(SLOW_LINE)
    start = time.monotonic()
    job_id, *_ = ledger.submit(STEADY, STEADY, QUICK)
    longest = 0.0
    with ThreadPoolExecutor(2) as pool:
        uploads = [pool.submit(ledger.submit, LARGE_INPUT) for _ in range(2)]
        while not all(upload.done() for upload in uploads):
            request_start = time.monotonic()
            stack.gateway.client.get(f"/jobs/{job_id}").raise_for_status()
            longest = max(longest, time.monotonic() - request_start)
            time.sleep(0.1)
    for upload in uploads:
        upload.result()
    ledger.settle()
    assert longest < 2, f"GET /jobs/… took {longest:.1f} s while the store was slow"
    return Recovery(
        time.monotonic() - start, "submitted → all jobs done", f"GET /jobs/… at most {longest * 1000:.0f} ms"
    )


@scenario("S3", "fails in the middle of multipart uploads: resets, then responses of 500", within=90)
def multipart_broken(stack: Stack, ledger: Ledger) -> Recovery:
    """Both an input and a result are stored in three parts."""
    start, broken = time.monotonic(), 0
    for response in (None, SERVER_ERROR):
        for kind in (LARGE_INPUT, MANY_PARTS):
            stack.files.break_requests(b"partNumber=2", times=7, response=response)
            ledger.submit(kind)
            ledger.settle()
            broken += stack.files.broken
            assert stack.files.broken == 7, f"{stack.files.broken} requests were broken, not 7"
    stack.files.heal()
    return Recovery(time.monotonic() - start, "submitted → all jobs done", f"{broken} requests broken")


@scenario("S3", "an input missing or altered before its worker reads it")
def input_gone(stack: Stack, ledger: Ledger) -> Recovery:
    files, bucket = stack.store.client(), stack.store.bucket
    with suspended(*map(model_process, stack.workers)):  # before any input is read
        [missing] = ledger.submit(QUICK, ends="input_missing")
        [altered] = ledger.submit(QUICK, ends="input_altered")
        ledger.submit(QUICK, STEADY)
        files.delete_object(Bucket=bucket, Key=f"jobs/{missing}/input")
        other = ledger.source(STEADY).read_bytes()[:-1]
        files.put_object(Bucket=bucket, Key=f"jobs/{altered}/input", Body=other)
    start = time.monotonic()
    ledger.settle()
    return Recovery(time.monotonic() - start, "read → reported, the others done")


@scenario("S3", "a result missing or altered before it is fetched")
def result_gone(stack: Stack, ledger: Ledger) -> Recovery:
    """Callers never receive wrong bytes; they get an error."""
    altered, missing = ledger.submit(QUICK, QUICK)
    ledger.settle()
    ledger.verify()
    files, bucket = stack.store.client(), stack.store.bucket
    key = f"jobs/{altered}/attempt-1/mesh.glb"
    whole = files.get_object(Bucket=bucket, Key=key)["Body"].read()
    files.put_object(Bucket=bucket, Key=key, Body=whole[:-4] + b"\xff\xff\xff\xff")
    files.delete_object(Bucket=bucket, Key=f"jobs/{missing}/attempt-1/mesh.glb")
    start = time.monotonic()
    with Client(stack.address, patience=2) as client:
        codes = [_refusal(client, job_id, ledger.folder / "mesh.glb") for job_id in (altered, missing)]
    assert codes == ["damaged", "result_lost"], codes
    seconds = time.monotonic() - start
    with suppress(httpx.RemoteProtocolError):  # it is cut off before the last part
        response = stack.gateway.client.get(f"/jobs/{altered}/result?redirect=false")
        raise AssertionError(f"the gateway handed out {len(response.content)} damaged bytes as a whole file")
    return Recovery(seconds, "requested → reported", "two files")


def _refusal(client: Client, job_id: str, target: Path) -> str:
    """The error code of a failing download."""
    try:
        client.download(client.job(job_id), target)
    except ServiceError as error:
        return error.code
    return "none: it was handed out as if nothing were wrong"

"""A gateway that is killed while accepting a job."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.suites.chaos.kinds import QUICK, STEADY
from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.proxy import Proxy
from tests.suites.chaos.scenarios import Recovery, scenario
from tests.suites.chaos.stack import Stack

ACCEPTED = "kill → the client's retry is accepted"


@scenario("gateway", "kill -9 while it stores an upload, before there is a record", within=15)
def gateway_killed_storing(stack: Stack, ledger: Ledger) -> Recovery:
    def is_storing() -> bool:  # the key is reserved once the upload is complete
        return any(
            stack.records.redis.ttl(key) < 60 for key in stack.records.redis.scan_iter("oflow:idempotency:*")
        )

    return _kill_gateway(stack, ledger, stack.files, is_storing)


@scenario("gateway", "kill -9 between recording a job and queueing it", within=15)
def gateway_killed_queueing(stack: Stack, ledger: Ledger) -> Recovery:
    def is_queueing() -> bool:
        return stack.records.redis.zcard(stack.records.unsent) > 0

    return _kill_gateway(stack, ledger, stack.queue, is_queueing)


def _kill_gateway(stack: Stack, ledger: Ledger, line: Proxy, is_there: Callable[[], bool]) -> Recovery:
    """Stall `line` to stop the gateway halfway, and kill it there. The client only notices a lost connection
    and retries with the same idempotency key, which must create a single job."""
    ledger.submit(STEADY, QUICK)
    before = {job.id for job in ledger.client.jobs()}
    line.hold()
    with ThreadPoolExecutor(1) as pool:
        submitted = pool.submit(ledger.submit, QUICK)
        end = time.monotonic() + 30
        while not is_there():
            assert time.monotonic() < end, "the gateway did not reach the point at which to kill it"
            time.sleep(0.01)
        stack.gateway.kill()
        fault_time = time.monotonic()
        line.cut()
        line.heal()
        stack.heal()
        [job_id] = submitted.result()
        seconds = time.monotonic() - fault_time
    new = {job.id for job in ledger.client.jobs()} - before
    assert new == {job_id}, f"one request created {len(new)} jobs"
    return Recovery(seconds, ACCEPTED)

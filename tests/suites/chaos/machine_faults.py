"""Faults of the machine: a disk without room, a clock that jumps."""

import time

from tests.suites.chaos.clock import Clock
from tests.suites.chaos.kinds import LARGE_INPUT, LONG, QUICK, STEADY
from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.scenarios import Recovery, scenario
from tests.suites.chaos.stack import Stack
from tests.suites.chaos.valkey_faults import until_a_job_moves

FULL = 10.0  # seconds
WRONG = 15.0  # seconds
HOUR = 3600


@scenario("gateway", f"no room for uploads for {FULL:g} s", within=30)
def gateway_disk_full(stack: Stack, ledger: Ledger) -> Recovery:
    """Whoever uploads is told to come again; small uploads, which stay in memory, go on."""
    source = ledger.source(LARGE_INPUT).read_bytes()
    disk = stack.disks["gateway"]
    ledger.submit(STEADY, LARGE_INPUT)  # Python looks for a place with room once, before its first file
    disk.fill()
    answer = stack.gateway.client.post("/reconstruct", files={"file": ("a.npz", source)})
    told = (answer.status_code, answer.json().get("code"), "Retry-After" in answer.headers)
    assert told == (503, "no_room", True), answer.text
    ledger.submit(QUICK)
    time.sleep(FULL)
    disk.free()
    freed = time.monotonic()
    ledger.submit(LARGE_INPUT)
    ledger.settle()
    return Recovery(time.monotonic() - freed, "room again → all jobs done")


@scenario("worker", f"no room for inputs for {FULL:g} s", within=30)
def worker_disk_full(stack: Stack, ledger: Ledger) -> Recovery:
    disk = stack.disks["worker"]
    disk.fill()
    ids = ledger.submit(STEADY, LARGE_INPUT, QUICK)
    stack.wait_for_attempt(ids[0], 1)
    time.sleep(FULL)
    disk.free()
    freed = time.monotonic()
    ledger.settle()
    return Recovery(time.monotonic() - freed, "room again → all jobs done")


@scenario("S3", f"no room for objects for {FULL:g} s", within=120)
def store_disk_full(stack: Stack, ledger: Ledger) -> Recovery:
    """SeaweedFS looks once a minute whether there is room again."""
    disk = stack.disks["store"]
    ids = ledger.submit(STEADY, LONG, QUICK)
    stack.wait_for_attempt(ids[0], 1, "extract")
    disk.fill()
    time.sleep(FULL)
    disk.free()
    freed = time.monotonic()
    ledger.settle()
    return Recovery(time.monotonic() - freed, "room again → all jobs done")


@scenario("Valkey", f"no room for its append-only file for {FULL:g} s", within=30)
def valkey_disk_full(stack: Stack, ledger: Ledger) -> Recovery:
    ids = ledger.submit(LONG, STEADY, QUICK)
    stack.wait_for_attempt(ids[0], 1, "extract")
    stack.disks["valkey"].fill()
    time.sleep(FULL)
    stack.disks["valkey"].free()
    return Recovery(until_a_job_moves(stack, ids), "room again → a job goes on")


@scenario("clock", f"an hour ahead for {WRONG:g} s, right, an hour behind for {WRONG:g} s, right", within=30)
def clock_jumps(stack: Stack, ledger: Ledger) -> Recovery:
    """Of gateway, workers and Valkey. The object store's is right, and refuses what is signed an hour off."""
    clock, longest = Clock(stack.directory), 0.0
    with stack.restarted([stack.redis, *stack.workers, stack.gateway], **clock.environment):
        for wrong in (HOUR, -HOUR):
            ids = ledger.submit(LONG, STEADY)
            stack.wait_for_attempt(ids[0], 1, "extract")
            clock.set_wrong(wrong)
            time.sleep(WRONG)
            clock.set_wrong(0)
            right = time.monotonic()
            ledger.settle()
            longest = max(longest, time.monotonic() - right)
    return Recovery(longest, "right again → all jobs done")

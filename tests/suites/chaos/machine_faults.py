"""Machine faults: full disks and clock jumps."""

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


@scenario("gateway", f"no space for uploads for {FULL:g} s", within=30)
def gateway_disk_full(stack: Stack, ledger: Ledger) -> Recovery:
    """Large uploads are refused with Retry-After; small ones are kept in memory and succeed."""
    source = ledger.source(LARGE_INPUT).read_bytes()
    disk = stack.disks["gateway"]
    ledger.submit(STEADY, LARGE_INPUT)  # Python chooses its temporary directory once, before the first file
    disk.fill()
    response = stack.gateway.client.post("/reconstruct", files={"file": ("a.npz", source)})
    found = (response.status_code, response.json().get("code"), "Retry-After" in response.headers)
    assert found == (503, "no_room", True), response.text
    ledger.submit(QUICK)
    time.sleep(FULL)
    disk.free()
    freed = time.monotonic()
    ledger.submit(LARGE_INPUT)
    ledger.settle()
    return Recovery(time.monotonic() - freed, "space again → all jobs done")


@scenario("worker", f"no space for inputs for {FULL:g} s", within=30)
def worker_disk_full(stack: Stack, ledger: Ledger) -> Recovery:
    disk = stack.disks["worker"]
    disk.fill()
    ids = ledger.submit(STEADY, LARGE_INPUT, QUICK)
    stack.wait_for_attempt(ids[0], 1)
    time.sleep(FULL)
    disk.free()
    freed = time.monotonic()
    ledger.settle()
    return Recovery(time.monotonic() - freed, "space again → all jobs done")


@scenario("S3", f"no space for objects for {FULL:g} s", within=120)
def store_disk_full(stack: Stack, ledger: Ledger) -> Recovery:
    """SeaweedFS checks once a minute whether there is space again."""
    disk = stack.disks["store"]
    ids = ledger.submit(STEADY, LONG, QUICK)
    stack.wait_for_attempt(ids[0], 1, "register")
    disk.fill()
    time.sleep(FULL)
    disk.free()
    freed = time.monotonic()
    ledger.settle()
    return Recovery(time.monotonic() - freed, "space again → all jobs done")


@scenario("Valkey", f"no space for its append-only file for {FULL:g} s", within=30)
def valkey_disk_full(stack: Stack, ledger: Ledger) -> Recovery:
    ids = ledger.submit(LONG, STEADY, QUICK)
    stack.wait_for_attempt(ids[0], 1, "register")
    stack.disks["valkey"].fill()
    time.sleep(FULL)
    stack.disks["valkey"].free()
    return Recovery(until_a_job_moves(stack, ids), "space again → a job continues")


@scenario("clock", f"an hour ahead for {WRONG:g} s, right, an hour behind for {WRONG:g} s, right", within=30)
def clock_jumps(stack: Stack, ledger: Ledger) -> Recovery:
    """For gateway, workers and Valkey; the object store's clock is correct, so it refuses signatures."""
    clock, longest = Clock(stack.directory), 0.0
    with stack.restarted([stack.redis, *stack.workers, stack.gateway], **clock.environment):
        for wrong in (HOUR, -HOUR):
            ids = ledger.submit(LONG, STEADY)
            stack.wait_for_attempt(ids[0], 1, "register")
            clock.set_wrong(wrong)
            time.sleep(WRONG)
            clock.set_wrong(0)
            right = time.monotonic()
            ledger.settle()
            longest = max(longest, time.monotonic() - right)
    return Recovery(longest, "right again → all jobs done")


@scenario(
    "clock", f"of a worker and the gateway alone: an hour ahead for {WRONG:g} s, then behind", within=60
)
def one_clock_jumps(stack: Stack, ledger: Ledger) -> Recovery:
    """A worker whose clock is not that of Redis stops, and such a gateway takes no lease for lapsed."""
    clock, longest = Clock(stack.directory), 0.0
    with stack.restarted([stack.workers[0], stack.gateway], **clock.environment):
        for wrong in (HOUR, -HOUR):
            ids = ledger.submit(LONG, STEADY)
            stack.wait_for_attempt(ids[0], 1, "register")
            clock.set_wrong(wrong)
            time.sleep(WRONG)
            assert "NTP" in stack.gateway.client.get("/readyz").json()["clock"]
            assert not stack.workers[0].is_running, "a worker with a wrong clock did not stop"
            clock.set_wrong(0)
            right = time.monotonic()
            ledger.settle()
            longest = max(longest, time.monotonic() - right)
            stack.heal()
    return Recovery(longest, "right again → all jobs done")

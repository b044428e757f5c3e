"""Valkey that is killed, suspended or unreachable."""

import time
from concurrent.futures import ThreadPoolExecutor

from service.page.samples import SAMPLES
from tests.suites.chaos.kinds import LONG, QUICK, STEADY
from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.scenarios import Recovery, scenario
from tests.suites.chaos.stack import Stack

PAUSE = 30.0  # seconds
GONE = 5.0  # seconds
FILLED = 70.0  # seconds, more than the watchdog lets a worker be idle while jobs wait


def _versions(stack: Stack, ids: list[str]) -> list[int]:
    return [job.version if (job := stack.record(job_id)) else 0 for job_id in ids]


def until_a_job_moves(stack: Stack, ids: list[str]) -> float:
    """Seconds from now until the record of one of these jobs changes."""
    start, before = time.monotonic(), None
    while time.monotonic() - start < 60:
        now = _versions(stack, ids)
        if 0 not in now:
            if before is not None and now != before:
                return time.monotonic() - start
            before = before or now
        stack.revive()
        time.sleep(0.01)
    raise AssertionError("no job went on within 60 s")


@scenario("Valkey", f"kill -9, back after {GONE:g} s with its append-only file", within=30)
def valkey_killed(stack: Stack, ledger: Ledger) -> Recovery:
    ids = ledger.submit(STEADY, STEADY, QUICK, QUICK)
    stack.wait_for_attempt(ids[0], 1, "register")
    stack.redis.kill()
    time.sleep(GONE)
    stack.redis.start()
    stack.redis.wait_until_ready()
    return Recovery(until_a_job_moves(stack, ids), "back → a job continues")


@scenario("Valkey", f"frozen for {PAUSE:g} s (SIGSTOP)", within=30)
def valkey_paused(stack: Stack, ledger: Ledger) -> Recovery:
    """A client that follows a job throughout is notified of its end."""
    ids = ledger.submit(LONG, STEADY, STEADY, QUICK)
    stack.wait_for_attempt(ids[0], 1, "register")
    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(ledger.client.wait, ids[0])
        stack.redis.pause()
        try:
            time.sleep(PAUSE)
        finally:
            stack.redis.resume()
        seconds = until_a_job_moves(stack, ids)
        assert followed.result(120).id == ids[0]
    return Recovery(seconds, "back → a job continues")


@scenario("Valkey", "every connection reset, four times under one job", within=30)
def connections_cut(stack: Stack, ledger: Ledger) -> Recovery:
    """The workers survive, so no attempt counts as lost."""
    ids = ledger.submit(LONG, LONG, QUICK)
    stack.wait_for_attempt(ids[0], 1, "register")
    longest = 0.0
    for _ in range(4):
        stack.valkey.cut()
        longest = max(longest, until_a_job_moves(stack, ids))
    return Recovery(longest, "cut → a job continues", "the longest of four")


@scenario("Valkey", f"out of memory (maxmemory) for {FILLED:g} s", within=60)
def valkey_full(stack: Stack, ledger: Ledger) -> Recovery:
    """Workers and gateway stay up, and new jobs are refused with the reason."""
    ids = ledger.submit(LONG, STEADY, QUICK)
    stack.wait_for_attempt(ids[0], 1, "register")
    file = {"file": ("knees.npz", SAMPLES["knees"].path.read_bytes())}
    stack.records.redis.config_set("maxmemory", 1)
    try:
        end = time.monotonic() + FILLED
        while time.monotonic() < end:
            answer = stack.gateway.client.post("/reconstruct", files=file)
            assert (answer.status_code, answer.json()["code"]) == (503, "records_full"), answer.text
            assert all(part.is_running for part in stack.parts)
            time.sleep(0.5)
    finally:
        stack.records.redis.config_set("maxmemory", 0)
    return Recovery(until_a_job_moves(stack, ids), "room again → a job continues")


@scenario("Valkey", f"unreachable for {PAUSE:g} s: connections silent, then reset", within=30)
def valkey_out_of_reach(stack: Stack, ledger: Ledger) -> Recovery:
    ids = ledger.submit(LONG, STEADY, QUICK)
    stack.wait_for_attempt(ids[0], 1, "register")
    stack.valkey.hold()
    time.sleep(PAUSE)
    stack.valkey.cut()
    stack.valkey.heal()
    return Recovery(until_a_job_moves(stack, ids), "back → a job continues")

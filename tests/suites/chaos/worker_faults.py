"""Workers that die, hang, stop or have no memory left."""

import resource
import time

import psutil

from tests.suites.chaos.kinds import HUNGRY, LARGE_INPUT, LONG, MANY_PARTS, QUICK, STEADY
from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.scenarios import Recovery, scenario
from tests.suites.chaos.stack import Stack, model_process, suspended

BACK = "kill → at work on it again"
DEADLINE = 10  # seconds; the least that the settings take
SLOW_LINE = 400_000  # bytes a second


@scenario("worker", "kill -9 of the process with the model", within=15)
def model_process_killed(stack: Stack, ledger: Ledger) -> Recovery:
    job_id, *_ = ledger.submit(STEADY, STEADY, QUICK)
    holder = stack.holder(job_id, 1)
    stack.wait_for_attempt(job_id, 1, "extract")
    model_process(holder).kill()
    struck = time.monotonic()
    return Recovery(stack.wait_for_attempt(job_id, 2) - struck, BACK)


@scenario("worker", "kill -9 of the whole worker", within=15)
def worker_killed(stack: Stack, ledger: Ledger) -> Recovery:
    job_id, *_ = ledger.submit(STEADY, STEADY, QUICK)
    holder = stack.holder(job_id, 1)
    stack.wait_for_attempt(job_id, 1, "extract")
    holder.kill()
    struck = time.monotonic()
    return Recovery(stack.wait_for_attempt(job_id, 2) - struck, BACK)


@scenario("worker", "kill -9 while it stores the files of one job and computes another", within=15)
def worker_killed_storing(stack: Stack, ledger: Ledger) -> Recovery:
    """Both come back: one by its message in the queue, one by its lease."""
    stack.files.break_requests(b"partNumber=2", times=1000)
    [storing] = ledger.submit(MANY_PARTS)
    holder = stack.holder(storing, 1)
    stack.wait_for_attempt(storing, 1, "write")
    ledger.submit(STEADY, STEADY)
    while len(stack.running()) < 3:
        time.sleep(0.01)
    holder.kill()
    struck = time.monotonic()
    stack.files.heal()
    return Recovery(stack.wait_for_attempt(storing, 2) - struck, BACK)


@scenario("worker", "SIGTERM while it stores the files of a job", within=15)
def worker_asked_to_stop_storing(stack: Stack, ledger: Ledger) -> Recovery:
    """The store takes nothing meanwhile, or the worker might be done before it stops."""
    stack.files.break_requests(b"partNumber=2", times=1000)
    [storing] = ledger.submit(MANY_PARTS)
    holder = stack.holder(storing, 1)
    stack.wait_for_attempt(storing, 1, "write")
    holder.ask_to_stop()
    struck = time.monotonic()
    seconds = stack.wait_for_attempt(storing, 2) - struck
    stack.files.heal()
    record = stack.record(storing)
    assert record is not None
    assert record.given_back == [1], "a restart counts as a death"
    holder.kill()  # as a host does to what does not end in time
    return Recovery(seconds, "SIGTERM → at work on it again")


@scenario("worker", "kill -9 of the parent alone", within=15)
def parent_killed(stack: Stack, ledger: Ledger) -> Recovery:
    """The process with the model is an orphan then, and has to go too: it holds a worker's memory."""
    job_id, *_ = ledger.submit(LONG, STEADY, QUICK)
    holder = stack.holder(job_id, 1)
    stack.wait_for_attempt(job_id, 1, "extract")
    orphan = model_process(holder)
    with suspended(orphan):  # or it might end the job before another worker takes it
        psutil.Process(holder.pid).kill()
        struck = time.monotonic()
        seconds = stack.wait_for_attempt(job_id, 2) - struck
    orphan.wait(20)
    return Recovery(seconds, BACK)


@scenario("worker", "SIGTERM, three times under one job", within=15)
def worker_asked_to_stop(stack: Stack, ledger: Ledger) -> Recovery:
    """A job outlives as many restarts as would fail it if they were deaths."""
    job_id, _ = ledger.submit(LONG, QUICK)
    longest, stopped = 0.0, None
    for attempt in (1, 2, 3):
        holder = stack.holder(job_id, attempt)
        with suspended(model_process(holder)):  # or the job might be done before the other worker is back
            if stopped is not None:
                stack.wait_until_ended(stopped)
            stack.heal()
        holder.ask_to_stop()
        struck = time.monotonic()
        longest = max(longest, stack.wait_for_attempt(job_id, attempt + 1) - struck)
        stopped = holder
    stack.wait_until_ended(holder)
    return Recovery(longest, "SIGTERM → at work on it again", "the longest of three")


@scenario("worker", "out of memory (RLIMIT_AS)")
def out_of_memory(stack: Stack, ledger: Ledger) -> Recovery:
    """The hungry job fails in words; the process lives and takes the next ones."""
    children = [model_process(worker) for worker in stack.workers]
    limits = [child.rlimit(resource.RLIMIT_AS) for child in children]
    try:
        for child, (_, most) in zip(children, limits, strict=True):
            child.rlimit(resource.RLIMIT_AS, (child.memory_info().vms + 16 * 2**20, most))
        began = time.monotonic()
        ledger.submit(HUNGRY, ends="out_of_memory")
        seconds = ledger.settle()
        assert time.monotonic() - began < 60
    finally:
        for child, limit in zip(children, limits, strict=True):
            if child.is_running():
                child.rlimit(resource.RLIMIT_AS, limit)
    ledger.submit(STEADY, QUICK)
    assert all(child.is_running() for child in children), "a worker's process died of a hungry job"
    return Recovery(seconds, "submitted → the job has failed")


@scenario("worker", f"jobs past the deadline of {DEADLINE} s: one slow, one hung (SIGSTOP)")
def hang(stack: Stack, ledger: Ledger) -> Recovery:
    """The slow one reads a large input from a slow store."""
    with stack.restarted(list(stack.workers), OFLOW_JOB_DEADLINE_SECONDS=str(DEADLINE)):
        with suspended(*map(model_process, stack.workers)):
            _, hung = ledger.submit(LARGE_INPUT, LONG, ends="deadline_exceeded")
            ledger.submit(QUICK, QUICK)
            stack.files.slow(SLOW_LINE)
        child = model_process(stack.holder(hung, 1))
        child.suspend()
        struck = time.monotonic()
        ledger.settle()
        seconds = time.monotonic() - struck
    return Recovery(seconds, "hung → failed, the others done")


@scenario("worker", "a job that kills every worker")
def poison(stack: Stack, ledger: Ledger) -> Recovery:
    [job_id] = ledger.submit(LONG, ends="worker_lost")
    ledger.submit(STEADY, QUICK, QUICK)
    began = time.monotonic()
    for attempt in (1, 2, 3):
        holder = stack.holder(job_id, attempt, seconds=60)
        model_process(holder).kill()
    ledger.settle()
    return Recovery(time.monotonic() - began, "started → failed, the others done", "three deaths")

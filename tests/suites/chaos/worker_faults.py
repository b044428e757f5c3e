"""Workers that die, hang, stop or run out of memory."""

import resource
import time

import psutil

from tests.suites.chaos.kinds import HUNGRY, LARGE_INPUT, LONG, MANY_PARTS, QUICK, STEADY
from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.scenarios import Recovery, scenario
from tests.suites.chaos.stack import Stack, model_process, suspended

BACK = "kill → at work on it again"
DEADLINE = 10  # seconds; the minimum allowed by the settings
SLOW_LINE = 400_000  # bytes a second


@scenario("worker", "kill -9 of the process with the model", within=15)
def model_process_killed(stack: Stack, ledger: Ledger) -> Recovery:
    job_id, *_ = ledger.submit(STEADY, STEADY, QUICK)
    holder = stack.holder(job_id, 1)
    stack.wait_for_attempt(job_id, 1, "register")
    model_process(holder).kill()
    fault_time = time.monotonic()
    return Recovery(stack.wait_for_attempt(job_id, 2) - fault_time, BACK)


@scenario("worker", "kill -9 of the whole worker", within=15)
def worker_killed(stack: Stack, ledger: Ledger) -> Recovery:
    job_id, *_ = ledger.submit(STEADY, STEADY, QUICK)
    holder = stack.holder(job_id, 1)
    stack.wait_for_attempt(job_id, 1, "register")
    holder.kill()
    fault_time = time.monotonic()
    return Recovery(stack.wait_for_attempt(job_id, 2) - fault_time, BACK)


@scenario("worker", "kill -9 while it stores the files of one job and computes another", within=15)
def worker_killed_storing(stack: Stack, ledger: Ledger) -> Recovery:
    """Both jobs recover: one through its queue message, one through its lease."""
    stack.files.break_requests(b"partNumber=2", times=1000)
    [storing] = ledger.submit(MANY_PARTS)
    holder = stack.holder(storing, 1)
    stack.wait_for_attempt(storing, 1, "write")
    ledger.submit(STEADY, STEADY)
    while len(stack.running()) < 3:
        time.sleep(0.01)
    holder.kill()
    fault_time = time.monotonic()
    stack.files.heal()
    return Recovery(stack.wait_for_attempt(storing, 2) - fault_time, BACK)


@scenario("worker", "SIGTERM while it stores the files of a job", within=15)
def worker_asked_to_stop_storing(stack: Stack, ledger: Ledger) -> Recovery:
    """The store accepts nothing meanwhile, so that the worker cannot finish before it stops."""
    stack.files.break_requests(b"partNumber=2", times=1000)
    [storing] = ledger.submit(MANY_PARTS)
    holder = stack.holder(storing, 1)
    stack.wait_for_attempt(storing, 1, "write")
    holder.ask_to_stop()
    fault_time = time.monotonic()
    seconds = stack.wait_for_attempt(storing, 2) - fault_time
    stack.files.heal()
    record = stack.record(storing)
    assert record is not None
    assert record.given_back == [1], "a restart counts as a death"
    holder.kill()  # like a host does after its stop timeout
    return Recovery(seconds, "SIGTERM → at work on it again")


@scenario("worker", "kill -9 of the parent alone", within=15)
def parent_killed(stack: Stack, ledger: Ledger) -> Recovery:
    """The orphaned process with the model must exit too, as it occupies a worker's memory."""
    job_id, *_ = ledger.submit(LONG, STEADY, QUICK)
    holder = stack.holder(job_id, 1)
    stack.wait_for_attempt(job_id, 1, "register")
    orphan = model_process(holder)
    with suspended(orphan):  # so that it cannot finish the job before another worker takes it
        psutil.Process(holder.pid).kill()
        fault_time = time.monotonic()
        seconds = stack.wait_for_attempt(job_id, 2) - fault_time
    orphan.wait(20)
    return Recovery(seconds, BACK)


@scenario("worker", "SIGTERM, three times under one job", within=15)
def worker_asked_to_stop(stack: Stack, ledger: Ledger) -> Recovery:
    """Restarts do not count as crashes, even as many as the maximum number of attempts."""
    job_id, _ = ledger.submit(LONG, QUICK)
    longest, stopped = 0.0, None
    for attempt in (1, 2, 3):
        holder = stack.holder(job_id, attempt)
        with suspended(
            model_process(holder)
        ):  # so that the job is not finished before the other worker is back
            if stopped is not None:
                stack.wait_until_ended(stopped)
            stack.heal()
        holder.ask_to_stop()
        fault_time = time.monotonic()
        longest = max(longest, stack.wait_for_attempt(job_id, attempt + 1) - fault_time)
        stopped = holder
    stack.wait_until_ended(holder)
    return Recovery(longest, "SIGTERM → at work on it again", "the longest of three")


@scenario("worker", "out of memory (RLIMIT_AS)")
def out_of_memory(stack: Stack, ledger: Ledger) -> Recovery:
    """The job fails with an error; the process survives and runs the next ones."""
    children = [model_process(worker) for worker in stack.workers]
    limits = [child.rlimit(resource.RLIMIT_AS) for child in children]
    try:
        for child, (_, hard) in zip(children, limits, strict=True):
            child.rlimit(resource.RLIMIT_AS, (child.memory_info().vms + 16 * 2**20, hard))
        start = time.monotonic()
        ledger.submit(HUNGRY, ends="out_of_memory")
        seconds = ledger.settle()
        assert time.monotonic() - start < 60
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
        fault_time = time.monotonic()
        ledger.settle()
        seconds = time.monotonic() - fault_time
    return Recovery(seconds, "hung → failed, the others done")


@scenario("worker", "a job that kills every worker")
def poison(stack: Stack, ledger: Ledger) -> Recovery:
    [job_id] = ledger.submit(LONG, ends="worker_lost")
    ledger.submit(STEADY, QUICK, QUICK)
    start = time.monotonic()
    for attempt in (1, 2, 3):
        holder = stack.holder(job_id, attempt, seconds=60)
        model_process(holder).kill()
    ledger.settle()
    return Recovery(time.monotonic() - start, "started → failed, the others done", "three deaths")

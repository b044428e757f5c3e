"""What many jobs leave behind: memory of each process, entries in Redis, objects in the store."""

from collections.abc import Callable

import numpy as np

from tests.suites.load.jobs import Sequence, delete_jobs, run_jobs
from tests.suites.load.report import Report
from tests.suites.load.stack import MIB, Stack
from tests.suites.load.stored import Stored

WARM_UP = 0.1  # fraction of the jobs; caches and the allocator reach their steady state
ROUND = 20  # jobs between two memory measurements
MOST_PERCENT = 5
KEYS_OF_A_JOB = 3  # its record and events, for a week longer, and the idempotency key of its request


def measure_leak(
    stack: Stack, sequences: list[Sequence], jobs: int, on_result: Callable[[], None] = lambda: None
) -> Report:
    """Measure the resident memory of the idle worker process after each round of jobs.

    The growth is measured from the median of the first tenth after the warm-up to that of the last tenth. In
    the end the jobs are deleted: their files and their entries in every list have to be gone.
    """
    keys = stack.new_keys(len(sequences), rate_limit=10**6)
    run_jobs(stack, keys, sequences, max(ROUND, int(WARM_UP * jobs)), lambda: None)
    pid, sizes, gateway, key_of = stack.worker_child.pid, [], [], dict[str, str]()
    before, empty = stack.memory(), Stored.now(stack)
    for _ in range(max(2, jobs // ROUND)):
        key_of |= run_jobs(stack, keys, sequences, ROUND, on_result).key_of
        memory = stack.memory()
        sizes.append(memory["worker, child"])
        gateway.append(memory["gateway"])
    if stack.worker_child.pid != pid:
        raise RuntimeError("the worker's child was replaced meanwhile: nothing can be said of its growth")
    after, full = stack.memory(), Stored.now(stack)
    delete_jobs(stack, key_of)
    left = Stored.now(stack)
    tenth = max(1, len(sizes) // 10)
    first, last = float(np.median(sizes[:tenth])), float(np.median(sizes[-tenth:]))
    slope = float(np.polyfit(ROUND * np.arange(len(sizes)), sizes, 1)[0])
    report = Report(
        "Leak",
        f"{len(sizes) * ROUND} small jobs after {max(ROUND, int(WARM_UP * jobs))} to warm up. The "
        f"resident memory of the worker's child is read every {ROUND} jobs, while it is idle; growth is "
        "from the median of the first tenth of the readings to that of the last",
    )
    report.add("first tenth", first, "MiB")
    report.add("last tenth", last, "MiB")
    report.add("growth", 100 * (last / first - 1), "%", below=MOST_PERCENT)
    report.add("slope", 1000 * slope, "MiB per 1,000 jobs")
    report.add("gateway, first", gateway[0], "MiB")
    report.add("gateway, last", gateway[-1], "MiB", below=150e6 / MIB)
    for part in ("worker, parent", "Valkey", "S3 store"):
        report.add(f"{part}, before", before[part], "MiB")
        report.add(f"{part}, after", after[part], "MiB")
    for name, stored in (("before", empty), ("after", full), ("once the jobs are deleted", left)):
        report.add(f"objects, {name}", stored.objects, "")
        report.add(f"Redis keys, {name}", stored.keys, "")
        report.add(f"lasting entries, {name}", stored.lasting, "")
    report.add("objects left over", left.objects - empty.objects, "", below=1)
    kept = KEYS_OF_A_JOB * len(key_of)
    report.add("Redis keys left over, not of jobs", left.keys - empty.keys - kept, "", below=10)
    # Counters of what had not happened before, such as a deletion.
    report.add("lasting entries left over", left.lasting - empty.lasting, "", below=30)
    return report

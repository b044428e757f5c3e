"""Memory growth of the worker over many jobs."""

from collections.abc import Callable

import numpy as np

from tests.suites.load.jobs import Sequence, run_jobs
from tests.suites.load.report import Report
from tests.suites.load.stack import MIB, Stack

WARM_UP = 0.1  # fraction of the jobs; caches and the allocator reach their steady state
ROUND = 20  # jobs between two memory measurements
MOST_PERCENT = 5


def measure_leak(
    stack: Stack, sequences: list[Sequence], jobs: int, on_result: Callable[[], None] = lambda: None
) -> Report:
    """Measure the resident memory of the idle worker process after each round of jobs.

    The growth is measured from the median of the first tenth after the warm-up to that of the last tenth.
    """
    keys = stack.new_keys(len(sequences), rate_limit=10**6)
    run_jobs(stack, keys, sequences, max(ROUND, int(WARM_UP * jobs)), lambda: None)
    pid, sizes, gateway = stack.worker_child.pid, [], []
    for _ in range(max(2, jobs // ROUND)):
        run_jobs(stack, keys, sequences, ROUND, on_result)
        memory = stack.memory()
        sizes.append(memory["worker, child"])
        gateway.append(memory["gateway"])
    if stack.worker_child.pid != pid:
        raise RuntimeError("the worker's child was replaced meanwhile: nothing can be said of its growth")
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
    return report

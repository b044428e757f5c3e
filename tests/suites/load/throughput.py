"""Throughput of consecutive jobs compared with the bare Reconstructor."""

import hashlib
import statistics
from datetime import datetime

from service.page.samples import SAMPLES
from tests.suites.load.bare import Bare
from tests.suites.load.caller import Caller, LoadError, Timings
from tests.suites.load.report import Report
from tests.suites.load.stack import Stack

WANTED = 0.9


def measure_throughput(stack: Stack, bare: Bare, model: str, jobs: int) -> Report:
    """A worker that is never idle: seconds from the end of one job to the end of the next.

    Half of the bare runs come before the jobs, half after, each on one thread as in the worker.
    """
    sample = SAMPLES["knees"].path.read_bytes()
    bare.load(model)
    expected, _ = bare.run(sample)  # warms up
    alone = [bare.run(sample)[1] for _ in range(jobs // 2)]
    ended, stages = _through_the_service(stack, sample, expected, jobs)
    alone += [bare.run(sample)[1] for _ in range(jobs - jobs // 2)]
    served = (ended[-1] - ended[0]).total_seconds() / (jobs - 1)
    report = Report(
        "Throughput",
        f"{jobs} jobs of the sample with model {model!r}, queued at once, against as many runs "
        "of the bare Reconstructor (points to GLB), each on one thread",
    )
    report.add("bare", statistics.mean(alone), "s per sequence")
    report.add("through the service", served, "s per job")
    report.add("relative throughput of the service", statistics.mean(alone) / served, "", at_least=WANTED)
    for stage in ("fetch", "write", "store"):
        report.add(f"{stage}, median", 1e3 * statistics.median(times[stage] for times in stages), "ms")
    return report


def _through_the_service(
    stack: Stack, sample: bytes, expected: str, jobs: int
) -> tuple[list[datetime], list[dict[str, float]]]:
    """The end time of each job, in order, and its timings."""
    caller = Caller(stack.gateway.port, stack.new_keys(1)[0])
    warm = caller.submit(Timings(), sample, "")["id"]
    caller.follow(Timings(), warm)
    ids = [caller.submit(Timings(), sample, "")["id"] for _ in range(jobs)]
    ended, stages = [], []
    for job_id in ids:
        job = caller.follow(Timings(), job_id)
        if job["state"] != "succeeded":
            raise LoadError(f"job {job_id} {job['state']}: {job.get('error')}")
        [file] = job["result"]["files"]
        found = hashlib.sha256(caller.download(Timings(), file["href"])).hexdigest()
        if not file["sha256"] == found == expected:
            raise LoadError(f"job {job_id} has a file that differs from the bare Reconstructor")
        ended.append(datetime.fromisoformat(job["ended_at"]))
        stages.append(job["result"]["timings"])
    caller.close()
    return ended, stages

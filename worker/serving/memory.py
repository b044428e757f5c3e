"""A limit on the memory of a process, so that a job that needs more fails alone and says so."""

import logging
import os
import resource
from pathlib import Path

log = logging.getLogger(__name__)
SHARE = 0.45  # of the memory there is, for each of the two processes that handle jobs
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def limit_memory(job_bytes: int | None) -> None:
    """Let this process allocate `job_bytes` more than it has; by default, its share of the memory there is.

    To be called before each job: what earlier ones have left behind is not at the expense of the next.

    Allocations beyond fail with MemoryError instead of calling the kernel's OOM killer.
    """
    allowed = job_bytes or int(SHARE * available_memory())
    try:
        data_pages = int(Path("/proc/self/statm").read_text().split()[5])
    except (OSError, IndexError, ValueError):  # not Linux
        log.warning("the memory of jobs is not limited on this system")
        return
    limit = data_pages * resource.getpagesize() + allowed
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    log.debug("the job may use %d MiB of memory", allowed // 2**20)


def available_memory() -> int:
    """Bytes of the container, or of the machine."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in CGROUPS:
        try:
            return min(machine, int(path.read_text()))
        except (OSError, ValueError):  # no such version of cgroups, or "max"
            continue
    return machine

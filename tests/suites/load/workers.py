"""Throughput against the number of workers, with two gateways and a key for each tenant."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from service.local.object_store import ObjectStore
from service.local.ports import LOOPBACK
from tests.suites.chaos.proxy import Proxy
from tests.suites.load.caller import Caller, LoadError
from tests.suites.load.jobs import Sequence, run_jobs
from tests.suites.load.report import Report, console
from tests.suites.load.stack import Stack, running_stack

GATEWAYS = 2
STORE_RATE = 200e3  # bytes per second that each connection of a worker to the distant store carries
COMPUTING, WAITING = "jobs that compute", "jobs that wait for the store"
TENANTS = 6
AT_LEAST = 0.8  # of the throughput of one worker, times the number of workers, for jobs that wait
Rates = dict[str, dict[int, float]]  # kind of job → number of workers → jobs per second


def measure_workers(
    folder: Path,
    settings: dict[str, Any],
    sequences: list[Sequence],
    workers: list[int],
    jobs: int,
    on_result: Callable[[], None] = lambda: None,
) -> Rates:
    """Run `jobs` small jobs for each worker, of one key per sequence, on each number of workers.

    Twice: as they are, which the cores of this machine bound; and with a store so slow that a job mostly
    waits for its input, as it would for a GPU: then the service itself is the bound.
    """
    rates: Rates = {COMPUTING: {}, WAITING: {}}
    for kind, of_kind in rates.items():
        for count in workers:
            place = folder / f"{kind.replace(' ', '-')}-{count}"
            with ExitStack() as parts:
                between = parts.enter_context(_distant()) if kind is WAITING else None
                stack = running_stack(place, workers=count, gateways=GATEWAYS, between=between, **settings)
                of_kind[count] = _rate(parts.enter_context(stack), sequences, jobs * count, on_result)
            console.print(f"{kind}, {count} workers: {of_kind[count]:.2f} per second")  # it takes minutes
    return rates


def workers_report(rates: Rates, jobs: int) -> Report:
    report = Report(
        "Workers",
        f"{jobs} small jobs for each worker, of {TENANTS} keys through {GATEWAYS} gateways. Every result is "
        "verified, and each key sees its own jobs only. The slow store gives each connection of a worker "
        f"{STORE_RATE / 1e3:g} kB/s",
    )
    for kind, of_kind in rates.items():
        first = min(of_kind)
        for count, rate in of_kind.items():
            wanted = AT_LEAST * of_kind[first] / first * count if kind is WAITING else None
            report.add(f"{kind}, {count} worker{'s' * (count > 1)}", rate, "1/s", at_least=wanted)
    return report


def draw_rates(rates: Rates, file: Path) -> None:
    """Jobs per second against workers, beside what as many times the first worker would do."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(rates), figsize=(9, 3.4), sharex=True)
    for axis, (kind, of_kind) in zip(axes, rates.items(), strict=True):
        counts = list(of_kind)
        axis.plot(counts, list(of_kind.values()), "o-", label="measured")
        axis.plot(counts, [of_kind[counts[0]] * count for count in counts], ":", color="gray", label="linear")
        axis.set(title=kind, xlabel="workers", ylabel="jobs per second", xticks=counts, ylim=(0, None))
        axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _rate(stack: Stack, sequences: list[Sequence], jobs: int, on_result: Callable[[], None]) -> float:
    keys = stack.new_keys(len(sequences), rate_limit=10**6, open_jobs=10**6)
    run = run_jobs(stack, keys, sequences, jobs, on_result)
    require_separation(stack, keys, jobs)
    return jobs / run.span("started_at", "ended_at")


def require_separation(stack: Stack, keys: list[str], jobs: int) -> None:
    """Raises LoadError unless each gateway shows each key its own jobs, all of them and no others."""
    for gateway in stack.gateways:
        callers = [Caller(gateway.port, key) for key in keys]
        owned = [_listed(caller) for caller in callers]
        if sum(map(len, owned)) != jobs or len(set().union(*owned)) != jobs:
            raise LoadError(f"keys list {list(map(len, owned))} jobs, {jobs} were submitted")
        for caller, others in zip(callers, owned[1:] + owned[:1], strict=True):
            status = caller.send("GET", f"/jobs/{min(others)}").status
            if len(keys) > 1 and status != 404:
                raise LoadError(f"a key may read the job of another: {status}")
            caller.close()


def _listed(caller: Caller) -> set[str]:
    """The ids of all jobs of a key."""
    found: set[str] = set()
    query = "limit=100"
    while True:
        page = caller.send("GET", f"/jobs?{query}").json()
        found |= {job["id"] for job in page["jobs"]}
        if not page.get("next_cursor"):
            return found
        query = f"limit=100&cursor={page['next_cursor']}"


@contextmanager
def _distant() -> Iterator[Callable[[ObjectStore], str]]:
    """Make the address of a slow way to the store."""
    proxies: list[Proxy] = []

    def lead_to(store: ObjectStore) -> str:
        proxy = Proxy(store.port)
        proxies.append(proxy)
        proxy.start()
        proxy.slow(STORE_RATE)
        return f"http://{LOOPBACK}:{proxy.port}"

    try:
        yield lead_to
    finally:
        for proxy in proxies:
            proxy.stop()

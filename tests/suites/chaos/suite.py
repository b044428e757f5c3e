"""Runs scenarios one after another on one stack and records their measurements."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.suites.chaos import gateway_faults, machine_faults, store_faults, valkey_faults, worker_faults
from tests.suites.chaos.kinds import KINDS, QUICK
from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.not_here import NotHere
from tests.suites.chaos.scenarios import SCENARIOS, Recovery, Scenario
from tests.suites.chaos.stack import Stack

# Importing these modules registers their scenarios, in the order in which they run.
MODULES = (worker_faults, valkey_faults, store_faults, gateway_faults, machine_faults)
ALL = [one for module in MODULES for one in SCENARIOS.values() if one.run.__module__ == module.__name__]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a scenario: `fault` is None if it passed; `skipped` says why it could not run."""

    scenario: Scenario
    seconds: float
    jobs: int = 0
    recovery: Recovery | None = None
    fault: str | None = None
    skipped: str | None = None

    def as_json(self) -> dict[str, Any]:
        message = asdict(self)
        message["scenario"] = {
            "name": self.scenario.name,
            "part": self.scenario.part,
            "fault": self.scenario.fault,
            "within": self.scenario.within,
        }
        return message


def run(scenario: Scenario, stack: Stack, ledger: Ledger) -> Outcome:
    """Run a scenario, restore all parts, wait for its jobs, verify them, and run another job."""
    start = time.monotonic()

    def outcome(**more: Any) -> Outcome:
        return Outcome(scenario, round(time.monotonic() - start, 1), **more)

    try:
        stack.heal()
        recovery = scenario.run(stack, ledger)
        stack.heal()
        ledger.settle()
        ledger.submit(*[QUICK] * len(stack.workers))  # all workers must still respond
        ledger.settle()
        jobs = ledger.verify()
    except NotHere as why:
        stack.heal()
        ledger.settle()
        ledger.verify()
        return outcome(skipped=str(why))
    late = scenario.within is not None and recovery.seconds > scenario.within
    fault = f"{recovery.seconds:.1f} s, wanted within {scenario.within:g} s" if late else None
    return outcome(jobs=jobs, recovery=recovery, fault=fault)


def run_all(directory: Path, scenarios: Iterable[Scenario], seconds: float) -> Iterator[Outcome]:
    """Run these scenarios and yield their outcomes. After a failure, the next one gets a fresh stack.

    No scenario is started after `seconds`.
    """
    left = list(scenarios)
    life, end = 0, time.monotonic() + seconds
    while left:
        life += 1
        with Stack(directory / f"stack-{life}") as stack:
            ledger = Ledger(stack, directory / f"jobs-{life}")
            ledger.learn(*KINDS)
            while left:
                scenario, start = left.pop(0), time.monotonic()
                if start > end:
                    yield Outcome(scenario, 0.0, fault=f"not begun: {seconds / 60:g} minutes are over")
                    continue
                try:
                    yield run(scenario, stack, ledger)
                except Exception as error:
                    message = f"{type(error).__name__}: {error}"
                    yield Outcome(scenario, round(time.monotonic() - start, 1), fault=message)
                    break

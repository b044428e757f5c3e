"""Scenarios and their registry."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.stack import Stack


@dataclass(frozen=True)
class Recovery:
    """Seconds from the start or end of the fault until recovery; `measured` says which."""

    seconds: float
    measured: str
    note: str = ""


Run = Callable[[Stack, Ledger], Recovery]


@dataclass(frozen=True)
class Scenario:
    part: str  # affected part of the service
    fault: str
    run: Run
    within: float | None  # maximum recovery time in seconds

    @property
    def name(self) -> str:
        return self.run.__name__


SCENARIOS: dict[str, Scenario] = {}


def scenario(part: str, fault: str, within: float | None = None) -> Callable[[Run], Run]:
    """Register a function as a scenario. It submits jobs, injects the fault and returns its measurement; the
    suite then waits for the jobs and verifies each."""

    def enter(run: Run) -> Run:
        SCENARIOS[run.__name__] = Scenario(part, fault, run, within)
        return run

    return enter

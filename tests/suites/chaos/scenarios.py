"""What a scenario is, and the list of them all."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.stack import Stack


@dataclass(frozen=True)
class Recovery:
    """Seconds from the fault's start or end until the service was at work again; `measured` says which."""

    seconds: float
    measured: str
    note: str = ""


Run = Callable[[Stack, Ledger], Recovery]


@dataclass(frozen=True)
class Scenario:
    part: str  # of the service, that the fault strikes
    fault: str
    run: Run
    within: float | None  # seconds that the recovery may take

    @property
    def name(self) -> str:
        return self.run.__name__


SCENARIOS: dict[str, Scenario] = {}


def scenario(part: str, fault: str, within: float | None = None) -> Callable[[Run], Run]:
    """Enter a function into the list under its name. It submits jobs, strikes, and returns what it measured;
    the suite then waits for the jobs and verifies each."""

    def enter(run: Run) -> Run:
        SCENARIOS[run.__name__] = Scenario(part, fault, run, within)
        return run

    return enter

"""What a job tells while it runs."""

import pytest

from service.core.jobs.record import Progress
from worker.serving.progress import ProgressReport


class Jobs:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.told: list[Progress] = []

    def report(self, _: object, told: Progress) -> bool:
        self.told.append(told)
        return True


def test_the_time_left_never_climbs(monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter((0, 1, 2, 4, 6, 7, 9))
    monkeypatch.setattr("worker.serving.progress.time.monotonic", lambda: float(next(instants)))
    jobs = Jobs()
    report = ProgressReport(jobs, None, started=0.0, stage="register")  # type: ignore[arg-type]
    for fraction in (0.05, 0.2, 0.25, 0.25, 0.7, 0.9):
        report("register", fraction)
    assert [told.eta_seconds for told in jobs.told] == [None, 8.0, 8.0, 8.0, 3.0, 1.0]
    assert [told.percent for told in jobs.told] == [5.0, 20.0, 25.0, 25.0, 70.0, 90.0]

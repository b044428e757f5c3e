"""The suite's output."""

from rich.markup import escape
from rich.table import Table

from tests.suites.chaos.suite import Outcome


def progress_line(outcome: Outcome, number: int, total: int) -> str:
    """One line per completed scenario, with its failures."""
    heading = f"[{number:2}/{total}] {outcome.scenario.part}: {outcome.scenario.fault}: "
    why = f": {escape(outcome.fault or outcome.skipped or '')}".rstrip(": ")
    return f"{escape(heading)}{_verdict(outcome)}{why} [dim]({outcome.seconds:.0f} s)[/]"


def table(outcomes: list[Outcome], machine: dict[str, int | None], seconds: float) -> Table:
    """A table with one row per scenario."""
    held = sum(outcome.fault is None and outcome.skipped is None for outcome in outcomes)
    title = (
        f"{held} of {len(outcomes)} faults met, {sum(o.jobs for o in outcomes)} jobs accepted, "
        f"{seconds / 60:.1f} min on {machine['cores']} cores and {machine['memory_gb']} GB"
    )
    rows = Table(title=title, title_justify="left")
    for name, ratio in (("part", 1), ("fault", 3), ("measured", 2)):
        rows.add_column(name, ratio=ratio)
    for name in ("seconds", "jobs"):
        rows.add_column(name, justify="right")
    rows.add_column("")
    for outcome in outcomes:
        recovery = outcome.recovery
        note = f" ({recovery.note})" if recovery and recovery.note else ""
        rows.add_row(
            escape(outcome.scenario.part),
            escape(outcome.scenario.fault),
            escape(recovery.measured + note) if recovery else "",
            f"{recovery.seconds:.1f}" if recovery else "",
            str(outcome.jobs),
            _verdict(outcome),
        )
    return rows


def _verdict(outcome: Outcome) -> str:
    if outcome.skipped:
        return "[yellow]not run[/]"
    return "[red]failed[/]" if outcome.fault else "[green]held[/]"

"""Seconds by stage under the names of the published timings."""

import time

# Stages of a StageProgress.
STAGES = {
    "encode": "time (encode inputs)",
    "extract": "time (extract mesh)",
    "simplify": "time (simplify)",
    "refine": "time (refine)",
    "flow": "time (forward propagation)",
    "fit": "time (fit)",
}


class Watch:
    """The callback of one StageProgress, which tells evaluating the network from marching cubes.

    An extraction reports after every chunk of points that it evaluates, and once more at its end.
    """

    def __init__(self) -> None:
        self._reports: list[float] = []

    def __call__(self, stage: str, fraction: float) -> None:  # noqa: ARG002 - as StageProgress calls it
        if stage == "extract":
            self._reports.append(time.perf_counter())

    def seconds(self, timings: dict[str, float]) -> dict[str, float]:
        """`timings` by stage, with the two parts of an extraction."""
        named = {STAGES[stage]: taken for stage, taken in timings.items() if stage in STAGES}
        if len(self._reports) > 2:
            began, *_, evaluated, ended = self._reports
            named |= {"time (eval points)": evaluated - began, "time (marching cubes)": ended - evaluated}
        return named

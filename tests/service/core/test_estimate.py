"""Estimates of jobs against what was measured, within a factor; and what makes them grow."""

from typing import Any

import pytest

from service.core.jobs.estimate import Estimate, estimate
from service.core.jobs.options import Options


def estimated(
    input_frames: int = 17, points: int = 300, says: bool | None = None, **options: Any
) -> Estimate:
    return estimate(
        Options(**options),
        frames=input_frames,
        points=points,
        duration=1.0,
        resolution=128,
        corresponding=says,
    )


@pytest.mark.parametrize(
    ("frames", "points", "balanced", "draft"),
    [(17, 300, 0.46, 0.15), (17, 2000, 2.9, 0.51), (60, 1000, 2.6, 0.9), (300, 5000, 26, 4.7)],
)
def test_registrations(frames: int, points: int, balanced: float, draft: float) -> None:
    """`docs/performance.md`; a job's preparation and files come on top, and 17 × 300 corresponds there."""
    for quality, measured in (("balanced", balanced), ("draft", draft)):
        found = estimated(frames, points, points == 300, quality=quality, formats="npz").seconds
        assert measured < found < max(2 * measured, measured + 1.4)


@pytest.mark.parametrize(
    ("frames", "points", "cpu"),
    [(17, 300, 4.2), (200, 32, 16), (200, 300, 14), (200, 600, 20), (1000, 32, 105), (1000, 600, 111)],
)
def test_few_points_take_no_less_time_than_some(frames: int, points: int, cpu: float) -> None:
    """CPU seconds of a running fox on one core, which two cores share, within a factor of two."""
    found = estimated(frames, points, formats="npz").seconds
    assert 0.5 * cpu / 2 < found < 2 * cpu / 2 + 1.4
    for says, corresponding in ((True, None), (True, True), (None, True), (False, True)):
        assert estimated(frames, points, says, formats="npz", corresponding=corresponding).seconds < found
    assert estimated(frames, points, True, formats="npz", corresponding=False).seconds == found


@pytest.mark.parametrize(
    ("options", "megabytes"),
    [({"formats": "obj"}, 53.52), ({"formats": "npz"}, 13.34), ({"formats": "ply"}, 24.86)],
)
def test_files_of_the_documentation(options: dict[str, Any], megabytes: float) -> None:
    """`docs/formats.md`: a body of 4,002 vertices and 8,000 faces, 300 frames."""
    found = estimated(300, simplify=8004, **options).bytes / 1e6
    assert 0.7 < found / megabytes < 1.5


def test_largest_options_are_out_of_reach() -> None:
    monster = estimated(resolution=512, frames=1000, formats="obj", quality="draft")
    assert monster.bytes > 5e9
    assert monster.memory_bytes > 8e9


@pytest.mark.parametrize(
    "more",
    [{"resolution": 256}, {"quality": "exact"}, {"frames": 200}, {"formats": "glb,obj"}, {"formats": "webp"}],
)
def test_more_work_is_estimated_to_take_longer(more: dict[str, Any]) -> None:
    assert estimated(**more).seconds > estimated().seconds


def test_frames_of_the_result_come_from_the_rate() -> None:
    assert estimated(fps=100, formats="npz").bytes == pytest.approx(
        101 / 17 * estimated(formats="npz").bytes, 1e-3
    )

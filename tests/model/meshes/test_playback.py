import numpy as np
import pytest

from model.errors import InputError
from model.meshes.playback import playback_times

INPUT = np.arange(17) / 60 + 5  # [17], seconds


def test_real_time_where_times_are_known() -> None:
    np.testing.assert_allclose(playback_times(INPUT, INPUT), INPUT - 5)


@pytest.mark.parametrize(
    ("options", "fps"), [({"timed": False}, 24), ({"playback_fps": 24}, 24), ({"playback_fps": 12.5}, 12.5)]
)
def test_each_input_frame_is_on_a_whole_frame(options: dict[str, float], fps: float) -> None:
    seconds = playback_times(INPUT, INPUT, **options)  # type: ignore[arg-type]
    assert np.allclose(seconds * fps, np.arange(17), atol=1e-9)
    between = np.linspace(INPUT[0], INPUT[-1], 33)
    seconds = playback_times(between, INPUT, **options)  # type: ignore[arg-type]
    assert np.allclose(seconds * fps, np.arange(33) / 2, atol=1e-9)


def test_duration_keeps_the_proportions_of_uneven_times() -> None:
    uneven = np.array([3.0, 3.1, 4.0])
    np.testing.assert_allclose(playback_times(uneven, uneven, duration=10), np.array([0.0, 1.0, 10.0]))


def test_both_and_nonsense_are_refused() -> None:
    with pytest.raises(InputError, match="wanted one of them"):
        playback_times(INPUT, INPUT, duration=1, playback_fps=24)
    with pytest.raises(InputError, match="duration is 0; wanted a number above 0"):
        playback_times(INPUT, INPUT, duration=0)

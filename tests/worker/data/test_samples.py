"""Samples: the shipped files are what their seeds say, and what they claim to be."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.page.samples import SAMPLES
from worker.bodies import load_rig
from worker.data.samples import (
    FRAMES,
    NOISE,
    RECIPES,
    Recipe,
    large_sample,
    make_sample,
    sequence_arrays,
    write_sample,
)


def load(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize("name", SAMPLES)
def test_shipped_file_is_made_again_bit_for_bit(name: str, tmp_path: Path) -> None:
    write_sample(name, tmp_path / "sample")
    shipped, made = load(SAMPLES[name].path), load(tmp_path / "sample")
    assert shipped.keys() == made.keys() == {"points", "times", "corresponding"}
    for key, array in shipped.items():
        assert array.dtype == made[key].dtype
        assert array.tobytes() == made[key].tobytes(), key


@pytest.mark.parametrize("name", SAMPLES)
def test_shipped_file_is_a_moving_person(name: str) -> None:
    arrays = load(SAMPLES[name].path)
    points, times = arrays["points"], arrays["times"]
    assert points.shape == (FRAMES, 300, 3)
    assert points.dtype == np.float32
    assert arrays["corresponding"].dtype == bool
    assert arrays["corresponding"]
    np.testing.assert_allclose(np.diff(times), 1 / 60)
    assert 1.4 < np.ptp(points[0, :, 1]) < 2.0, "metres"
    assert -0.01 < points[..., 1].min() < 0.1, "on the floor"
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    assert steps.max() < 0.25, "row j stays the same particle"
    assert np.linalg.norm(points[-1] - points[0], axis=-1).max() > 0.3, "something moves by 30 cm"


def test_shipped_files_are_small_and_described() -> None:
    assert sum(sample.path.stat().st_size for sample in SAMPLES.values()) < 500_000
    assert all(sample.description for sample in SAMPLES.values())
    assert SAMPLES.keys() == RECIPES.keys() - {"large"}


def test_noise_is_what_the_model_was_trained_with(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("knees", seed=8, start=3, points=4000)
    noisy: NDArray[np.float64] = sequence_arrays(recipe)["points"].astype(np.float64)
    monkeypatch.setattr("worker.data.samples.NOISE", 0.0)
    clean: NDArray[np.float64] = sequence_arrays(recipe)["points"].astype(np.float64)
    side = np.ptp(clean[0], axis=0).max()
    assert np.std(noisy - clean) / side == pytest.approx(NOISE, rel=0.02)
    assert np.abs(np.mean(noisy - clean)) < 1e-4


def test_large_sample_has_the_density_of_a_scan() -> None:
    arrays = large_sample()
    assert arrays["points"].shape == (17, 20_000, 3)
    assert np.isfinite(arrays["points"]).all()
    assert len(np.unique(arrays["points"][0], axis=0)) > 19_900
    assert np.ptp(arrays["points"][0], axis=0).max() < np.ptp(load_rig().mean.vertices, axis=0).max() * 1.3


def test_unknown_sample_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no sample 'dance'; there are jumping_jacks, knees, large"):
        make_sample("dance")


def test_listing_the_samples_needs_no_numpy() -> None:
    script = "import sys, service.page.samples; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)

"""Samples: the shipped files are what their seeds say, and what they claim to be."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from service.core.sequences.sequence import read_sequence
from service.page.samples import SAMPLES
from worker.bodies import load_rig
from worker.data.samples import (
    FRAMES,
    NOISE,
    RECIPES,
    Person,
    large_sample,
    make_sample,
    write_sample,
)


def load(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize("name", SAMPLES)
def test_shipped_file_is_made_again_bit_for_bit(name: str, tmp_path: Path) -> None:
    write_sample(name, tmp_path / "sample")
    shipped, made = load(SAMPLES[name].path), load(tmp_path / "sample")
    assert shipped.keys() == made.keys()
    for key, array in shipped.items():
        assert array.dtype == made[key].dtype
        assert array.tobytes() == made[key].tobytes(), key


@pytest.mark.parametrize("name", SAMPLES)
def test_service_reads_shipped_file(name: str) -> None:
    with SAMPLES[name].path.open("rb") as file:
        sequence = read_sequence(file)
    assert 17 <= len(sequence.points) <= 24
    assert all(300 <= len(points) <= 1700 for points in sequence.points)
    assert sequence.corresponding == (name == "knees")


@pytest.mark.parametrize(("name", "points"), [("jumping_jacks", 1000), ("knees", 300)])
def test_shipped_file_is_a_moving_person(name: str, points: int) -> None:
    arrays = load(SAMPLES[name].path)
    clouds, times = arrays["points"], arrays["times"]
    assert clouds.shape == (FRAMES, points, 3)
    assert clouds.dtype == np.float32
    np.testing.assert_allclose(np.diff(times), 1 / 60)
    assert 1.4 < np.ptp(clouds[0, :, 1]) < 2.0, "metres"
    assert -0.01 < clouds[..., 1].min() < 0.1, "on the floor"
    steps = np.linalg.norm(np.diff(clouds, axis=0), axis=-1)  # [16, N]
    if arrays["corresponding"]:
        assert steps.max() < 0.25, "row j stays the same particle"
    else:
        assert np.median(steps) > 0.25, "row j is another particle"
    there, _ = cKDTree(clouds[0]).query(clouds[-1])
    assert np.max(there) > 0.25, "something moves by 25 cm"


def test_walker_puts_one_foot_before_the_other() -> None:
    arrays = load(SAMPLES["walker"].path)
    assert arrays["points"].dtype == np.float16
    clouds = np.split(arrays["points"].astype(float), np.cumsum(arrays["lengths"])[:-1])
    assert len({len(cloud) for cloud in clouds}) > 10, "frames differ in size"
    assert all(1300 <= len(cloud) <= 1700 for cloud in clouds)
    ahead = np.array([cloud[:, 0].max() for cloud in clouds])
    assert 0.4 < ahead[-1] - ahead[0] < 0.8, "metres"
    assert all(-0.03 < cloud[:, 1].min() < 0.03 for cloud in clouds), "on the floor"
    # Between the legs is air: no points low in the plane of symmetry.
    assert all(not ((cloud[:, 1] < 0.3) & (np.abs(cloud[:, 2]) < 0.02)).any() for cloud in clouds)


def test_scan_is_noisy_with_strays_and_z_up() -> None:
    arrays = load(SAMPLES["scan"].path)
    clouds = np.split(arrays["points"].astype(float), np.cumsum(arrays["lengths"])[:-1])
    assert len({len(cloud) for cloud in clouds}) > 10, "frames differ in size"
    assert all(816 <= len(cloud) <= 1020 for cloud in clouds)
    height, depth = np.ptp(clouds[0][:, 2]), np.ptp(clouds[0][:, 1])
    assert height > 1.4 * depth, "z up"
    assert -0.25 < clouds[0][:, 2].min() < 0.1, "on the floor, but for strays"
    for cloud in clouds:
        to_next = np.asarray(cKDTree(cloud).query(cloud, k=2)[0])  # [N, 2]
        far = to_next[:, 1] > 6 * np.median(to_next[:, 1])
        assert 0.002 < far.mean() < 0.03, "strays"
        first = np.flatnonzero(far)
        assert first.size == 0 or first.max() > len(cloud) // 4, "anywhere among the rows"
    there, _ = cKDTree(clouds[0]).query(clouds[-1])
    assert np.percentile(there, 95) > 0.1, "something moves by 10 cm"


def test_shipped_files_are_small_and_described() -> None:
    assert sum(sample.path.stat().st_size for sample in SAMPLES.values()) < 600_000
    assert all(sample.description for sample in SAMPLES.values())
    assert SAMPLES.keys() == RECIPES.keys() - {"large"}


def test_noise_is_what_the_model_was_trained_with(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Person("knees", seed=8, start=3, points=4000)
    noisy: NDArray[np.float64] = recipe.arrays()["points"].astype(np.float64)
    monkeypatch.setattr("worker.data.samples.NOISE", 0.0)
    clean: NDArray[np.float64] = recipe.arrays()["points"].astype(np.float64)
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
    known = "jumping_jacks, walker, scan, knees, large"
    with pytest.raises(ValueError, match=f"no sample 'dance'; there are {known}"):
        make_sample("dance")


def test_listing_the_samples_needs_no_numpy() -> None:
    script = "import sys, service.page.samples; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)

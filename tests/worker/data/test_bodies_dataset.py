"""Bodies drawn while training: the items are complete, true, and the same again for the same seed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import load_config
from model.errors import ConfigError
from tests.worker.geometry import nearest
from worker.data.bodies_dataset import SPLITS, BodiesDataset, Split

SMALL = {"n_training_points": 200, "n_training_pcl_points": 40, "input_pointcloud_n": 60}


def dataset(split: Split = "train", bodies: dict[str, Any] | None = None, **data: Any) -> BodiesDataset:
    overrides = {"data": {"dataset": "bodies", **SMALL, **data}, "training": {"n_eval_points": 300}}
    if bodies:
        overrides["data"]["bodies"] = bodies
    return BodiesDataset(load_config("pointcloud/oflow_w_correspond", overrides), split)


def shapes(item: Mapping[str, NDArray[Any]]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {key: (value.shape, str(value.dtype)) for key, value in item.items()}


def test_training_item_has_the_fields_of_the_published_data() -> None:
    item = dataset().sample((0, 5, 2))
    assert shapes(item) == {
        "inputs": ((17, 60, 3), "float32"),
        "inputs.time": ((17,), "float32"),
        "points": ((200, 3), "float32"),
        "points.occ": ((200,), "float32"),
        "points.time": ((), "float32"),
        "points_t": ((200, 3), "float32"),
        "points_t.occ": ((200,), "float32"),
        "points_t.time": ((), "float32"),
        "pointcloud": ((17, 40, 3), "float32"),
        "pointcloud.time": ((17,), "float32"),
        "idx": ((), "int64"),
    }
    assert item["points.time"] == 0
    assert item["points_t.time"] * 16 in range(1, 17)
    np.testing.assert_array_equal(item["pointcloud.time"], np.arange(17, dtype=np.float32) / 16)


def test_halves_of_a_training_get_what_they_read_and_no_more() -> None:
    """And the shape half sees the very bodies that joint training sees."""
    fields = {}
    for parts, model in (
        ("shape", {"loss_corr": False}),
        ("flow", {"loss_recon": False}),
        ("joint", {}),
    ):
        settings = {"data": {"dataset": "bodies", **SMALL}, "training": {"parts": parts}, "model": model}
        config = load_config("pointcloud/oflow_w_correspond", settings)
        fields[parts] = BodiesDataset(config, "train").sample((4, 4))
    assert shapes(fields["shape"]) == {
        "inputs": ((1, 60, 3), "float32"),
        "inputs.time": ((1,), "float32"),
        "points": ((200, 3), "float32"),
        "points.occ": ((200,), "float32"),
        "points.time": ((), "float32"),
        "idx": ((), "int64"),
    }
    assert set(fields["flow"]) == {"inputs", "inputs.time", "pointcloud", "pointcloud.time", "idx"}
    # The noise is drawn by frames, so the particles agree to within it.
    np.testing.assert_allclose(fields["shape"]["inputs"][0], fields["joint"]["inputs"][0], atol=0.03)


def test_held_out_item_has_the_fields_of_the_published_validation() -> None:
    item = dataset("val")[3]
    assert shapes(item) == {
        "inputs": ((17, 60, 3), "float32"),
        "inputs.time": ((17,), "float32"),
        "points": ((17, 300, 3), "float32"),
        "points.occ": ((17, 300), "float32"),
        "points.time": ((17,), "float32"),
        "points_mesh": ((17, 300, 3), "float32"),
        "points_mesh.time": ((17,), "float32"),
        "idx": ((), "int64"),
    }
    assert item["idx"] == 3


def test_equal_seeds_give_equal_items_and_others_do_not() -> None:
    first, again, other = (
        dataset().sample((1, 2, 3)),
        dataset().sample((1, 2, 3)),
        dataset().sample((1, 2, 4)),
    )
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
    assert np.abs(first["inputs"] - other["inputs"]).max() > 0.01
    held_out = dataset("val")
    np.testing.assert_array_equal(held_out[4]["points_mesh"], held_out[4]["points_mesh"])
    assert np.abs(held_out[4]["inputs"] - dataset("test")[4]["inputs"]).max() > 0.01, "streams lie apart"
    assert len({stream for stream, _ in SPLITS.values()}) == len(SPLITS)


def test_windows_of_one_scene_are_other_moments_of_it() -> None:
    """Row 2 shows one scene in steps 2 to 5; and a window is the same whatever was drawn before it."""
    settings = {"variety": 0.0, "turn": 0.0, "scan_noise": 0.0, "windows_per_scene": 4}
    data = dataset(bodies=settings, input_pointcloud_noise=0.0, input_pointcloud_n=2000)
    steps = {step: data.sample((7, step, 2)) for step in (2, 3, 4, 5, 6)}
    heights = {step: np.ptp(item["inputs"][..., 1]) for step, item in steps.items()}
    apart = {step: nearest(steps[step]["inputs"][0], steps[2]["inputs"][0]).mean() for step in (3, 6)}
    assert 0.001 < apart[3] < apart[6]  # the same person a moment later, then another person
    assert len(set(heights.values())) == len(heights)
    alone = dataset(bodies=settings, input_pointcloud_noise=0.0, input_pointcloud_n=2000).sample((7, 4, 2))
    np.testing.assert_array_equal(alone["points"], steps[4]["points"])
    np.testing.assert_array_equal(alone["inputs"], steps[4]["inputs"])


def test_occupied_points_lie_within_the_surface() -> None:
    """Independent of the mesh: a dense cloud of the same window is around the points called inside."""
    item = dataset(n_training_points=1500, n_training_pcl_points=20_000).sample((0, 0, 7))
    cloud = item["pointcloud"][0]
    occupied = item["points"][item["points.occ"] == 1]
    empty = item["points"][item["points.occ"] == 0]
    assert len(occupied) > 200
    low, high = cloud.min(0), cloud.max(0)
    assert ((occupied > low) & (occupied < high)).all()
    assert (high - low).max() == pytest.approx(1, abs=0.01), "the unit box of the first frame"
    assert nearest(cloud, occupied).max() < 0.15, "nowhere is a body thicker than that"
    far = nearest(cloud, empty)
    assert far.max() > 0.3, "the uniform share reaches the corners"


def test_inputs_are_noisy_particles_of_the_surface() -> None:
    quiet = dataset(bodies={"scan_noise": 0.0}, input_pointcloud_noise=0.0, n_training_pcl_points=20_000)
    item = quiet.sample((3,))
    for frame in (0, 16):
        distance = nearest(item["pointcloud"][frame], item["inputs"][frame])
        assert distance.max() < 0.02
    steps = np.linalg.norm(np.diff(item["inputs"], axis=0), axis=2)
    assert steps.max() < 0.15, "row j is one particle"
    noisy = dataset(bodies={"scan_noise": 0.0}, input_pointcloud_noise=0.05, n_training_pcl_points=20_000)
    difference = noisy.sample((3,))["inputs"] - item["inputs"]
    assert difference.std() == pytest.approx(0.05, rel=0.05)

    loose = dataset(input_pointcloud_corresponding=False).sample((3,))
    assert np.linalg.norm(np.diff(loose["inputs"], axis=0), axis=2).max() > 0.5


def test_near_surface_share_is_near_the_surface() -> None:
    for share, low, high in ((0.0, 0.0, 0.1), (0.5, 0.45, 0.6), (1.0, 0.95, 1.0)):
        drawn = dataset(
            bodies={"near_surface_share": share, "near_surface_offset": 0.005}, n_training_pcl_points=20_000
        ).sample((0, 1))
        distance = nearest(drawn["pointcloud"][0], drawn["points"])
        assert low <= (distance < 0.02).mean() <= high


def test_partial_view_hides_the_far_side() -> None:
    gaps = []
    for share in (0.0, 1.0):
        seen = dataset(
            bodies={"partial_view_share": share, "scan_noise": 0.0},
            input_pointcloud_n=3000,
            n_training_pcl_points=3000,
        ).sample((2, 2))
        gaps.append(nearest(seen["inputs"][0], seen["pointcloud"][0]))
    assert np.quantile(gaps[0], 0.9) < 0.03
    assert np.quantile(gaps[1], 0.9) > 0.04, "a good part of the surface is far from all inputs"


def test_end_pointclouds_are_the_first_and_last_frame() -> None:
    assert dataset(input_type="end_pointclouds").sample((0,))["inputs"].shape == (2, 60, 3)


def baseline(method: str, split: Split = "train", **data: Any) -> BodiesDataset:
    settings = {"data": {"dataset": "bodies", **SMALL, **data}, "training": {"n_eval_points": 300}}
    return BodiesDataset(load_config(f"pointcloud/{method}", settings), split)


def test_point_sets_learn_from_trajectories() -> None:
    item = baseline("psgn4d").sample((0, 1))
    assert set(item) == {"inputs", "inputs.time", "points_mesh", "points_mesh.time", "idx"}
    assert item["points_mesh"].shape == (17, 40, 3)
    steps = np.linalg.norm(np.diff(item["points_mesh"], axis=0), axis=2)
    assert steps.max() < 0.15, "row j is one particle"
    assert set(baseline("psgn4d", "val")[0]) == set(item), "none of occupancy, which would take longer"


def test_occupancy_at_any_time_includes_the_first_frame() -> None:
    """Occupancy Flow learns that one by points of its own; for ONet 4D it is a time like any other."""
    data = baseline("onet4d", length_sequence=3, input_pointcloud_n=5)
    assert set(data.sample((0, 1))) == {
        *("inputs", "inputs.time", "idx"),
        *("points_t", "points_t.occ", "points_t.time"),
    }
    assert {float(data.sample((0, step, 1))["points_t.time"]) for step in range(12)} == {0, 0.5, 1}
    flow = dataset(length_sequence=3, input_pointcloud_n=5)
    assert {float(flow.sample((0, step, 1))["points_t.time"]) for step in range(12)} == {0.5, 1}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_model_without_input_gets_none(split: Split) -> None:
    item = dataset(split, input_type=None).sample((1,))
    assert "inputs" not in item
    assert {"points", "points.occ", "idx"} <= set(item)


def test_settings_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.input_type: found idx, wanted pcl_seq"):
        dataset(input_type="idx")
    with pytest.raises(ConfigError, match=r"data\.val_split: found validation, wanted one of train, val"):
        dataset("val", val_split="validation")
    with pytest.raises(IndexError):
        dataset("val")[100]

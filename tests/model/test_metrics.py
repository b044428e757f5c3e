"""Metrics against the published evaluation, and against what can be worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.metrics import chamfer_distance, correspondence_l2, iou, nearest, surface_scores

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def parity() -> Arrays:
    with np.load(Path(__file__).parents[1] / "data" / "evaluator.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def published(parity: Arrays) -> dict[str, dict[str, float]]:
    results: dict[str, dict[str, float]] = json.loads(str(parity["meta"]))["results"]
    return results


def face_normals(vertices: NDArray[Any], faces: NDArray[Any], of: NDArray[Any]) -> NDArray[Any]:
    a, b, c = np.moveaxis(vertices[faces[of]], 1, 0)
    return np.cross(b - a, c - a)  # of any length: only the direction counts


@pytest.mark.parametrize("mesh", ["A", "B"])
def test_surface_scores_are_the_published_ones(parity: Arrays, published: Any, mesh: str) -> None:
    samples, target = parity[f"{mesh}_sample"].astype(np.float32), parity[f"{mesh}_tgt"]
    normals = face_normals(parity[f"{mesh}_vertices"], parity[f"{mesh}_faces"], parity[f"{mesh}_sample_face"])

    plain = surface_scores(samples, target)
    assert plain == pytest.approx(published[f"{mesh} eval_pointcloud"], rel=1e-5, nan_ok=True)
    assert np.isnan(plain["normals"])

    full = surface_scores(samples, target, normals, parity[f"{mesh}_tgt_normals"])
    wanted = published[f"{mesh} eval_mesh with normals"]
    assert full == pytest.approx({key: wanted[key] for key in full}, rel=1e-5)
    assert full.keys() == wanted.keys() - {"iou"}


@pytest.mark.parametrize("mesh", ["A", "B"])
def test_iou_is_the_published_one(parity: Arrays, published: Any, mesh: str) -> None:
    measured = iou(parity[f"{mesh}_contains"], parity[f"{mesh}_occ_tgt"])
    assert measured == pytest.approx(published[f"{mesh} eval_mesh with normals"]["iou"], rel=1e-6)


def test_an_empty_surface_scores_the_worst(parity: Arrays, published: Any) -> None:
    worst = published["empty mesh faces=0"]
    none, target = np.empty((0, 3)), parity["A_tgt"]
    assert surface_scores(none, target) | {"iou": 0.0} == worst
    assert surface_scores(none, target, none, parity["A_tgt_normals"])["normals"] == -1
    with pytest.raises(ValueError, match="true surface has no points"):
        surface_scores(target, none)


def test_iou_by_hand() -> None:
    true = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    predicted = np.array([[0.4, 0.9, 0.6, 0.1], [0.5, 0.5, 0.49, 0], [0, 0, 0, 0]])
    assert iou(predicted, true) == pytest.approx([1 / 3, 1 / 2, np.nan], nan_ok=True)
    assert iou(predicted, true, threshold=0.4)[0] == pytest.approx(2 / 3)
    assert iou(predicted > 0.3, true)[0] == pytest.approx(2 / 3)
    assert iou(predicted[:1], true[:1]).shape == (1,)
    assert iou(predicted[0], true[0]).shape == ()
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(4,\)"):
        iou(predicted, true[0])


@pytest.mark.parametrize("project", [False, True])
def test_correspondence_of_a_mesh_is_the_published_one(parity: Arrays, published: Any, project: bool) -> None:
    meshes = np.stack([parity[f"corr_vertices_{frame}"] for frame in range(4)])
    measured = correspondence_l2(meshes.astype(np.float32), parity["corr_pcl_tgt"], project)
    wanted = published[f"eval_correspondences_mesh project={project}"]
    assert measured == pytest.approx([wanted[f"l2 {frame} (mesh)"] for frame in range(4)], rel=1e-5)


def test_correspondence_of_points_is_the_published_one(parity: Arrays, published: Any) -> None:
    clouds = np.stack([parity[f"corr_ply_{frame}"] for frame in range(4)])
    measured = correspondence_l2(clouds, parity["corr_pcl_tgt"])
    wanted = published["eval_correspondences_pointcloud"]
    assert measured == pytest.approx([wanted[f"l2 {frame} (pcl)"] for frame in range(4)], rel=1e-5)


def test_correspondence_follows_particles_and_not_places() -> None:
    """Two points that swap places: a perfect surface, and the worst of tracks."""
    truth = np.array([[[0, 0, 0], [1, 0, 0]], [[1, 0, 0], [0, 0, 0]]], dtype=np.float32)
    still = np.stack([truth[0], truth[0]])
    assert correspondence_l2(truth, truth).tolist() == [0, 0]
    assert correspondence_l2(still, truth).tolist() == [0, 1]
    assert correspondence_l2(still, truth, project_last=True).tolist() == [0, 1]
    away = truth + np.array([[[0, 0, 0]], [[0, 0.25, 0]]])
    assert correspondence_l2(away, truth).tolist() == [0, 0.25]
    assert correspondence_l2(away, truth, project_last=True).tolist() == [0, 0]
    with pytest.raises(ValueError, match="1 predicted and 2 true frames"):
        correspondence_l2(truth[:1], truth)


def test_chamfer_distances_are_the_published_ones(parity: Arrays) -> None:
    forth, back, in_b, in_a = chamfer_distance(parity["chamfer_a"], parity["chamfer_b"])
    assert forth == pytest.approx(parity["out_chamfer1"], rel=1e-5)
    assert back == pytest.approx(parity["out_chamfer2"], rel=1e-5)
    assert forth + back == pytest.approx(parity["out_chamfer"], rel=1e-5)
    assert np.array_equal(in_b, parity["out_idx12"])
    assert np.array_equal(in_a, parity["out_idx21"])


def test_nearest_is_what_comparing_all_pairs_gives() -> None:
    rng = np.random.default_rng(0)
    points, target = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
    between = np.linalg.norm(points[:, None] - target, axis=2)  # [300, 200]
    distances, indices = nearest(points, target)
    assert np.array_equal(indices, between.argmin(axis=1))
    assert distances == pytest.approx(between.min(axis=1))

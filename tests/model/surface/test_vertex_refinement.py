"""Vertices moved onto the surface that an occupancy function stands for."""

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from model.config.schema import load_config
from model.errors import ConfigError
from model.methods import build_model
from model.networks.baselines import OccupancyNetwork4D
from model.networks.occupancy_flow import OccupancyFlow
from model.surface.vertex_refinement import refine_vertices

RADIUS = 0.3


def ball(points: Tensor) -> Tensor:
    """Logits, 0 on a sphere."""
    return 20 * (RADIUS - points.norm(dim=1))


def test_vertices_go_to_the_surface_and_normals_to_the_gradient() -> None:
    sphere = trimesh.creation.icosphere(3, radius=RADIUS)
    noise = np.random.default_rng(0).normal(0, 0.004, sphere.vertices.shape)
    rough = trimesh.Trimesh(sphere.vertices + noise, sphere.faces, process=False)
    with torch.inference_mode():  # as tasks run
        vertices = refine_vertices(ball, rough.vertices, rough.faces, 0.5, steps=60)
    fine = trimesh.Trimesh(vertices, sphere.faces, process=False)

    def away(mesh: trimesh.Trimesh) -> float:
        return float(np.abs(np.linalg.norm(mesh.triangles_center, axis=1) - RADIUS).mean())

    def bent(mesh: trimesh.Trimesh) -> float:
        outwards = mesh.triangles_center / np.linalg.norm(mesh.triangles_center, axis=1, keepdims=True)
        return float(1 - (mesh.face_normals * outwards).sum(axis=1).mean())

    assert away(fine) < away(rough) / 2
    assert bent(fine) < bent(rough) / 2
    again = refine_vertices(ball, rough.vertices, rough.faces, 0.5, steps=60)
    assert np.array_equal(again, vertices)


def test_another_threshold_is_another_surface() -> None:
    sphere = trimesh.creation.icosphere(2, radius=RADIUS)
    vertices = refine_vertices(ball, sphere.vertices, sphere.faces, 0.46, steps=60)
    wanted = RADIUS - np.log(0.46 / 0.54) / 20  # 0.308
    assert np.linalg.norm(vertices, axis=1).mean() == pytest.approx(wanted, abs=0.003)


def test_networks_can_be_differentiated_in_inference_mode() -> None:
    points = torch.rand(9, 3) - 0.5
    small = {"model": {"c_dim": 8, "decoder_kwargs": {"hidden_size": 8}}}
    flow = build_model(load_config("pointcloud/oflow", small)).eval().requires_grad_(False)
    onet = build_model(load_config("pointcloud/onet4d", small)).eval().requires_grad_(False)
    assert isinstance(flow, OccupancyFlow)
    assert isinstance(onet, OccupancyNetwork4D)
    with torch.inference_mode():
        c = torch.rand(1, 8)
        pairs = [
            (flow.occupancy(None, c), flow.differentiable_occupancy(None, c)),
            (onet.occupancy(None, c, 0.5), onet.differentiable_occupancy(None, c, 0.5)),
        ]
        faces = np.arange(9).reshape(3, 3)
        for plain, differentiable in pairs:
            torch.testing.assert_close(differentiable(points), plain(points), rtol=1e-4, atol=1e-5)
            moved = refine_vertices(differentiable, points.numpy(), faces, 0.3, steps=1)
            assert not np.allclose(moved, points.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["interpolation/oflow", "pointcloud/psgn4d", "local_oflow"])
def test_refused_where_nothing_is_extracted(name: str) -> None:
    with pytest.raises(ConfigError, match=r"generation\.refinement_step is 3, and nothing is extracted"):
        load_config(name, {"generation": {"refinement_step": 3}})


def test_a_key_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.points_file is a\.npz, which no data set reads"):
        load_config("pointcloud/oflow", {"data": {"points_file": "a.npz"}})

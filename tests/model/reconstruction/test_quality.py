"""The fast path of a reconstruction compared with the reference, on a shipped sample."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import model.reconstruction.settings
from model import Reconstructor
from model.errors import InputError
from model.flow.ode import advect
from model.flow.step_doubling import StepDoubling
from model.meshes.sequence import MeshSequence
from model.reconstruction.normalization import UnitBox
from model.reconstruction.quality import QUALITIES
from model.reconstruction.reference import reconstruct_reference
from model.surface.extraction import extract_isosurface
from service.page.samples import SAMPLES


@pytest.fixture(scope="module")
def sample() -> dict[str, np.ndarray]:
    return dict(np.load(SAMPLES["knees"].path))


@pytest.fixture(scope="module")
def small() -> Reconstructor:
    return Reconstructor.from_config("bodies", overrides={"generation": {"resolution_0": 16}})  # 64 cells


@pytest.fixture(scope="module")
def reference(small: Reconstructor, sample: dict[str, np.ndarray]) -> MeshSequence:
    return reconstruct_reference(small, sample["points"], sample["times"])


@pytest.mark.parametrize("quality", ["exact", "balanced"])
def test_the_surface_is_that_of_the_plain_path(
    small: Reconstructor, sample: dict[str, NDArray[Any]], reference: MeshSequence, quality: str
) -> None:
    meshes = small(sample["points"], sample["times"], refine="off", quality=quality)
    np.testing.assert_array_equal(meshes.faces, reference.faces)
    np.testing.assert_allclose(meshes.vertices[0], reference.vertices[0], atol=2e-5)
    assert meshes.fit is not None
    assert reference.fit is not None
    np.testing.assert_allclose(meshes.fit.mean, reference.fit.mean, rtol=0.02)


@pytest.mark.parametrize("quality", QUALITIES)
@torch.inference_mode()
def test_paths_keep_the_bound_of_their_quality(
    small: Reconstructor, sample: dict[str, NDArray[Any]], quality: str
) -> None:
    clouds = sample["points"].astype(np.float64)
    meshes = small(clouds, sample["times"], refine="off", quality=quality)
    box = UnitBox.around(clouds[0])
    vertices = np.stack([box.normalize(frame) for frame in meshes.vertices])  # [T, V, 3]
    inputs = torch.from_numpy(np.stack([box.normalize(cloud) for cloud in clouds]))[None]
    field = small.occupancy_flow.vector_field.precompute(None, small.occupancy_flow.encode_motion(inputs))
    tight = advect(field, torch.from_numpy(vertices[0]), torch.linspace(0, 1, 17), StepDoubling(5e-5))
    error = np.linalg.norm(vertices - tight.positions.numpy(), axis=2).max(axis=0)  # [V]
    tolerance = QUALITIES[quality].tolerance
    assert np.percentile(error, 95) < tolerance
    assert error.max() < 5 * tolerance
    moved = np.linalg.norm(vertices - vertices[0], axis=2).max()
    assert moved > 20 * tolerance


def test_a_machine_without_bfloat16_makes_drafts_too(
    small: Reconstructor,
    sample: dict[str, NDArray[Any]],
    reference: MeshSequence,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model.reconstruction.settings, "matmul_dtype", lambda device: torch.float32)
    draft = small(sample["points"], sample["times"], refine="off", quality="draft")
    np.testing.assert_array_equal(draft.faces, reference.faces)


def test_an_unknown_quality_is_refused(small: Reconstructor, sample: dict[str, NDArray[Any]]) -> None:
    with pytest.raises(InputError, match="quality is 'best'; wanted exact, balanced, draft"):
        small(sample["points"], quality="best")


@pytest.mark.parametrize("steps", [0, 2])
def test_what_is_thin_is_found_near_its_points(steps: int) -> None:
    """A rod along points of the first grid that the halved one leaves out."""
    y = 1.1 / 32

    def rod(points: torch.Tensor) -> torch.Tensor:
        return (
            50 * (0.012 - (points[:, 1:] - torch.tensor([y, 0.0])).norm(dim=1))
            - 1e3 * (points[:, 0].abs() - 0.4).relu()
        )

    along = torch.linspace(-0.4, 0.4, 60)
    near = torch.stack([along, torch.full_like(along, y), torch.full_like(along, 0.012)], dim=1)
    counted = []

    def counting(points: torch.Tensor) -> torch.Tensor:
        counted.append(len(points))
        return rod(points)

    reference = extract_isosurface(counting, 0.5, upsampling_steps=steps)
    cost, counted[:] = sum(counted), []
    fast = extract_isosurface(counting, 0.5, upsampling_steps=steps, near=near)
    np.testing.assert_array_equal(fast[1], reference[1])
    np.testing.assert_array_equal(fast[0], reference[0])
    assert sum(counted) < 0.6 * cost

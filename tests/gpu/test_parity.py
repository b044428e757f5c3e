"""A GPU computes what the CPU does, to the tolerance of its arithmetic."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from model import Reconstructor
from model.meshes.fit import surface_distances
from worker.data.samples import Person

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
JUMPING_JACK = Person("jumping_jacks", seed=2, start=20)


@pytest.fixture(scope="module")
def models() -> tuple[Reconstructor, Reconstructor]:
    return Reconstructor.from_config("bodies"), Reconstructor.from_config("bodies", device="cuda")


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return JUMPING_JACK.arrays()["points"]  # [17, 300, 3]


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """Float32 products unless a test asks for less. Convolutions use TF32 by default, unlike products."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    _set_precision("highest")
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def _set_precision(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"


def evaluated(model: Reconstructor, points: np.ndarray) -> dict[str, torch.Tensor]:
    """Codes, logits and velocities of the sample, on the CPU."""
    device, generator = model.device, torch.Generator().manual_seed(0)
    inputs = torch.from_numpy(points.astype(np.float32))[None].to(device)  # [1, 17, N, 3]
    queries = (torch.rand(1, 4096, 3, generator=generator) - 0.5).to(device)  # [1, 4096, 3]
    with torch.inference_mode():
        c_s, c_t = model.occupancy_flow.encode_inputs(inputs)
        logits = model.occupancy_flow.decode(queries, None, c_s)
        velocities = model.occupancy_flow.velocity(torch.full((1,), 0.5, device=device), queries, None, c_t)
    values = {"c_s": c_s, "c_t": c_t, "logits": logits, "velocities": velocities}
    return {name: value.float().cpu() for name, value in values.items()}


@pytest.mark.parametrize(("precision", "tolerance"), [("highest", 1e-4), ("high", 2e-2)])
def test_networks_agree(
    models: tuple[Reconstructor, Reconstructor], points: np.ndarray, precision: str, tolerance: float
) -> None:
    """`high` multiplies in TF32: ten bits of mantissa, so a relative error of about 1e-3 a layer."""
    expected = evaluated(models[0], points)
    _set_precision(precision)
    found = evaluated(models[1], points)
    for name, value in expected.items():
        worst = float((found[name] - value).abs().max() / value.abs().max())
        assert worst < tolerance, f"{name} differs by {worst:.2e} of its largest value"


@pytest.mark.parametrize("quality", ["exact", "balanced", "draft"])
def test_meshes_agree(models: tuple[Reconstructor, Reconstructor], points: np.ndarray, quality: str) -> None:
    """Surfaces in the box of the first frame, whose longest side is 1; `draft` multiplies in bfloat16."""
    expected, found = (model(points, quality=quality, refine="off") for model in models)
    size = float(np.ptp(points[0], axis=0).max())
    for frame in (0, 8, 16):
        apart = surface_distances(found.vertices[frame], expected.vertices[frame], expected.faces) / size
        assert np.percentile(apart, 99) < (2e-3 if quality == "exact" else 6e-3), f"frame {frame}"


def test_one_distributed_process_computes_the_same_gradients(tmp_path: Path) -> None:
    """DistributedDataParallel over NCCL with a single rank."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)).cuda()
    batch = torch.rand(32, 3, device="cuda")  # [32, 3]
    net(batch).square().mean().backward()
    expected = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    torch.distributed.init_process_group("nccl", f"file://{tmp_path}/ranks", rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(net, device_ids=[0])
        wrapped(batch).square().mean().backward()
        for parameter, gradient in zip(net.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
    finally:
        torch.distributed.destroy_process_group()


def test_out_of_memory_is_an_error_of_its_own(points: np.ndarray) -> None:
    model = Reconstructor.from_config("bodies", device="cuda")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-3)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            model(points, resolution=512, quality="exact", refine="off")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(model(points, refine="off").faces) > 1000  # the same process goes on

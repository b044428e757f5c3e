"""The Reconstructor on a shipped sample: coordinates, times, options, progress, cancellation, refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model import Reconstructor, load_config
from model.errors import Canceled, CheckpointError, ConfigError, EmptySurfaceError, InputError
from model.networks.occupancy_flow import OccupancyFlow
from model.reconstruction.findings import unreached
from model.reconstruction.normalization import UnitBox
from model.reconstruction.surface import GridLevels

Array = NDArray[Any]


def surface(rec: Reconstructor, points: Any, **options: Any) -> Any:
    return rec(list(points), **{"resolution": 32, "refine": "off", **options})


def test_a_body_at_full_resolution(rec: Reconstructor, cloud: Array) -> None:
    """The mesh is closed, follows the points, and beats one that stands still."""
    meshes = rec(list(cloud), color="correspondence", refine="off")
    frames, vertices, _ = meshes.vertices.shape
    assert frames == 17
    assert vertices > 3000
    assert meshes.watertight
    assert meshes.colors is not None
    assert meshes.colors.shape == (vertices, 3)
    assert np.allclose(meshes.times, np.linspace(0, 1, 17))
    assert set(meshes.timings) == {"prepare", "encode", "extract", "flow", "fit"}
    height = np.ptp(cloud[0], axis=0).max()
    fit = meshes.fit
    assert fit is not None
    assert fit.mean.shape == fit.p95.shape == (17,)
    assert (fit.mean < 0.03 * height).all()
    assert (fit.p95 < 0.1 * height).all()
    still = meshes.vertices[0]
    moving = [
        np.linalg.norm(frame[:, None] - cloud[i], axis=2).min(0).mean() for i, frame in _some(meshes.vertices)
    ]
    standing = [
        np.linalg.norm(still[:, None] - cloud[i], axis=2).min(0).mean() for i, _ in _some(meshes.vertices)
    ]
    assert sum(moving) < 0.7 * sum(standing)


def _some(vertices: Array) -> list[tuple[int, Array]]:
    return [(i, vertices[i]) for i in (4, 8, 12)]


def test_callers_coordinates(rec: Reconstructor, cloud: Array) -> None:
    """Another unit and a place far away give the same mesh there."""
    here = surface(rec, cloud)
    offset = np.array([1e6, -2e6, 3e5])
    there = surface(rec, 1000 * cloud + offset)
    assert np.abs((there.vertices - offset) / 1000 - here.vertices).max() < 1e-4
    assert np.allclose(there.fit.mean, 1000 * here.fit.mean, rtol=1e-3)
    low, high = cloud[0].min(0), cloud[0].max(0)
    inside = (here.vertices[0] > low - 0.1) & (here.vertices[0] < high + 0.1)
    assert inside.mean() > 0.99


def test_output_times(rec: Reconstructor, cloud: Array) -> None:
    times = np.linspace(2.0, 4.0, 17)
    whole = surface(rec, cloud, times=times)
    assert np.array_equal(whole.times, times)
    halves = surface(rec, cloud, times=times, frames=33)
    assert np.allclose(halves.times, np.linspace(2, 4, 33))
    # Both solves are within the tolerance of the same flow.
    assert np.abs(halves.vertices[::2] - whole.vertices).max() < 2e-3
    assert np.array_equal(halves.faces, whole.faces)
    by_rate = surface(rec, cloud, times=times, fps=12.0)
    assert np.allclose(by_rate.times, 2 + np.arange(25) / 12)
    assert np.abs(by_rate.vertices[-1] - whole.vertices[-1]).max() < 2e-3
    assert len(surface(rec, cloud, fps=30).times) == 31  # one second where no times are given


def test_uneven_times(rec: Reconstructor, cloud: Array) -> None:
    """A motion seen at uneven times is the same motion: the encoder sees it at even ones."""
    even = np.linspace(0, 1, 17)
    uneven = even**1.3
    seen = np.stack(
        [np.stack([np.interp(uneven, even, path) for path in point.T], 1) for point in cloud.swapaxes(0, 1)]
    )
    at_even = surface(rec, cloud, times=even)
    at_uneven = surface(rec, seen.swapaxes(0, 1), times=uneven, frames=17)
    blind = surface(rec, seen.swapaxes(0, 1), times=even, frames=17)
    error = np.abs(at_uneven.vertices - at_even.vertices).mean()
    assert error < 0.3 * np.abs(blind.vertices - at_even.vertices).mean()


def test_a_target_of_faces_that_is_missed_by_far_is_told() -> None:
    assert unreached(628, 4) == [
        "the surface has 628 faces, more than `simplify` asks for: with 4 it would tear"
    ]
    assert unreached(510, 500) == unreached(90, 500) == unreached(7000, None) == []


def test_simplify_and_resolution(rec: Reconstructor, cloud: Array) -> None:
    full = surface(rec, cloud)
    fewer = surface(rec, cloud, resolution=64, simplify=500)
    assert len(fewer.faces) <= 550 < len(full.faces)
    assert "simplify" in fewer.timings
    assert fewer.watertight
    assert not any("simplify" in warning for warning in fewer.findings.warnings)
    fewest = surface(rec, cloud, simplify=4)
    assert unreached(len(fewest.faces), 4)[0] in fewest.findings.warnings
    assert len(surface(rec, cloud, resolution=48).faces) > 1.5 * len(full.faces)


@pytest.mark.parametrize(
    ("resolution", "levels"),
    [
        (32, (32, 0)),
        (63, (63, 0)),
        (64, (32, 1)),
        (96, (48, 1)),
        (128, (32, 2)),
        (200, (50, 2)),
        (512, (32, 4)),
        (127, (64, 1)),
        (129, (33, 2)),
        (16, (16, 0)),
    ],
)
def test_levels(rec: Reconstructor, resolution: int, levels: tuple[int, int]) -> None:
    assert GridLevels.from_resolution(resolution) == levels
    assert GridLevels.from_config(rec.config) == (32, 2)


def test_threshold(rec: Reconstructor, cloud: Array) -> None:
    def volume(threshold: float) -> float:
        meshes = surface(rec, cloud, threshold=threshold)
        a, b, c = np.moveaxis(meshes.vertices[0][meshes.faces], 1, 0)
        return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)

    assert volume(0.2) > volume(0.5) > volume(0.8) > 0


def test_progress_is_told_in_order(rec: Reconstructor, cloud: Array) -> None:
    told: list[tuple[str, float]] = []
    surface(rec, cloud, simplify=500, progress=lambda stage, fraction: told.append((stage, fraction)))
    stages = list(dict.fromkeys(stage for stage, _ in told))
    assert stages == ["prepare", "encode", "extract", "simplify", "flow", "fit"]
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert len(told) > 40


@pytest.mark.parametrize("stage", ["encode", "extract", "flow", "fit"])
def test_cancel_in_every_stage(rec: Reconstructor, cloud: Array, stage: str) -> None:
    reached: list[str] = []
    with pytest.raises(Canceled, match=stage):
        surface(
            rec,
            cloud,
            progress=lambda name, _: reached.append(name),
            is_canceled=lambda: stage in reached,
        )
    assert reached.count(stage) == 1  # stopped at the very next chance


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (lambda c: c[:1], {}, r"found 1 frames; wanted 2 to 1000"),
        (
            lambda c: [*c[:5], c[5][:299], *c[6:]],
            {"corresponding": True},
            r"corresponding is true, but frames have 299 to 300 points",
        ),
        (lambda c: c[:, :, :2], {}, r"frame 0 is an array \[300, 2\]; wanted \[N, 3\], N at least 32"),
        (lambda c: c[:, :15], {}, r"0 of 17 frames have 16 usable points; wanted 2: frame 0 has 15"),
        (lambda c: c[:, :31], {"corresponding": False}, r"0 of 17 frames have 32 usable points; wanted 2"),
        (
            lambda c: [*np.full_like(c[:16], np.nan), c[16]],
            {},
            r"1 of 17 .*: frame 0 has 0 of 300, 300 hold NaN",
        ),
        (lambda c: 0 * c, {}, r"0 of 17 .*: frame 0 has 1 of 300, 0 hold NaN or infinity, 299 are copies"),
        (lambda c: c, {"times": np.zeros(17)}, r"wanted 17 finite, increasing numbers"),
        (lambda c: c, {"times": np.arange(16)}, r"array \[16\]; wanted 17 finite, increasing numbers"),
        (lambda c: c, {"times": ["now"] * 17}, r"times are not numbers; wanted 17"),
        (lambda c: c, {"times": 1e300 * np.arange(17)}, r"wanted 17 .* none beyond 1e\+30"),
        (lambda c: c, {"times": [0, 1e-15, *range(1, 16)]}, r"frame 1 is at 1e-15 s, after one at 0\.0"),
        (
            lambda c: c,
            {"times": 1.7e9 + np.r_[0.5, 0.25, 1:16]},
            r"frame 1 is at 1700000000\.25 s, after one at 1700000000\.5 s",
        ),
        (lambda c: c, {"frames": 9, "fps": 30}, r"both frames and fps are given"),
        (lambda c: c, {"frames": 1}, r"frames is 1; wanted 2 or more"),
        (lambda c: c, {"fps": 0.5}, r"fps is 0\.5, the input lasts 1 s; wanted 2 or more output frames"),
        (lambda c: c, {"fps": -1}, r"fps is -1"),
        (lambda c: c, {"fps": float("nan")}, r"fps is nan"),
        (lambda c: c, {"resolution": 1}, r"resolution is 1; wanted 2 cells per side or more"),
        (lambda c: c, {"threshold": 1.0}, r"threshold is 1\.0"),
        (lambda c: c, {"simplify": 2}, r"simplify is 2"),
        (lambda c: c, {"color": "rainbow"}, r"color is 'rainbow'; wanted none, input, correspondence"),
        (lambda c: c, {"refine": "on"}, r"refine is 'on'; wanted auto or off"),
        (lambda c: c, {"cleanup": "some"}, r"cleanup is 'some'; wanted auto, drop_invalid or off"),
    ],
)
def test_refusals(
    rec: Reconstructor, cloud: Array, points: Callable[[Array], Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        surface(rec, points(cloud), **options)


def test_empty_surface(rec: Reconstructor, cloud: Array) -> None:
    with pytest.raises(EmptySurfaceError, match=r"Nothing reaches the threshold"):
        surface(rec, cloud, threshold=0.999999999)


def test_many_points_are_encoded_in_bounded_memory(
    rec: Reconstructor, cloud: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = torch.from_numpy(UnitBox.around(cloud[0]).normalize(cloud))[None]
    with torch.inference_mode():
        whole = rec.occupancy_flow.encode_inputs(inputs)
        monkeypatch.setattr("model.networks.encoders.CHUNK_SIZE", 64)
        chunked = rec.occupancy_flow.encode_inputs(inputs)
    for one, other in zip(whole, chunked, strict=True):
        assert one.abs().max() > 0.1
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"decoder_kwargs": {"legacy": True}},
        {"z_dim": 6, "encoder_latent": "pointnet"},
        {"decoder": "simple", "z_dim": 6, "encoder_latent": "pointnet"},
    ],
)
def test_bound_decoder_is_the_decoder(model: dict[str, Any]) -> None:
    from model.methods import build_model

    torch.manual_seed(0)
    config = load_config("pointcloud/oflow", {"model": model})
    net = build_model(config)
    assert isinstance(net, OccupancyFlow)
    assert net.decoder is not None
    for name, tensor in net.decoder.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(
                1 + 0.1 * torch.rand_like(tensor) if "running_var" in name else torch.randn_like(tensor) / 16
            )
    net.eval()
    z = torch.randn(1, config.model.z_dim) if config.model.z_dim else None
    c, points = torch.randn(1, config.model.c_dim), torch.randn(100, 3)
    with torch.inference_mode():
        reference = net.decode(points[None], z, c)[0]  # [P]
        bound = net.occupancy(z, c)(points)
    assert reference.std() > 0.01
    torch.testing.assert_close(bound, reference, rtol=1e-4, atol=1e-5)


def test_describe(rec: Reconstructor) -> None:
    said = rec.describe()
    assert len(said.pop("checkpoint_sha256")) == 64
    assert said == {
        "name": "bodies",
        "task": "pointcloud completion",
        "input": {"min_frames": 2, "max_frames": 1000, "min_points": 32, "max_points": 8192, "upright": True},
        "threshold": 0.5,
        "resolution": 128,
        "parameters": 2503556,
    }


def test_what_cannot_be_loaded() -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint model_best\.pt"):
        Reconstructor.from_config("pointcloud/oflow")
    with pytest.raises(CheckpointError, match="does not fit the network"):
        Reconstructor.from_config("pointcloud/oflow_w_correspond", load_config("bodies").checkpoint_path())
    with pytest.raises(ConfigError, match="device tpu3 cannot be used here"):
        Reconstructor.from_config("bodies", device="tpu3")
    with pytest.raises(ConfigError, match="does not reconstruct point clouds"):
        Reconstructor.from_config(
            "bodies",
            load_config("bodies").checkpoint_path(),
            overrides={"data": {"input_type": "end_pointclouds"}},
        )


def test_finishing_is_done_and_its_effect_is_stated(rec: Reconstructor, cloud: Array) -> None:
    bare = surface(rec, cloud, frames=2)
    colors = [np.tile(np.array([200, 30, 40], np.uint8), (len(frame), 1)) for frame in cloud]
    meshes = surface(
        rec, cloud, frames=2, color="input", colors=colors, texture=64, smooth=3, fill_holes=True, duration=2
    )
    assert np.abs(meshes.colors.astype(int) - [200, 30, 40]).max() <= 1
    assert np.abs(meshes.texture.image.astype(int) - [200, 30, 40]).max() <= 1
    distance = np.linalg.norm(meshes.vertices - bare.vertices, axis=2)
    stated = meshes.findings.decisions
    assert stated["smooth"]["passes"] == 3
    assert 0 < stated["smooth"]["mean_distance"] < stated["smooth"]["max_distance"]
    assert distance.max() <= stated["smooth"]["max_distance"] + 1e-9
    assert stated["fill_holes"] == {"holes": 0, "faces": 0}
    np.testing.assert_allclose(meshes.clock, [0, 2])


def test_colors_are_refused_where_there_are_none(rec: Reconstructor, cloud: Array) -> None:
    with pytest.raises(InputError, match="color input needs colors of the points, and the input has none"):
        surface(rec, cloud, color="input")
    with pytest.raises(InputError, match="one color a point"):
        surface(rec, cloud, color="input", colors=[np.zeros((3, 3), np.uint8)] * len(cloud))

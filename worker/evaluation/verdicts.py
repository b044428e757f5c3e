"""How far verdicts can be trusted, measured on drawn things whose truth is known.

    python -m worker.evaluation.verdicts tests/data/verdicts.npz --cases 240

Each case is a moving body or solid, given by few or many points, with more or less noise, corresponding or
not, or as a camera sees it that stands still or turns around it. The table has the measures of each result,
from which a verdict is made, and its Chamfer distance to the truth. The limits in
`model.reconstruction.verdict` are set by hand from this table; a test checks them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model import Reconstructor
from model.errors import ModelError
from model.meshes.sampling import draw_surface_points
from model.reconstruction.verdict import Measures
from model.registration.clouds import nearest
from worker.bodies.rig import Floats
from worker.bodies.scenes import HELD_OUT_ADULTS, Scenes
from worker.solids import draw_solids, sample

FRAMES = 6
PARTICLES = 20_000  # that the truth is known at
RESOLUTION = 64
PIXEL, BEHIND = 0.02, 0.03  # of the box: a camera sees points of a pixel up to so far behind the first


@dataclass(frozen=True)
class Case:
    """Particles of the truth [T, P, 3] in the unit box of the first frame, and what is seen of them."""

    truth: Floats
    clouds: Sequence[Floats]  # T arrays [N_t, 3]
    corresponding: bool


def draw_case(seed: int, scenes: Scenes) -> Case:
    """The same case for the same seed."""
    rng = np.random.default_rng([seed, 7])
    truth = _body(scenes, rng) if rng.random() < 0.5 else _solid(rng)  # [T, P, 3]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    truth = truth @ turn
    low, high = truth[0].min(axis=0), truth[0].max(axis=0)
    truth = (truth - (low + high) / 2) / (high - low).max()
    count = int(np.exp(rng.uniform(np.log(40), np.log(2000))))
    noise = np.exp(rng.uniform(np.log(0.0005), np.log(0.02)))
    corresponding = bool(rng.random() < 0.7)
    camera = np.random.default_rng([seed, 8])
    if camera.random() < 0.4:
        corresponding = False
        first, turned = camera.uniform(0, 2 * np.pi), camera.choice([0, camera.uniform(0, 2 * np.pi)])
        angles = np.linspace(first, first + turned, FRAMES)
        rows = [rng.choice(_seen(cloud, a), count) for cloud, a in zip(truth, angles, strict=True)]
    else:
        rows = [rng.integers(PARTICLES, size=count) for _ in truth]
    rows = rows[:1] * FRAMES if corresponding else rows
    clouds = [cloud[row] + rng.normal(0, noise, (count, 3)) for cloud, row in zip(truth, rows, strict=True)]
    if rng.random() < 0.15:  # rows of a part of the points are mixed up: tracks that were lost
        lost = rng.random(count) < rng.uniform(0.05, 0.6)
        for cloud in clouds:
            cloud[lost] = rng.permutation(cloud[lost])
    return Case(truth, clouds, corresponding)


def _seen(points: Floats, angle: float) -> NDArray[np.int64]:
    """Rows of points [P, 3] that a distant camera in this direction sees."""
    eye = np.array([np.cos(angle), np.sin(angle), 0.3]) / np.hypot(1, 0.3)
    across = np.linalg.svd(eye[None])[2][1:]  # [2, 3]
    _, pixels = np.unique(np.floor(points @ across.T / PIXEL), axis=0, return_inverse=True)
    depth = points @ eye
    first = np.full(pixels.max() + 1, -np.inf)
    np.maximum.at(first, pixels, depth)
    return np.flatnonzero(depth > first[pixels] - BEHIND)


def _body(scenes: Scenes, rng: np.random.Generator) -> Floats:
    vertices = scenes.draw(rng, 3 * FRAMES).vertices[::3]
    return draw_surface_points(vertices[0], scenes.rig.faces, PARTICLES, rng).on(vertices)


def _solid(rng: np.random.Generator) -> Floats:
    """A random solid, bent and twisted more and more."""
    usable = torch.zeros(1, dtype=torch.bool)
    while not usable[0]:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        shapes, usable = sample(draw_solids(rng, 1), PARTICLES, 16, generator)
    points = shapes.surface[0].double().numpy()
    axes, amount = rng.normal(size=(2, 3, 3)) * 0.4, rng.uniform(0.2, 1.5)
    swing = np.linspace(0, amount, FRAMES)[:, None, None]
    moved: Floats = points + swing * (np.sin(points @ axes[0] * 3) @ axes[1] * 0.3)
    return moved


def chamfer(vertices: Floats, faces: NDArray[np.integer], truth: Floats) -> float:
    """Mean over frames of the distances both ways between meshes [T, V, 3] and particles [T, P, 3]."""
    rng = np.random.default_rng(0)
    drawn = draw_surface_points(vertices[0], faces, PARTICLES, rng)
    both = []
    for surface, particles in zip(drawn.on(vertices), truth, strict=True):
        there, _ = nearest(cKDTree(particles), surface)
        back, _ = nearest(cKDTree(surface), particles)
        both.append((there.mean() + back.mean()) / 2)
    return float(np.mean(both))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="local_oflow")
    parser.add_argument("--cases", type=int, default=240)
    arguments = parser.parse_args()
    reconstructor = Reconstructor.from_config(arguments.model)
    scenes = Scenes(HELD_OUT_ADULTS, 1.0, 30.0)
    names = list(Measures.__dataclass_fields__)
    table = []
    for seed in range(arguments.cases):
        case = draw_case(seed, scenes)
        try:
            meshes = reconstructor(case.clouds, corresponding=case.corresponding, resolution=RESOLUTION)
        except ModelError as error:
            print(f"{seed}: {error.code}", flush=True)  # noqa: T201
            continue
        assert meshes.findings is not None  # noqa: S101
        distance = chamfer(meshes.vertices, meshes.faces, case.truth)
        table.append([distance, *(meshes.findings.measures[name] for name in names)])
        print(f"{seed}: chamfer {distance:.4f}, {meshes.findings.verdict}", flush=True)  # noqa: T201
        np.savez(arguments.out, table=np.array(table, np.float32), columns=np.array(["chamfer", *names]))


if __name__ == "__main__":
    main()

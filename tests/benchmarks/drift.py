"""Whether long sequences drift: how far off particles are, tenth by tenth of the frames.

    python -m tests.benchmarks.drift [--frames 150] [--points 1000] [--seeds 0 1 2 3]

Drawn people move for `frames` frames, 30 a second; every frame is sampled anew. Distances are times 10 in
the unit box of frame 0, as in `moving`, to what the vertices stood for in the frame of the template.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model import Reconstructor
from model.frames import even_frames
from model.meshes.sampling import draw_surface_points
from worker.bodies.scenes import HELD_OUT_ADULTS, Scenes
from worker.evaluation.verdicts import chamfer

PARTICLES = 20_000
NOISE = 0.001
PARTS = 10


def draw(seed: int, frames: int) -> tuple[str, NDArray[np.float64]]:
    """What a person does, and particles [T, P, 3] in the unit box of the first frame."""
    scenes, rng = Scenes(HELD_OUT_ADULTS, 1.0, 30.0), np.random.default_rng([seed, 3])
    scene = scenes.draw(rng, 2 * frames)
    vertices = scene.vertices[::2]
    moved = draw_surface_points(vertices[0], scenes.rig.faces, PARTICLES, rng).on(vertices)
    low, high = moved[0].min(axis=0), moved[0].max(axis=0)
    return scene.action, (moved - (low + high) / 2) / (high - low).max()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    arguments = parser.parse_args()
    reconstruct = Reconstructor.from_config("local_oflow")
    for seed in arguments.seeds:
        action, truth = draw(seed, arguments.frames)
        rng = np.random.default_rng(7)
        shape = (arguments.points, 3)
        clouds = [f[rng.integers(PARTICLES, size=shape[0])] + rng.normal(0, NOISE, shape) for f in truth]
        began = time.process_time()
        meshes = reconstruct(clouds, corresponding=False)
        seconds = time.process_time() - began
        assert meshes.findings is not None
        key = meshes.findings.decisions["keyframe"]
        stood_for = cKDTree(truth[key]).query(meshes.vertices[key])[1]
        off = 10 * np.linalg.norm(meshes.vertices - truth[:, stood_for], axis=2).mean(axis=1)  # [T]
        still = 10 * np.linalg.norm(truth - truth[key], axis=2).mean(axis=1)
        some = even_frames(len(truth), 12)
        close = 10 * chamfer(meshes.vertices[some], meshes.faces, truth[some])
        parts = " ".join(f"{part.mean():.3f}" for part in np.array_split(off, PARTS))
        print(f"{action}, template of frame {key}, {seconds:.0f} s, Chamfer {close:.3f}")
        print(f"  {parts}  (never moving up to {still.max():.1f})", flush=True)


if __name__ == "__main__":
    main()

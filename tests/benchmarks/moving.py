"""How well moving things are reconstructed: distances to known particles, frame 0 in a unit box, times 10.

    python -m tests.benchmarks.moving REGIME SUBJECT.npz|FOLDER... [--command 'worker reconstruct']
    [--registration WEIGHTS]

A subject holds `vertices` [T, V, 3] and `faces` of a mesh that moves; a folder of them stands for all of
them, and a folder with `pcl_seq/*.npz` for one sequence of corresponding points in the published layout. The
regimes:

    corr300            17 frames of 300 points, row j the same particle in every frame
    free300, free2000  17 frames of 300 or 2,000 points, each frame sampled anew
    ragged             500 to 3,000 points a frame, noise 0.005, 2 % outliers
    view               what one turning camera sees, 1,500 points a frame, noise 0.003
    long               all frames up to 60, 1,000 points a frame, each sampled anew

The limits are on the mean over subjects; a subject that yields nothing counts Chamfer 1 and correspondence 2.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.frames import even_frames
from tests.worker.geometry import nearest as nearest_distances

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FRAMES, LONG = 17, 60
PARTICLES = 60_000
SAMPLES = 20_000
REGIMES = ("corr300", "free300", "free2000", "ragged", "view", "long")
NOTHING = (1.0, 2.0, 0.0)


def draw(vertices: Floats, faces: Ints, count: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Faces [count] and barycentric weights [count, 3], uniform by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(faces), count, p=area / area.sum())
    u = rng.random((count, 2))
    beyond = u.sum(1) > 1
    u[beyond] = 1 - u[beyond]
    return face, np.c_[1 - u.sum(1), u]


def on(vertices: Floats, faces: Ints, face: Ints, weights: Floats) -> Floats:
    """Points [count, 3] of a mesh."""
    return (vertices[faces[face]] * weights[..., None]).sum(-2)


def particles(subject: Path, frames: int) -> Floats:
    """Particles [T, P, 3] in the unit box of frame 0."""
    if subject.is_dir():
        archives = [np.load(p) for p in sorted((subject / "pcl_seq").glob("*.npz"))[:frames]]
        dense = np.stack([a["points"].astype(float) * a["scale"] + a["loc"] for a in archives])
    else:
        archive = np.load(subject)
        vertices, faces = archive["vertices"].astype(float), archive["faces"].astype(int)
        if frames < len(vertices):
            spread = even_frames(len(vertices), frames)
            vertices = vertices[spread if frames < LONG else np.arange(frames)]
        face, weights = draw(vertices[0], faces, PARTICLES, np.random.default_rng(0))
        dense = np.stack([on(v, faces, face, weights) for v in vertices])
    low, high = dense[0].min(0), dense[0].max(0)
    result: Floats = (dense - (low + high) / 2) / (high - low).max()
    return result


def clouds(truth: Floats, regime: str, rng: np.random.Generator) -> list[Floats]:
    """What is measured of particles [T, P, 3] in a regime."""
    frames, count = truth.shape[:2]
    if regime == "corr300":
        return list(truth[:, rng.integers(count, size=300)] + rng.normal(0, 0.001, (frames, 300, 3)))
    if regime == "view":
        return [_seen(frame, 0.6 * np.pi * t / frames, rng) for t, frame in enumerate(truth)]
    if regime == "ragged":
        return [_ragged(frame, rng) for frame in truth]
    n = {"free300": 300, "free2000": 2000, "long": 1000}[regime]
    return [frame[rng.integers(count, size=n)] + rng.normal(0, 0.001, (n, 3)) for frame in truth]


def _seen(frame: Floats, angle: float, rng: np.random.Generator) -> Floats:
    """1,500 of the particles [P, 3] that a camera at an angle about +y sees, by a depth buffer."""
    eye = np.array([np.sin(angle), 0.3, np.cos(angle)])
    image = np.linalg.qr(np.c_[eye, [0, 1, 0], [1, 0, 0]])[0][:, 1:]
    cell = np.round((frame - eye * 10) @ image / 0.012).astype(int)
    depth = frame @ eye
    order = np.lexsort((-depth, cell[:, 1], cell[:, 0]))
    front = np.r_[True, (np.diff(cell[order], axis=0) != 0).any(1)]
    near = dict(zip(map(tuple, cell[order][front]), depth[order][front], strict=True))
    seen = np.flatnonzero(depth > np.array([near[tuple(c)] for c in cell]) - 0.02)
    return frame[rng.choice(seen, 1500)] + rng.normal(0, 0.003, (1500, 3))


def _ragged(frame: Floats, rng: np.random.Generator) -> Floats:
    """500 to 3,000 of the particles [P, 3] with noise, one in fifty of them anywhere."""
    n = int(rng.integers(500, 3000))
    points = frame[rng.integers(len(frame), size=n)] + rng.normal(0, 0.005, (n, 3))
    outlying = rng.random(n) < 0.02
    points[outlying] = rng.uniform(-0.7, 0.7, (int(outlying.sum()), 3))
    return points


def score(vertices: Floats, faces: Ints, truth: Floats) -> tuple[float, float, float]:
    """Chamfer, correspondence, and the latter of a mesh that never moves.

    vertices [T, V, 3] and faces [F, 3] by the particles [T, P, 3]; a vertex corresponds to its nearest
    particle in frame 0.
    """
    rng = np.random.default_rng(1)
    nearest = cKDTree(truth[0]).query(vertices[0])[1]
    rows = []
    for moved, frame in zip(vertices, truth, strict=True):
        surface = on(moved, faces, *draw(moved, faces, SAMPLES, rng))
        some = frame[rng.integers(len(frame), size=SAMPLES)]
        there, back = nearest_distances(frame, surface).mean(), nearest_distances(surface, some).mean()
        rows.append((
            (there + back) / 2,
            np.linalg.norm(moved - frame[nearest], axis=1).mean(),
            np.linalg.norm(vertices[0] - frame[nearest], axis=1).mean(),
        ))  # fmt: skip
    chamfer, correspondence, still = 10 * np.mean(rows, axis=0)
    return float(chamfer), float(correspondence), float(still)


def subjects(paths: Sequence[Path]) -> list[Path]:
    """Every subject in the paths, folders of subjects opened."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.npz")) if path.is_dir() and not (path / "pcl_seq").is_dir() else [path]
    return found


def by_command(command: str, regime: str) -> Callable[[list[Floats]], tuple[Floats, Ints]]:
    """Reconstruction by a command that takes an input and an output archive."""

    def reconstruct(points: list[Floats]) -> tuple[Floats, Ints]:
        with tempfile.TemporaryDirectory() as folder:
            source, result = f"{folder}/in.npz", f"{folder}/out.npz"
            if regime == "ragged":
                lengths = np.array([len(p) for p in points])
                np.savez(source, points=np.concatenate(points).astype("f4"), lengths=lengths)
            else:
                same = np.array(regime == "corr300")
                np.savez(source, points=np.stack(points).astype("f4"), corresponding=same)
            done = subprocess.run([*shlex.split(command), source, result], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError((done.stderr or done.stdout).strip()[-160:])
            archive = np.load(result)
            return archive["vertices"].astype(float), archive["faces"].astype(np.int64)

    return reconstruct


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("subjects", nargs="+", type=Path)
    parser.add_argument("--command", default=f"{sys.executable} -m worker reconstruct")
    parser.add_argument("--max-chamfer", type=float)
    parser.add_argument("--max-correspondence", type=float)
    arguments = parser.parse_args()
    reconstruct = by_command(arguments.command, arguments.regime)
    rows = []
    for subject in subjects(arguments.subjects):
        truth = particles(subject, LONG if arguments.regime == "long" else FRAMES)
        points = clouds(truth, arguments.regime, np.random.default_rng(7))
        began = time.perf_counter()
        try:
            vertices, faces = reconstruct(points)
        except RuntimeError as error:
            rows.append(NOTHING)
            print(f"{subject.stem:24s} nothing: {error}", flush=True)
            continue
        seconds = time.perf_counter() - began
        rows.append(score(vertices, faces, truth))
        size = f"{vertices.shape[1]} vertices  {seconds:.1f} s"
        print(f"{subject.stem:24s} {described(rows[-1])}  {size}", flush=True)
    mean = tuple(float(x) for x in np.mean(rows, axis=0))
    print(f"{arguments.regime}: mean of {len(rows)}: {described(mean)}")
    limits = ((mean[0], arguments.max_chamfer), (mean[1], arguments.max_correspondence))
    sys.exit(any(limit is not None and value > limit for value, limit in limits))


def described(scores: Sequence[float]) -> str:
    """Three scores in words."""
    chamfer, correspondence, still = scores
    return f"chamfer {chamfer:.3f}  correspondence {correspondence:.3f}  (never moving {still:.3f})"


if __name__ == "__main__":
    main()

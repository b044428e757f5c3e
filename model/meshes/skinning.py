"""A skeleton for a mesh animation: rigid bones and a few weights per vertex that reproduce it.

Smooth skinning decomposition with rigid bones (Le and Deng 2012): trajectories are clustered, then weights
and rigid transforms are fitted in turn, each by least squares.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from model.frames import even_frames

Floats = NDArray[np.float64]
Moves = tuple[Floats, Floats]  # rotations [S, B, 3, 3] and translations [S, B, 3]: x' = R x + t

INFLUENCES = 4  # bones per vertex, as viewers support them
CANDIDATES = 8  # bones from which these are chosen
BONES = (16, 32, 64)  # tried in this order
MEAN_ERROR = 1e-3  # of the extent; enough bones for this are used
RIGID_SWEEPS = 6  # alternations of clusters and transforms
SWEEPS = 6  # alternations of weights and transforms
HELD = 1e-9  # share of the whole mesh's moment by which a bone keeps its rotation
FITTED_FRAMES = 64  # that decide clusters and weights, spread evenly; all frames get transforms
FITTED_VERTICES = 1500  # that decide clusters and bones, drawn at random; all get weights
FEATURES = 24  # numbers that tell trajectories apart
CHUNK = 256  # vertices processed together; bounds the memory


@dataclass(frozen=True)
class Skin:
    """Bones that carry the vertices of frame 0; errors are distances in the units of the mesh."""

    pivots: Floats  # [B, 3], the bones in frame 0
    rotations: Floats  # [T, B, 3, 3], from frame 0
    positions: Floats  # [T, B, 3], of the pivots
    joints: NDArray[np.int64]  # [V, INFLUENCES], bones
    weights: Floats  # [V, INFLUENCES], rows sum to 1
    mean_error: float
    max_error: float

    @property
    def bones(self) -> int:
        return len(self.pivots)


def fit_skin(vertices: Floats) -> Skin:
    """The skin of vertices [T, V, 3] with the fewest of `BONES` whose mean error is at most `MEAN_ERROR`
    times the extent; the most exact one if none is so exact.
    """
    rest = vertices[0]
    extent = float(np.ptp(vertices, axis=(0, 1)).max())
    shown = even_frames(len(vertices), FITTED_FRAMES)
    drawn = np.random.default_rng(0).permutation(len(rest))[:FITTED_VERTICES]
    few = vertices[np.ix_(shown, drawn)]  # [S, n, 3]
    skins = []
    for count in BONES:
        moves = _bones(few, rest[drawn], min(count, len(drawn)))
        skins.append(_finish(vertices, rest, _weights(vertices[shown], rest, moves)))
        if skins[-1].mean_error <= MEAN_ERROR * extent or count >= len(drawn):
            break
    return min(skins, key=lambda skin: skin.mean_error)


def _bones(vertices: Floats, rest: Floats, count: int) -> Moves:
    """Transforms of `count` bones at most that carry `rest` [V, 3] to vertices [S, V, 3]."""
    labels = _clusters(vertices, count)
    for _ in range(RIGID_SWEEPS):
        _, labels = np.unique(labels, return_inverse=True)
        weights = np.eye(labels.max() + 1)[labels]
        moves = _transforms(vertices, rest, weights, None)
        labels = _nearest_bones(vertices, rest, moves)
    for _ in range(SWEEPS):
        weights = _weights(vertices, rest, moves)
        moves = _transforms(vertices, rest, weights, moves)
    return moves


def posed(skin: Skin, rest: Floats, frame: int) -> Floats:
    """The vertices [V, 3] in `frame`, from those of frame 0."""
    placed = np.zeros_like(rest)
    for slot in range(skin.joints.shape[1]):
        bone = skin.joints[:, slot]
        turned = np.einsum("vij,vj->vi", skin.rotations[frame, bone], rest - skin.pivots[bone])
        placed += skin.weights[:, slot, None] * (turned + skin.positions[frame, bone])
    return placed


def _clusters(vertices: Floats, count: int) -> NDArray[np.int64]:
    """Clusters [V] of vertices that stay together, from their trajectories [S, V, 3]."""
    paths = vertices.transpose(1, 0, 2).reshape(vertices.shape[1], -1)  # [V, 3 S]
    paths = paths - paths.mean(axis=0)
    _, axes = np.linalg.eigh(paths.T @ paths)
    features = paths @ axes[:, -FEATURES:]  # [V, FEATURES]
    _, labels = kmeans2(features, count, minit="++", rng=np.random.default_rng(0))
    return np.asarray(labels, np.int64)


def _transforms(
    vertices: Floats, rest: Floats, weights: Floats, moves: Moves | None, sweeps: int = 1
) -> Moves:
    """Rigid transforms of the bones to vertices [S, V, 3] for weights [V, B], one bone after the other.

    Each bone moves what the other bones, as in `moves`, leave to it, again in each of the `sweeps`; without
    `moves`, as if there were no others. A bone of too few vertices to tell how it turns keeps its rotation,
    at first that of the whole mesh. Sums over the vertices are taken once, for all sweeps.
    """
    frames, bones = len(vertices), weights.shape[1]
    center = rest.mean(axis=0)
    whole = np.concatenate([rest - center, np.ones((len(rest), 1))], axis=1)  # [V, 4]
    placed = (vertices - center).transpose(0, 2, 1).reshape(-1, len(rest))  # [3 S, V]
    weighed = weights**2 if moves is None else weights
    shares = (weighed[:, :, None] * whole[:, None]).reshape(len(rest), -1)  # [V, 4 B]
    goals = (placed @ shares).reshape(frames, 3, bones, 4)
    shared = None if moves is None else shares.T @ shares  # [4 B, 4 B]
    square = (weights**2).sum(axis=0)
    source_center = (weights**2).T @ whole[:, :3] / np.maximum(square, 1e-300)[:, None]  # [B, 3]
    held = HELD * float((whole[:, :3] ** 2).sum())
    matrices = np.zeros((frames, 3, bones, 4))  # x' = R x + t, of x from the center
    if moves is None:
        matrices[..., :3] = _rotations((placed @ whole[:, :3]).reshape(frames, 3, 3))[:, :, None]
    else:
        matrices[..., :3] = moves[0].transpose(0, 2, 1, 3)
        matrices[..., 3] = (moves[0] @ center + moves[1] - center).transpose(0, 2, 1)
    for _ in range(sweeps):
        for bone in np.flatnonzero(square):
            goal = goals[:, :, bone]  # [S, 3, 4]
            kept = matrices[:, :, bone, :3].copy()
            if shared is not None:
                matrices[:, :, bone] = 0
                others = matrices.reshape(3 * frames, -1) @ shared[:, 4 * bone : 4 * bone + 4]
                goal = goal - others.reshape(frames, 3, 4)
            moments = goal[..., :3] - goal[..., 3:] * source_center[bone]  # [S, 3, 3]
            rotations = _rotations(moments + held * kept)
            matrices[:, :, bone, :3] = rotations
            matrices[:, :, bone, 3] = goal[..., 3] / square[bone] - rotations @ source_center[bone]
    turned = np.ascontiguousarray(matrices[..., :3].transpose(0, 2, 1, 3))  # [S, B, 3, 3]
    return turned, matrices[..., 3].transpose(0, 2, 1) + center - turned @ center


def _rotations(moments: Floats) -> Floats:
    """The rotation nearest to each of moments [S, 3, 3]; the identity where they are 0."""
    left, _, right = np.linalg.svd(moments)
    sign = np.linalg.det(left @ right)
    left[..., :, 2] *= sign[..., None]
    return np.asarray(left @ right)


def _weights(vertices: Floats, rest: Floats, moves: Moves) -> Floats:
    """Weights [V, B] with at most `INFLUENCES` positive entries in a row, which sum to 1."""
    bones = moves[1].shape[1]
    weights = np.zeros((len(rest), bones))
    for rows, offsets in _offsets(vertices, rest, moves):
        misfit = np.einsum("nbk,nbk->nb", offsets, offsets)
        near = np.argsort(misfit, axis=1, kind="stable")[:, :CANDIDATES]  # [n, C]
        chosen = np.take_along_axis(offsets, near[..., None], axis=1)  # [n, C, 3 S]
        gram = chosen @ chosen.transpose(0, 2, 1)  # [n, C, C]
        found = _on_simplex(gram)
        if near.shape[1] > INFLUENCES:
            best = np.argsort(-found, axis=1, kind="stable")[:, :INFLUENCES]  # [n, INFLUENCES]
            near = np.take_along_axis(near, best, axis=1)
            gram = np.take_along_axis(np.take_along_axis(gram, best[:, :, None], 1), best[:, None, :], 2)
            found = _on_simplex(gram)
        np.put_along_axis(weights[rows], near, found, axis=1)
    return weights


def _nearest_bones(vertices: Floats, rest: Floats, moves: Moves) -> NDArray[np.int64]:
    """The bone [V] that alone carries each vertex best."""
    found = [
        np.einsum("nbk,nbk->nb", offsets, offsets).argmin(axis=1)
        for _, offsets in _offsets(vertices, rest, moves)
    ]
    return np.concatenate(found)


def _offsets(vertices: Floats, rest: Floats, moves: Moves) -> Iterator[tuple[slice, Floats]]:
    """By rows of `rest` [V, 3]: from vertices [S, V, 3] to where each bone puts them, [n, B, 3 S]."""
    rotations, translations = moves
    matrices = np.concatenate([rotations, translations[..., None]], axis=3)  # [S, B, 3, 4]
    matrices = matrices.transpose(3, 1, 0, 2).reshape(4, -1)  # [4, B S 3]
    whole = np.concatenate([rest, np.ones((len(rest), 1))], axis=1)  # [V, 4]
    for start in range(0, len(rest), CHUNK):
        rows = slice(start, min(start + CHUNK, len(rest)))
        placed = (whole[rows] @ matrices).reshape(rows.stop - start, translations.shape[1], -1)
        yield rows, placed - vertices[:, rows].transpose(1, 0, 2).reshape(len(placed), 1, -1)


def _on_simplex(gram: Floats) -> Floats:
    """Weights w ≥ 0 [n, C] with sum 1 that minimize w' G w for G [n, C, C].

    Solves with equality, drops the most negative weight of each row, and repeats.
    """
    count, size = gram.shape[:2]
    scale = np.trace(gram, axis1=1, axis2=2)[:, None, None] / size + 1e-300
    ridged = gram / scale + 1e-9 * np.eye(size)
    active = np.ones((count, size), bool)
    for _ in range(size):
        system = np.where(active[:, :, None] & active[:, None, :], ridged, np.eye(size))
        found = np.linalg.solve(system, active[..., None].astype(float))[..., 0] * active  # [n, C]
        found /= found.sum(axis=1, keepdims=True)
        worst = found.argmin(axis=1)
        negative = found[np.arange(count), worst] < 0
        if not negative.any():
            break
        active[negative, worst[negative]] = False
    found = np.clip(found, 0, None)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _finish(vertices: Floats, rest: Floats, weights: Floats) -> Skin:
    """Transforms of all frames for final weights, and their errors."""
    weights = weights[:, weights.sum(axis=0) > 0]
    slots = min(INFLUENCES, weights.shape[1])
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :slots]
    frames, bones = len(vertices), weights.shape[1]
    rotations = np.empty((frames, bones, 3, 3))
    translations = np.empty((frames, bones, 3))
    for start in range(0, frames, FITTED_FRAMES):
        block = slice(start, start + FITTED_FRAMES)
        alone = _transforms(vertices[block], rest, weights, None)
        rotations[block], translations[block] = _transforms(vertices[block], rest, weights, alone, SWEEPS)
    pivots = weights.T @ rest / weights.sum(axis=0)[:, None]  # [B, 3]
    positions = np.einsum("tbij,bj->tbi", rotations, pivots) + translations
    skin = Skin(pivots, rotations, positions, joints, np.take_along_axis(weights, joints, 1), 0.0, 0.0)
    errors = [np.linalg.norm(posed(skin, rest, t) - vertices[t], axis=1) for t in range(frames)]
    mean, most = float(np.mean(errors)), float(np.max(errors))
    return Skin(pivots, rotations, positions, joints, skin.weights, mean, most)

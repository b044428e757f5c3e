"""A parametric human body: shape coefficients in, a posed closed surface out.

Linear blend skinning over 104 bones. Metres, y up, the body faces +z and its left is +x.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
RIG_FILE = Path(__file__).with_name("rig_8k.npz")


@dataclass(frozen=True)
class Body:
    """One person at rest, the pose in which the rig was bound (arms half raised)."""

    vertices: Floats  # [V, 3]
    joints: Floats  # [J, 3], where each bone begins


@dataclass(frozen=True)
class Rig:
    """What all bodies share: topology, skeleton, skinning weights and the space of shapes."""

    mean: Body
    shape_vertices: NDArray[np.float32]  # [K, V, 3], added per unit of each coefficient
    shape_joints: NDArray[np.float32]  # [K, J, 3]
    faces: NDArray[np.int32]  # [F, 3], counter-clockwise from outside
    bones: dict[str, int]  # name → row in the joints; parents come before their children
    parents: tuple[int, ...]  # [J], -1 for the root
    weights: scipy.sparse.csr_array  # [V, J], rows sum to 1
    adults: NDArray[np.float32]  # [64, K], coefficients of plausible adults

    def body(self, coefficients: ArrayLike = ()) -> Body:
        """The body of these shape coefficients ([≤ K], unit variance); those left out are 0, the mean."""
        c = np.asarray(coefficients, dtype=np.float64)  # [k]
        if c.ndim != 1 or len(c) > len(self.shape_vertices):
            raise ValueError(
                f"shape coefficients have shape {list(c.shape)}, wanted at most [{len(self.shape_vertices)}]"
            )
        return Body(
            vertices=self.mean.vertices + np.tensordot(c, self.shape_vertices[: len(c)], 1),
            joints=self.mean.joints + np.tensordot(c, self.shape_joints[: len(c)], 1),
        )

    def draw_body(self, rng: np.random.Generator) -> Body:
        """One of the 64 adults at random."""
        return self.body(self.adults[rng.integers(len(self.adults))])

    def skin(self, body: Body, rotations: dict[str, Floats]) -> Floats:
        """Vertices [T, V, 3] of a body whose bones turn by `rotations`.

        A rotation [T, 3, 3] turns its bone, and all that hangs on it, against its parent; axes are those of
        the rest pose. A bone that is not named keeps its rest angle. The root stays where it is.
        """
        turns, origins = self._chain(body, rotations)  # [J, T, 3, 3], [J, T, 3]
        # rest → posed, per bone: x ↦ R x + (origin - R joint)
        shift = origins - np.einsum("jtab,jb->jta", turns, body.joints)
        affine = np.concatenate([turns, shift[..., None]], axis=-1)  # [J, T, 3, 4]
        bones, frames = affine.shape[:2]
        rest = np.concatenate([body.vertices, np.ones((len(body.vertices), 1))], axis=1)  # [V, 4]
        # All frames of a vertex as the rows of one matrix: one product a vertex, not one a vertex and frame.
        blended = (self.weights @ affine.reshape(bones, -1)).reshape(len(rest), frames * 3, 4)
        posed = (blended @ rest[:, :, None]).reshape(len(rest), frames, 3)
        return np.ascontiguousarray(posed.transpose(1, 0, 2))

    def _chain(self, body: Body, rotations: dict[str, Floats]) -> tuple[Floats, Floats]:
        """World rotation [J, T, 3, 3] and origin [J, T, 3] of every bone, from the root outwards."""
        unknown = sorted(rotations.keys() - self.bones.keys())
        if unknown:
            raise ValueError(f"the rig has no bone {', '.join(map(repr, unknown))}")
        frames = max((len(r) for r in rotations.values()), default=1)
        turns = np.empty((len(self.bones), frames, 3, 3))
        origins = np.empty((len(self.bones), frames, 3))
        for bone, (name, parent) in enumerate(zip(self.bones, self.parents, strict=True)):
            if parent < 0:
                turns[bone], origins[bone] = np.eye(3), body.joints[bone]
            else:
                turns[bone] = turns[parent]
                origins[bone] = origins[parent] + turns[parent] @ (body.joints[bone] - body.joints[parent])
            if name in rotations:
                turns[bone] = turns[bone] @ rotations[name]
        return turns, origins


@cache
def load_rig() -> Rig:
    """The shipped rig (4,002 vertices, 8,000 faces); read once, so do not write into its arrays."""
    with np.load(RIG_FILE, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    vertices, bones = len(arrays["mean"]), len(arrays["labels"])
    weights = arrays["ww"] / arrays["ww"].sum(axis=1, keepdims=True, dtype=np.float64)  # [V, 4]
    rows = np.repeat(np.arange(vertices), weights.shape[1])
    columns = arrays["wi"].astype(np.int32).ravel()
    return Rig(
        mean=Body(arrays["mean"].astype(np.float64), arrays["heads"].astype(np.float64)),
        shape_vertices=arrays["basis"].astype(np.float32),
        shape_joints=arrays["basis_heads"].astype(np.float32),
        faces=arrays["faces"].astype(np.int32),
        bones={str(name): i for i, name in enumerate(arrays["labels"])},
        parents=tuple(int(parent) for parent in arrays["parents"]),
        weights=scipy.sparse.csr_array((weights.ravel(), (rows, columns)), shape=(vertices, bones)),
        adults=arrays["coeffs"].astype(np.float32),
    )

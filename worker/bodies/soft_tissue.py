"""What the skeleton does not decide: how much soft tissue a person has, and how it trails the bones."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from worker.bodies.rig import Body, Floats, Rig

# Parts of the body: one standard deviation of the soft tissue on them, in metres along the surface normal,
# and how the names of their bones begin. The rig's shape coefficients couple all parts; in people they vary
# freely.
GIRTHS: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "hips": (0.011, ("root", "pelvis", "spine05", "upperleg01")),
    "thighs": (0.008, ("upperleg",)),
    "belly": (0.012, ("spine05", "spine04", "spine03")),
    "chest": (0.008, ("spine02", "spine01", "clavicle", "shoulder")),
    "upper arms": (0.006, ("upperarm", "shoulder")),
    "forearms": (0.004, ("lowerarm",)),
    "calves": (0.005, ("lowerleg",)),
    "head": (0.003, ("neck", "head")),
}
# How freely the soft tissue on these bones moves; bones that are not named are firm.
SOFTNESS: Mapping[tuple[str, ...], float] = {
    ("spine05", "spine04", "pelvis"): 1.0,
    ("spine03", "spine02", "upperleg"): 0.8,
    ("spine01", "upperarm"): 0.4,
    ("lowerleg",): 0.2,
}
LAG = 3  # frames by which soft tissue trails its bone: 50 ms


class SoftTissue:
    """Fields on the surface of a rig's bodies; made once."""

    def __init__(self, rig: Rig) -> None:
        normals = _vertex_normals(rig.mean.vertices, rig.faces)  # [V, 3]
        # [G, V, 3]: what one standard deviation of each girth adds
        self._girths = np.stack(
            [deviation * _weights(rig, bones)[:, None] * normals for deviation, bones in GIRTHS.values()]
        )
        softness = [value * _weights(rig, bones) for bones, value in SOFTNESS.items()]
        self._softness = np.sum(softness, axis=0)  # [V]

    def put_on(self, body: Body, amounts: Floats) -> Body:
        """The body with more or less soft tissue on `GIRTHS`, by `amounts` [G] in standard deviations."""
        return Body(body.vertices + np.tensordot(amounts, self._girths, 1), body.joints)

    def trail(self, vertices: Floats, strength: float) -> Floats:
        """Frames [T - LAG, V, 3] of moving vertices [T, V, 3] whose soft parts are still on their way.

        A vertex goes `strength` times its softness (at most 1) of the way back to where it was `LAG` frames
        ago: smooth over the surface, largest where the body turns around, nothing on a body that is still.
        """
        now, before = vertices[LAG:], vertices[:-LAG]
        if not strength:
            return now
        trailed: Floats = now + (strength * self._softness)[:, None] * (before - now)
        return trailed


def corpulence(rig: Rig) -> Floats:
    """The least shape coefficients [K] that add 1 kg/m² to a body mass index and nothing to the height.

    Fitted to the rig's adults; both are all but linear in the coefficients.
    """
    sizes = [_body_mass_index_and_height(rig.body(c).vertices, rig.faces) for c in rig.adults]
    known = np.column_stack([np.ones(len(sizes)), rig.adults])
    slopes = np.linalg.lstsq(known, np.array(sizes))[0][1:].T  # [2, K], change a unit of each coefficient
    direction: Floats = np.linalg.pinv(slopes)[:, 0]
    return direction


def _body_mass_index_and_height(vertices: Floats, faces: NDArray[np.int32]) -> tuple[float, float]:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    kilograms = 1000 * float(np.einsum("fx,fx->", a, np.cross(b, c))) / 6  # a litre weighs about 1 kg
    height = float(np.ptp(vertices[:, 1]))
    return kilograms / height**2, height


def _weights(rig: Rig, bones: tuple[str, ...]) -> Floats:
    """How much each vertex [V] hangs on the bones whose names begin so."""
    columns = [i for name, i in rig.bones.items() if name.startswith(bones)]
    weights: Floats = np.asarray(rig.weights[:, columns].sum(axis=1), dtype=np.float64)
    return weights


def _vertex_normals(vertices: Floats, faces: NDArray[np.int32]) -> Floats:
    """Unit normals [V, 3], the mean of the faces around a vertex by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals = np.zeros_like(vertices)
    np.add.at(normals, faces, np.cross(b - a, c - a)[:, None])
    unit: Floats = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return unit

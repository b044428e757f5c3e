"""What is done to a reconstructed mesh on request, with a record of its effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.meshes.colors import correspondence_colors
from model.meshes.holes import fill_holes
from model.meshes.point_colors import sample_colors
from model.meshes.smoothing import smooth
from model.meshes.textures import Texture, bake

COLORS = ("none", "input", "correspondence")
Clouds = Sequence[NDArray[np.float64]]
Colors = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Finish:
    """Options of a call. `colors` are T arrays [N_t, 3] of sRGB bytes, of the input points."""

    smooth: int
    fill_holes: bool
    color: str
    texture: int | None
    colors: Colors | None

    def check(self, clouds: Clouds) -> None:
        """Raise InputError for options that cannot be met for clouds [N_t, 3]."""
        if self.color not in COLORS:
            raise InputError(f"color is {self.color!r}; wanted {', '.join(COLORS)}")
        if self.smooth < 0:
            raise InputError(f"smooth is {self.smooth}; wanted 0 passes or more")
        if self.colors is None and (self.color == "input" or self.texture is not None):
            name = "texture" if self.texture is not None else "color input"
            raise InputError(f"{name} needs colors of the points, and the input has none")
        if self.colors is not None and [np.shape(of_frame) for of_frame in self.colors] != [
            cloud.shape for cloud in clouds
        ]:
            raise InputError("colors have other shapes than the points; wanted one color a point")

    def smoothed(
        self, vertices: NDArray[np.float64], faces: NDArray[np.int64], effects: dict[str, Any]
    ) -> NDArray[np.float64]:
        """Vertices [W, V, 3] after smoothing; `effects` gets how far they moved."""
        if not self.smooth:
            return vertices
        moved = smooth(vertices, faces, self.smooth)
        distances = np.linalg.norm(moved - vertices, axis=2)
        effects["smooth"] = {
            "passes": self.smooth,
            "mean_distance": float(distances.mean()),
            "max_distance": float(distances.max()),
        }
        return moved

    def closed(
        self, vertices: NDArray[np.float64], faces: NDArray[np.int64], effects: dict[str, Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Vertices [W, V + H, 3] and faces with the H holes closed; `effects` gets their number."""
        if not self.fill_holes:
            return vertices, faces
        vertices, closed, holes = fill_holes(vertices, faces)
        effects["fill_holes"] = {"holes": holes, "faces": len(closed) - len(faces)}
        return vertices, closed

    def vertex_colors(
        self,
        first: NDArray[np.float64],
        at_input: NDArray[np.float64],
        clouds: Clouds,
        shown: NDArray[np.int64],
    ) -> NDArray[np.uint8] | None:
        """Colors [V, 3] for vertices of the first frame [V, 3] and at the times of the clouds [T, V, 3].

        Clouds of frames that are not `shown` [U] do not count.
        """
        if self.color == "correspondence":
            return correspondence_colors(first)
        if self.color == "input" and self.colors is not None:
            return sample_colors(lambda frame: at_input[shown[frame]], *_only(shown, clouds, self.colors))
        return None

    def baked(
        self,
        first: NDArray[np.float64],
        at_input: NDArray[np.float64],
        faces: NDArray[np.int64],
        clouds: Clouds,
        shown: NDArray[np.int64],
    ) -> Texture | None:
        """A texture from the colors of the clouds of frames `shown` [U], if one is asked for."""
        if self.texture is None or self.colors is None:
            return None
        clouds, colors = _only(shown, clouds, self.colors)

        def color(corners: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.uint8]:
            at_shown = at_input[shown]
            return sample_colors(
                lambda frame: np.einsum("pkx,pk->px", at_shown[frame][corners], weights), clouds, colors
            )

        return bake(first, faces, self.texture, color)


def _only(shown: NDArray[np.int64], clouds: Clouds, colors: Colors) -> tuple[Clouds, Colors]:
    return [clouds[t] for t in shown], [colors[t] for t in shown]

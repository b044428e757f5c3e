"""The unit box of a sequence: the frame in which the network sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.errors import InputError


@dataclass(frozen=True)
class UnitBox:
    """A cube around the first frame: `center` [3] and longest side `scale`, in the caller's units.

    Inside, coordinates run from -0.5 to 0.5 at t = 0. Both ways go through float64, so a sequence far
    from the origin keeps its detail.
    """

    center: NDArray[np.float64]
    scale: float

    @classmethod
    def around(cls, points: ArrayLike) -> "UnitBox":
        """The box of points [N, 3]. Raises InputError where they do not span one."""
        points = np.asarray(points, dtype=np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        scale = float((high - low).max())
        if not np.isfinite(scale) or scale <= 1e-9 * max(1e-300, float(np.abs(points).max())):
            raise InputError(
                f"the points of the first frame span {scale:g}; wanted an object with some extent"
            )
        return cls((low + high) / 2, scale)

    def normalize(self, points: ArrayLike) -> NDArray[np.float32]:
        """Points [..., 3] of the caller in the box."""
        inside = (np.asarray(points, dtype=np.float64) - self.center) / self.scale
        return inside.astype(np.float32)

    def denormalize(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points [..., 3] of the box in the caller's coordinates."""
        return np.asarray(points, dtype=np.float64) * self.scale + self.center

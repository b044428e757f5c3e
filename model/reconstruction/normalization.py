"""Unit box of a sequence: the coordinate system of the networks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.errors import InputError


@dataclass(frozen=True)
class UnitBox:
    """Cube around the first frame: `center` [3] and side length `scale`, in the caller's units.

    Normalized coordinates of the first frame lie in [-0.5, 0.5]. Computed in float64, so that sequences far
    from the origin keep their precision.
    """

    center: NDArray[np.float64]
    scale: float

    @classmethod
    def around(cls, points: ArrayLike) -> "UnitBox":
        """Bounding cube of points [N, 3]. Raises InputError if they have no extent."""
        points = np.asarray(points, dtype=np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        scale = float((high - low).max())
        largest = float(np.abs(points).max())
        if not np.isfinite(scale) or scale <= 1e-9 * max(1e-300, largest):
            raise InputError(
                f"the points of the first frame span {scale:g}, {largest:.2g} from the origin or from the "
                "middle of all frames; wanted an object with a finite extent, above a billionth of that"
            )
        return cls((low + high) / 2, scale)

    def normalize(self, points: ArrayLike) -> NDArray[np.float32]:
        """Transform points [..., 3] from the caller's coordinates into the box."""
        inside = (np.asarray(points, dtype=np.float64) - self.center) / self.scale
        return inside.astype(np.float32)

    def denormalize(self, points: ArrayLike) -> NDArray[np.float64]:
        """Transform points [..., 3] from the box into the caller's coordinates."""
        return np.asarray(points, dtype=np.float64) * self.scale + self.center

"""The heavy loops of registration, on the CPU by numba or on a device by torch: one interface for both."""

from typing import Any, Literal, Protocol

import numpy as np

from model.cells import Cells, nearest_in_cells, sort_into_cells
from model.compiled import Flags, Floats, Ints
from model.registration import kernels
from model.registration.clouds import Cloud
from model.registration.descent import Pull, Surface, descend
from model.registration.graph import Motion
from model.registration.transport import transport_targets

Name = Literal["auto", "numba", "torch"]


class Backend(Protocol):
    """All arrays that go in and come out are float64 and int64, in memory of the CPU."""

    # Parts of a sequence whose frames are improved side by side, and the threads for them.
    parts: int
    threads: int | None  # None for one a core

    def load(self, surface: Surface) -> Any:
        """The surface as the other methods take it."""

    def descend(self, surface: Any, cloud: Cloud, pull: Pull, motion: Motion) -> Motion:
        """The motion after up to `pull.rounds` Gauss-Newton steps, as in `reference.descend`.

        Raises LinAlgError where the normal equations are not positive definite.
        """

    def misfit(self, surface: Any, cloud: Cloud, motion: Motion, seen: Flags, cap: float) -> float:
        """Mean square of the distances, each at most `cap`, from points to the nearest sample.

        Half of that from the samples that are `seen` [S] to the points is added.
        """

    def nearest(self, points: Floats, queries: Floats, count: int, reach: float) -> tuple[Floats, Ints]:
        """As `nearest_in_cells` of points [N, 3] not sorted yet."""

    def transport(
        self,
        source: Floats,
        source_masses: Floats,
        target: Floats,
        target_masses: Floats,
        blur: float,
        reach: tuple[float, float],
        rounds: int,
    ) -> tuple[Floats, Floats]:
        """As `transport_targets`."""


class NumbaBackend:
    """Loops compiled for the CPU; each call uses one thread."""

    parts: int = 2
    threads: int | None = None

    def load(self, surface: Surface) -> Surface:
        return surface

    def descend(self, surface: Surface, cloud: Cloud, pull: Pull, motion: Motion) -> Motion:
        return Motion(*descend(surface, cloud.points, cloud.cells, pull, *motion))

    def misfit(self, surface: Surface, cloud: Cloud, motion: Motion, seen: Flags, cap: float) -> float:
        skin = surface.nodes, surface.weights, surface.points, surface.normals
        points = kernels.blend(*skin, surface.rest, *motion)[0]
        total = _capped(sort_into_cells(points), cloud.points, cap)
        return total + 0.5 * _capped(cloud.cells, points[seen], cap) if seen.any() else total

    def nearest(self, points: Floats, queries: Floats, count: int, reach: float) -> tuple[Floats, Ints]:
        distance, index = nearest_in_cells(sort_into_cells(points), queries, count, reach)
        return distance, index

    transport = staticmethod(transport_targets)


def _capped(cells: Cells, points: Floats, cap: float) -> float:
    distance, _ = nearest_in_cells(cells, points, 1, cap)
    return float((np.minimum(distance, cap) ** 2).mean())


NUMBA: Backend = NumbaBackend()


def make_backend(device: str, name: Name = "auto") -> Backend:
    """The backend of a name; `auto` is numba for the CPU and torch for any other device."""
    if name == "numba" or (name == "auto" and device == "cpu"):
        return NUMBA
    from model.registration.torch_backend import TorchBackend

    return TorchBackend(device)

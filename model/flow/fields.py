"""The signature of a velocity field, as the solvers call it."""

from collections.abc import Callable

from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # t [] or [B], points [B, P, 3] → velocities [B, P, 3]
RowField = Callable[[float, Tensor], Tensor]  # t, points [P, 3] → velocities [P, 3]

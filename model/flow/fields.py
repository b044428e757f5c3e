"""The interface between a velocity field and the ODE solvers."""

from collections.abc import Callable

from torch import Tensor

# Time [] or [B], positions [P, 3] or [B, P, 3] → velocities of the same shape.
Field = Callable[[Tensor, Tensor], Tensor]

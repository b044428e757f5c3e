"""Butcher tableaus of explicit Runge-Kutta methods (Hairer, Nørsett and Wanner 1993, section II.1)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ButcherTableau:
    """Stage i evaluates the field at t + c_i h and x + h Σ_j a_ij k_j; the step ends at x + h Σ_i b_i k_i."""

    order: int
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]  # row i holds i coefficients
    b: tuple[float, ...]
    error: tuple[float, ...] = ()  # b minus the weights of the embedded method; empty without one

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last stage is the first stage of the next step."""
        return self.b == (*self.a[-1], 0)


MIDPOINT = ButcherTableau(order=2, c=(0, 1 / 2), a=((), (1 / 2,)), b=(0, 1))
RK4 = ButcherTableau(
    order=4, c=(0, 1 / 2, 1 / 2, 1), a=((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6)
)
BOGACKI_SHAMPINE = ButcherTableau(  # Bogacki and Shampine 1989
    order=3,
    c=(0, 1 / 2, 3 / 4, 1),
    a=((), (1 / 2,), (0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0),
    error=(-5 / 72, 1 / 12, 1 / 9, -1 / 8),
)

TABLEAUS = {"midpoint": MIDPOINT, "rk4": RK4, "bosh3": BOGACKI_SHAMPINE}

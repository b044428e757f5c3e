"""Occupancy Flow (Niemeyer et al., ICCV 2019): the shape at t = 0, and the velocities that carry it on.

    net = build_model(load_config("pointcloud/oflow"))
    c_s, c_t = net.encode_inputs(inputs)            # inputs [B, 17, N, 3]
    logits = net.decode(points, None, c_s)          # points [B, P, 3] → [B, P]
    moved = net.transform_to_t(t, points, None, c_t)  # t [K] → [B, K, P, 3]

Coordinates are those of the unit box of the first frame, times run from 0 to 1.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from model.errors import ConfigError
from model.flow.fixed_step import FixedSteps
from model.flow.ode import Solver, advect, advect_back, advect_to_0
from model.networks.decoders import Decoder, Occupancy
from model.networks.posteriors import posterior
from model.networks.velocity_field import VelocityField


class OccupancyFlow(nn.Module):
    """Encoders, decoder and velocity field under the published names; a part that is None does not exist.

    In training mode the flow goes through `training_solver`, else through `solver`.
    """

    def __init__(
        self,
        decoder: Decoder | None,
        encoder: nn.Module | None,
        encoder_temporal: nn.Module | None,
        vector_field: VelocityField,
        solver: Solver,
        training_solver: Solver | FixedSteps,
        encoder_latent: nn.Module | None = None,
        encoder_latent_temporal: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.encoder = encoder
        self.encoder_temporal = encoder_temporal
        self.encoder_latent = encoder_latent
        self.encoder_latent_temporal = encoder_latent_temporal
        self.vector_field = vector_field
        self.solver = solver
        self.training_solver = training_solver

    def encode_inputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Shape code and motion code of [B, T, N, 3]: each [B, c_dim], or [B, 0] without that encoder."""
        return self.encode_shape(inputs), self.encode_motion(inputs)

    def encode_shape(self, inputs: Tensor) -> Tensor:
        """The shape code alone."""
        return _encode(self.encoder, inputs)

    def encode_motion(self, inputs: Tensor) -> Tensor:
        """The motion code alone."""
        return _encode(self.encoder_temporal, inputs)

    def infer_z(
        self, inputs: Tensor, c_t: Tensor, data: dict[str, Tensor] | None = None
    ) -> tuple[Normal, Normal]:
        """Posteriors of the latent codes of shape and motion, [B, z_dim]; [B, 0] without latent encoders.

        A model with a latent encoder of shape alone uses its posterior for both, as the published one does.
        """
        shape = posterior(self.encoder_latent, inputs, c_t, data or {})
        if self.encoder_latent_temporal is None:
            return shape, shape
        return shape, posterior(self.encoder_latent_temporal, inputs, c_t, data or {})

    def decode(self, points: Tensor, z: Tensor | None, c: Tensor) -> Tensor:
        """Occupancy logits [B, P] at t = 0 of points [B, P, 3]."""
        logits: Tensor = self._existing_decoder()(points, z, c)
        return logits

    def occupancy(self, z: Tensor | None, c: Tensor, dtype: torch.dtype = torch.float32) -> Occupancy:
        """`decode` for one sequence, z [1, z_dim] or None, c [1, c_dim]: a fast function of points [P, 3].

        The factors of its large products are in `dtype`.
        """
        return self._existing_decoder().precompute(z, c, dtype)

    def _existing_decoder(self) -> Decoder:
        if self.decoder is None:
            raise ConfigError("model.decoder is null: this model moves a given mesh, it has no occupancy")
        return self.decoder

    def velocity(self, t: Tensor, points: Tensor, z_t: Tensor | None, c_t: Tensor) -> Tensor:
        """Velocities [B, P, 3] of particles at points [B, P, 3] at times t [B]."""
        velocities: Tensor = self.vector_field(t, points, z_t, c_t)
        return velocities

    def transform_to_t(
        self,
        t: Tensor,
        points: Tensor,
        z_t: Tensor | None,
        c_t: Tensor,
        on_evaluation: Callable[[float], None] | None = None,
    ) -> Tensor:
        """Where points [B, P, 3] of t = 0 are at times t [K] (any order, repeats allowed): [B, K, P, 3]."""
        return advect(points=points, times=t, on_evaluation=on_evaluation, **self._flow(z_t, c_t)).transpose(
            0, 1
        )

    def transform_to_t0(self, t: Tensor, points: Tensor, z_t: Tensor | None, c_t: Tensor) -> Tensor:
        """Where points [B, P, 3], those of item b seen at t[b], were at t = 0: [B, P, 3]. One solve."""
        return advect_to_0(points=points, t_item=t, **self._flow(z_t, c_t))

    def transform_to_t_backward(self, t: Tensor, points: Tensor, z_t: Tensor | None, c_t: Tensor) -> Tensor:
        """Where points [B, P, 3] of t = 1 were a time t [K] before, that is at 1 - t: [B, K, P, 3]."""
        return advect_back(points=points, times=t, **self._flow(z_t, c_t)).transpose(0, 1)

    def _flow(self, z_t: Tensor | None, c_t: Tensor) -> dict[str, Any]:
        """The field of given codes, how it is solved, and what gradients are wanted of."""
        return {
            "velocity": self.vector_field.condition(z_t, c_t),
            "solver": self.training_solver if self.training else self.solver,
            "parameters": [
                *self.vector_field.parameters(),
                *(code for code in (z_t, c_t) if code is not None),
            ],
        }


def _encode(encoder: nn.Module | None, inputs: Tensor) -> Tensor:
    code: Tensor
    code = torch.empty(len(inputs), 0, device=inputs.device) if encoder is None else encoder(inputs)
    return code

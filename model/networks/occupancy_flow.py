"""Occupancy Flow (Niemeyer et al., ICCV 2019): occupancy at t = 0, and a velocity field over time.

    net = build_model(load_config("pointcloud/oflow"))
    c_s, c_t = net.encode_inputs(inputs)            # inputs [B, 17, N, 3]
    logits = net.decode(points, None, c_s)          # points [B, P, 3] → [B, P]
    moved = net.transform_to_t(t, points, None, c_t)  # t [K] → [B, K, P, 3]

Coordinates are relative to the unit box of the first frame; times are in [0, 1].
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from model.errors import ConfigError
from model.flow.ode import advect, advect_back, advect_to_0
from model.flow.solution import OnProgress, Solver
from model.flow.torchdiffeq_solver import TorchdiffeqSolver
from model.networks.decoders import Decoder, Occupancy
from model.networks.posteriors import posterior
from model.networks.velocity_field import VelocityField


class OccupancyFlow(nn.Module):
    """Encoders, decoder and velocity field, named and ordered as in published checkpoints, whose optimizer
    counts parameters in that order; optional parts may be None.

    The flow is integrated by `training_solver` in training mode and by `solver` in evaluation mode.
    """

    def __init__(
        self,
        decoder: Decoder | None,
        encoder: nn.Module | None,
        encoder_temporal: nn.Module | None,
        vector_field: VelocityField,
        solver: TorchdiffeqSolver,
        training_solver: Solver,
        encoder_latent: nn.Module | None = None,
        encoder_latent_temporal: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.encoder = encoder
        self.encoder_latent = encoder_latent
        self.encoder_latent_temporal = encoder_latent_temporal
        self.vector_field = vector_field
        self.encoder_temporal = encoder_temporal
        self.solver = solver
        self.training_solver = training_solver

    def encode_inputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Shape code and motion code of inputs [B, T, N, 3]: [B, c_dim] each, [B, 0] without that encoder."""
        return self.encode_shape(inputs), self.encode_motion(inputs)

    def encode_shape(self, inputs: Tensor) -> Tensor:
        """Shape code [B, c_dim]; [B, 0] without a spatial encoder."""
        return _encode(self.encoder, inputs)

    def encode_motion(self, inputs: Tensor) -> Tensor:
        """Motion code [B, c_dim]; [B, 0] without a temporal encoder."""
        return _encode(self.encoder_temporal, inputs)

    def infer_z(
        self, inputs: Tensor, c_t: Tensor, data: dict[str, Tensor] | None = None
    ) -> tuple[Normal, Normal]:
        """Posteriors of the latent codes of shape and motion, [B, z_dim]; [B, 0] without latent encoders.

        `data` holds the other fields of the batch. Without a temporal latent encoder the posterior of the
        shape code is used for both, as in the published code.
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
        """`decode` for one sequence at inference: z [1, z_dim] or None, c [1, c_dim]; points [P, 3] → [P].

        `dtype` is that of the factors of large matrix products.
        """
        return self._existing_decoder().precompute(z, c, dtype)

    def differentiable_occupancy(self, z: Tensor | None, c: Tensor) -> Occupancy:
        """`decode` for one sequence, as a function that can be differentiated in inference mode as well."""
        with torch.inference_mode(mode=False):  # whose tensors cannot be saved for a backward pass
            z, c = None if z is None else z.clone(), c.clone()
        return lambda points: self.decode(points[None], z, c)[0]

    def _existing_decoder(self) -> Decoder:
        if self.decoder is None:
            raise ConfigError("model.decoder is null: this model deforms a given mesh and has no occupancy")
        return self.decoder

    def velocity(self, t: Tensor, points: Tensor, z_t: Tensor | None, c_t: Tensor) -> Tensor:
        """Velocities [B, P, 3] at points [B, P, 3] and times t [B]."""
        velocities: Tensor = self.vector_field(t, points, z_t, c_t)
        return velocities

    def transform_to_t(
        self,
        t: Tensor,
        points: Tensor,
        z_t: Tensor | None,
        c_t: Tensor,
        on_progress: OnProgress | None = None,
    ) -> Tensor:
        """Positions [B, K, P, 3] at times t [K] ≥ 0, in any order, of points [B, P, 3] given at t = 0."""
        solution = advect(points=points, times=t, on_progress=on_progress, **self._flow(z_t, c_t))
        return solution.positions.transpose(0, 1)

    def transform_to_t0(self, t: Tensor, points: Tensor, z_t: Tensor | None, c_t: Tensor) -> Tensor:
        """Positions [B, P, 3] at t = 0 of points [B, P, 3], those of item b given at time t[b]."""
        return advect_to_0(points=points, t_item=t, **self._flow(z_t, c_t)).positions[0]

    def transform_to_t_backward(self, t: Tensor, points: Tensor, z_t: Tensor | None, c_t: Tensor) -> Tensor:
        """Positions [B, K, P, 3] at times 1 - t, t [K] ≥ 0, of points [B, P, 3] given at t = 1."""
        return advect_back(points=points, times=t, **self._flow(z_t, c_t)).positions.transpose(0, 1)

    def _flow(self, z_t: Tensor | None, c_t: Tensor) -> dict[str, Any]:
        """Field, solver and differentiable parameters for given codes, as arguments of `advect`."""
        return {
            "field": self.vector_field.condition(z_t, c_t),
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

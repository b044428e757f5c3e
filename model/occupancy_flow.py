"""Occupancy Flow (Niemeyer et al., ICCV 2019): the shape at t = 0, and the velocities that carry it on.

    net = build_model(load_config("pointcloud/oflow"))
    c_s, c_t = net.encode_inputs(inputs)            # inputs [B, 17, N, 3]
    logits = net.decode(points, None, c_s)          # points [B, P, 3] → [B, P]
    moved = net.transform_to_t(t, points, None, c_t)  # t [K] → [B, K, P, 3]

Coordinates are those of the unit box of the first frame, times run from 0 to 1.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.distributions import Normal

from model.config import Config
from model.decoders import DECODERS, Decoder, Occupancy
from model.encoders import SPATIAL, TEMPORAL
from model.errors import ConfigError
from model.fixed_step import FixedSteps
from model.ode import Solver, advect, advect_back, advect_to_0, training_solver
from model.velocity_field import VELOCITY_FIELDS, VelocityField

Part = TypeVar("Part", bound=nn.Module)


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
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.encoder = encoder
        self.encoder_temporal = encoder_temporal
        self.vector_field = vector_field
        self.solver = solver
        self.training_solver = training_solver

    def encode_inputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Shape code and motion code of [B, T, N, 3]: each [B, c_dim], or [B, 0] without that encoder."""
        return self.encode_shape(inputs), self.encode_motion(inputs)

    def encode_shape(self, inputs: Tensor) -> Tensor:
        """The shape code alone."""
        code: Tensor
        code = self.encoder(inputs) if self.encoder is not None else inputs.new_empty(len(inputs), 0)
        return code

    def encode_motion(self, inputs: Tensor) -> Tensor:
        """The motion code alone."""
        encoder, code = self.encoder_temporal, inputs.new_empty(len(inputs), 0)
        return encoder(inputs) if encoder is not None else code

    def infer_z(
        self,
        inputs: Tensor,
        c_t: Tensor,  # noqa: ARG002 - read by latent encoders, as is data
        data: dict[str, Tensor] | None = None,  # noqa: ARG002
    ) -> tuple[Normal, Normal]:
        """Posteriors of the latent codes of shape and motion; of no dimensions without latent encoders."""
        empty = inputs.new_empty(len(inputs), 0)
        return Normal(empty, empty), Normal(empty, empty)

    def decode(self, points: Tensor, z: Tensor | None, c: Tensor) -> Tensor:
        """Occupancy logits [B, P] at t = 0 of points [B, P, 3]."""
        logits: Tensor = self._existing_decoder()(points, z, c)
        return logits

    def occupancy(self, z: Tensor | None, c: Tensor) -> Occupancy:
        """`decode` for one sequence, z [1, z_dim] or None, c [1, c_dim]: a fast function of points [P, 3]."""
        return self._existing_decoder().bind(z, c)

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
            "velocity": self.vector_field.bind(z_t, c_t),
            "solver": self.training_solver if self.training else self.solver,
            "parameters": [
                *self.vector_field.parameters(),
                *(code for code in (z_t, c_t) if code is not None),
            ],
        }


def build_model(config: Config) -> OccupancyFlow:
    """The untrained network of a config, on the CPU. Raises ConfigError for a part that is not available."""
    if config.method != "oflow":
        raise ConfigError(f"method: {config.method} is not available; available: oflow")
    settings = config.model
    sizes = {"c_dim": settings.c_dim, "z_dim": settings.z_dim}
    code = {"c_dim": settings.c_dim}

    def part(key: str, registry: dict[str, type[Part]], given: dict[str, int]) -> Part | None:
        return _build_part(key, getattr(settings, key), getattr(settings, f"{key}_kwargs"), registry, given)

    part("encoder_latent", {}, {})
    part("encoder_latent_temporal", {}, {})
    vector_field = part("velocity_field", VELOCITY_FIELDS, sizes)
    if vector_field is None:
        raise ConfigError(
            "model.velocity_field is null; method oflow needs one: " + ", ".join(VELOCITY_FIELDS)
        )
    return OccupancyFlow(
        decoder=part("decoder", DECODERS, {**sizes, "dim": config.data.dim}),
        encoder=part("encoder", SPATIAL, code),
        encoder_temporal=part("encoder_temporal", TEMPORAL, code),
        vector_field=vector_field,
        solver=Solver.from_config(settings),
        training_solver=training_solver(config),
    )


def _build_part(
    key: str,
    name: str | None,
    kwargs: dict[str, Any],
    registry: dict[str, type[Part]],
    given: dict[str, int],
) -> Part | None:
    if name is None:
        return None
    if name not in registry:
        available = ", ".join(registry) or "none"
        raise ConfigError(f"model.{key}: {name} is not available; available: {available}")
    accepted = inspect.signature(registry[name]).parameters
    for option, value in kwargs.items():
        if option not in accepted:
            raise ConfigError(
                f"model.{key}_kwargs.{option}: {name} has no such option; it has {', '.join(accepted)}"
            )
        if not isinstance(value, wanted := accepted[option].annotation):
            raise ConfigError(
                f"model.{key}_kwargs.{option}: found {value!r}, wanted {getattr(wanted, '__name__', wanted)}"
            )
    return registry[name](**{**given, **kwargs})

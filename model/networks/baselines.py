"""Networks of the baselines in the Occupancy Flow paper: ONet 4D and PSGN 4D.

net = build_model(load_config("pointcloud/onet4d"))
_, c = net.encode_inputs(inputs)               # inputs [B, 17, N, 3] → [B, c_dim]
logits = net.decode(points, None, c, t)        # points [B, P, 3] at times t [B] → [B, P]

net = build_model(load_config("pointcloud/psgn4d"))
clouds = net(inputs)                           # [B, 17, 1024, 3]
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from model.networks.decoders import Decoder, Occupancy
from model.networks.posteriors import posterior


class OccupancyNetwork4D(nn.Module):
    """ONet 4D: occupancy of (x, y, z, t) from one code, without correspondence between frames."""

    def __init__(
        self, decoder: Decoder, encoder_temporal: nn.Module | None, encoder_latent: nn.Module | None
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.encoder_temporal = encoder_temporal
        self.encoder_latent = encoder_latent

    def encode_inputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Shape code [B, 0], since shape and motion share a code, and the motion code [B, c_dim]."""
        none = torch.empty(len(inputs), 0, device=inputs.device)
        return none, none if self.encoder_temporal is None else self.encoder_temporal(inputs)

    def infer_z(self, inputs: Tensor, c: Tensor, data: dict[str, Tensor] | None = None) -> Normal:
        """Posterior of the latent code [B, z_dim]; [B, 0] without a latent encoder."""
        return posterior(self.encoder_latent, inputs, c, data or {})

    def decode(self, points: Tensor, z: Tensor | None, c: Tensor, t: Tensor) -> Tensor:
        """Occupancy logits [B, P] of points [B, P, 3] at times t [B]."""
        times = t.reshape(-1, 1, 1).expand(*points.shape[:2], 1)  # [B, P, 1]
        logits: Tensor = self.decoder(torch.cat([points, times], dim=2), z, c)
        return logits

    def occupancy(self, z: Tensor | None, c: Tensor, t: float) -> Occupancy:
        """`decode` for one sequence and time: z [1, z_dim] or None, c [1, c_dim]; points [P, 3] → [P]."""
        decoder = self.decoder.precompute(z, c)

        def occupancy(points: Tensor) -> Tensor:
            return decoder(torch.cat([points, points.new_full((len(points), 1), t)], dim=1))

        return occupancy

    def differentiable_occupancy(self, z: Tensor | None, c: Tensor, t: float) -> Occupancy:
        """The same as a function that can be differentiated, in inference mode as well."""
        with torch.inference_mode(mode=False):  # whose tensors cannot be saved for a backward pass
            z, c = None if z is None else z.clone(), c.clone()
            time = torch.tensor([t], device=c.device)
        return lambda points: self.decode(points[None], z, c, time)[0]


class PointSetGeneration4D(nn.Module):
    """PSGN 4D: point j corresponds in all frames of the output."""

    def __init__(self, decoder: "PointSetDecoder", encoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.encoder = encoder

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [B, T, N, 3] or [B, T, 3, H, W] → clouds [B, n_steps, n_points, 3]."""
        clouds: Tensor = self.decoder(self.encoder(inputs))
        return clouds


class PointSetDecoder(nn.Module):
    """`simple`: four linear layers, c [B, c_dim] → [B, n_steps, n_points, dim].

    `hidden_size` and `legacy` occur in published configs and have no effect.
    """

    def __init__(
        self,
        c_dim: int,
        dim: int = 3,
        n_points: int = 1024,
        n_steps: int = 17,
        hidden_dim: int = 512,
        hidden_size: int = 0,  # noqa: ARG002
        legacy: bool = False,  # noqa: ARG002
    ) -> None:
        super().__init__()
        self.shape = (n_steps, n_points, dim)
        self.fc_0 = nn.Linear(c_dim, hidden_dim)
        self.fc_1 = nn.Linear(hidden_dim, hidden_dim)
        self.fc_2 = nn.Linear(hidden_dim, hidden_dim)
        self.fc_out = nn.Linear(hidden_dim, n_steps * n_points * dim)

    def forward(self, c: Tensor) -> Tensor:
        x = self.fc_1(F.relu(self.fc_0(c)))
        x = self.fc_2(F.relu(x))
        clouds: Tensor = self.fc_out(F.relu(x)).reshape(-1, *self.shape)
        return clouds


POINT_SET_DECODERS: dict[str, type[PointSetDecoder]] = {"simple": PointSetDecoder}

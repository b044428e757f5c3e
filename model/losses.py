"""What training minimises: occupancy at t = 0 and at a random time, tracked particles, and the codes' KL.

    terms = losses(net, batch, config)    # {"loss": …, "recon_t0": …, "corr": …}, scalars
    terms["loss"].backward()

`training.parts` picks the halves: the shape half (encoder, decoder) and the flow half (temporal encoder,
velocity field) share no weights, so each can be trained alone, at a fraction of the cost of a joint step.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from model.config import Config
from model.errors import InputError
from model.occupancy_flow import OccupancyFlow

Batch = dict[str, Tensor]
Terms = dict[str, Tensor]
Parts = Literal["joint", "shape", "flow"]

FIELDS: dict[str, tuple[str, ...]] = {  # that each term reads, besides the inputs
    "kl": (),
    "recon_t0": ("points", "points.occ"),
    "recon_t": ("points_t", "points_t.occ", "points_t.time"),
    "corr": ("pointcloud", "pointcloud.time"),
}
HALVES: dict[str, tuple[str, ...]] = {
    "shape": ("encoder", "decoder"),
    "flow": ("encoder_temporal", "vector_field"),
}


def losses(net: OccupancyFlow, batch: Batch, config: Config) -> Terms:
    """The terms by name, each a scalar as it enters `loss`, their sum.

    Batch: inputs [B, T, N, 3]; points [B, P, 3] with points.occ [B, P] at t = 0; points_t, points_t.occ and
    points_t.time [B]; pointcloud [B, T, M, 3] with pointcloud.time [B, T]. What no term needs may be absent.
    """
    wanted = loss_terms(config)
    _require(batch, needed_fields(config))
    inputs = batch["inputs"]
    none = inputs.new_empty(len(inputs), 0)
    c_s = net.encode_shape(inputs) if config.training.parts != "flow" else none
    c_t = net.encode_motion(inputs) if config.training.parts != "shape" else none
    q_z, q_zt = net.infer_z(inputs, c_t, batch)
    z, z_t = q_z.rsample(), q_zt.rsample()  # [B, z_dim] each
    terms: Terms = {}
    if "kl" in wanted:
        terms["kl"] = config.model.vae_beta * (_divergence(q_z) + _divergence(q_zt))
    if "recon_t0" in wanted:
        terms["recon_t0"] = _reconstruction(net, batch["points"], batch["points.occ"], z, c_s)
    if "recon_t" in wanted:
        back = net.transform_to_t0(batch["points_t.time"], batch["points_t"], z_t, c_t)
        terms["recon_t"] = _reconstruction(net, back, batch["points_t.occ"], z, c_s)
    if "corr" in wanted:
        terms["corr"] = correspondence_loss(net, batch, z_t, c_t, config.model.loss_corr_bw)
    return terms | {"loss": torch.stack(list(terms.values())).sum()}


def correspondence_loss(
    net: OccupancyFlow, batch: Batch, z_t: Tensor | None, c_t: Tensor, backward: bool = False
) -> Tensor:
    """Mean distance of carried particles from the true ones: from the first frame to each later one.

    With `backward` all frames count, t = 0 too, and a second term for the way from the last frame back.
    """
    clouds, times = batch["pointcloud"], batch["pointcloud.time"][0]  # [B, T, M, 3], [T]
    if not backward:
        moved = net.transform_to_t(times[1:], clouds[:, 0], z_t, c_t)  # [B, T - 1, M, 3]
        return _distance(moved, clouds[:, 1:])
    there = net.transform_to_t(times, clouds[:, 0], z_t, c_t)
    back = net.transform_to_t_backward(times, clouds[:, -1], z_t, c_t)  # at 1 - t
    return _distance(there, clouds) + _distance(back, clouds.flip(1))


def loss_terms(config: Config) -> list[str]:
    """The terms that a config asks for: those of `model.loss_…`, as far as they concern `training.parts`."""
    model, parts = config.model, config.training.parts
    asked = {
        "kl": model.z_dim > 0,
        "recon_t0": model.loss_recon and parts != "flow",
        "recon_t": model.loss_recon and parts == "joint",
        "corr": model.loss_corr and parts != "shape",
    }
    return [term for term, is_asked in asked.items() if is_asked]


def needed_fields(config: Config) -> list[str]:
    """The fields of a training batch that the losses of a config read."""
    return ["inputs"] + [field for term in loss_terms(config) for field in FIELDS[term]]


def choose_parts(net: nn.Module, parts: Parts) -> None:
    """Let gradients go to the parameters of a half alone, or of all parts."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(parts == "joint" or name.split(".")[0] in HALVES[parts])


def _reconstruction(
    net: OccupancyFlow, points: Tensor, occupancies: Tensor, z: Tensor | None, c_s: Tensor
) -> Tensor:
    logits = net.decode(points, z, c_s).float()  # [B, P]
    return F.binary_cross_entropy_with_logits(logits, occupancies)


def _distance(moved: Tensor, true: Tensor) -> Tensor:
    apart: Tensor = torch.linalg.vector_norm(moved - true, dim=-1)  # [B, T, M]
    return apart.mean()


def _divergence(posterior: Normal) -> Tensor:
    """KL divergence from N(0, I), the mean over a batch [B, z_dim]."""
    prior = Normal(torch.zeros_like(posterior.loc), torch.ones_like(posterior.scale))
    divergence: Tensor = kl_divergence(posterior, prior)  # [B, z_dim]
    return divergence.sum(dim=-1).mean()


def _require(batch: Batch, fields: list[str]) -> None:
    if missing := [field for field in fields if field not in batch]:
        raise InputError(
            f"the batch lacks {', '.join(missing)}, which the losses of this config read; "
            f"found {', '.join(batch)}"
        )

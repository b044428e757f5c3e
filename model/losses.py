"""What training minimises: occupancy at t = 0 and at a random time, tracked particles, and the codes' KL; for
the baselines, occupancy at a random time, and the Chamfer distance of point sets.

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

from model.config.schema import Config
from model.errors import InputError
from model.networks.baselines import OccupancyNetwork4D, PointSetGeneration4D
from model.networks.build import Network
from model.networks.occupancy_flow import OccupancyFlow

Batch = dict[str, Tensor]
Terms = dict[str, Tensor]
Parts = Literal["joint", "shape", "flow"]

FIELDS: dict[str, tuple[str, ...]] = {  # that each term reads, besides the inputs
    "kl": (),
    "recon_t0": ("points", "points.occ"),
    "recon_t": ("points_t", "points_t.occ", "points_t.time"),
    "corr": ("pointcloud", "pointcloud.time"),
    "recon": ("points_t", "points_t.occ", "points_t.time"),
    "chamfer": ("points_mesh",),
}
HALVES: dict[str, tuple[str, ...]] = {
    "shape": ("encoder", "decoder"),
    "flow": ("encoder_temporal", "vector_field"),
}


def losses(net: Network, batch: Batch, config: Config) -> Terms:
    """The terms by name, each a scalar as it enters `loss`, their sum.

    Batch: inputs [B, T, N, 3]; points [B, P, 3] with points.occ [B, P] at t = 0; points_t, points_t.occ and
    points_t.time [B]; pointcloud [B, T, M, 3] with pointcloud.time [B, T]; points_mesh [B, T, M, 3]. What no
    term needs may be absent.
    """
    _require(batch, needed_fields(config))
    if isinstance(net, OccupancyFlow):
        terms = _flow_terms(net, batch, config)
    elif isinstance(net, OccupancyNetwork4D):
        terms = _occupancy_terms(net, batch, config)
    else:
        terms = {"chamfer": chamfer_loss(net, batch, config.model.loss_corr)}
    return terms | {"loss": torch.stack(list(terms.values())).sum()}


def inputs_of(batch: Batch) -> Tensor:
    """The inputs, or [B, 0] for a model that has none."""
    if "inputs" in batch:
        return batch["inputs"]
    some = next(iter(batch.values()))
    return torch.empty(len(some), 0, device=some.device)


def _flow_terms(net: OccupancyFlow, batch: Batch, config: Config) -> Terms:
    wanted = loss_terms(config)
    inputs = inputs_of(batch)
    none = torch.empty(len(inputs), 0, device=inputs.device)
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
    return terms


def _occupancy_terms(net: OccupancyNetwork4D, batch: Batch, config: Config) -> Terms:
    inputs = inputs_of(batch)
    _, c = net.encode_inputs(inputs)
    q_z = net.infer_z(inputs, c, batch)
    logits = net.decode(batch["points_t"], q_z.rsample(), c, batch["points_t.time"]).float()  # [B, P]
    terms = {"recon": F.binary_cross_entropy_with_logits(logits, batch["points_t.occ"])}
    return terms | ({"kl": config.model.vae_beta * _divergence(q_z)} if "kl" in loss_terms(config) else {})


def chamfer_loss(net: PointSetGeneration4D, batch: Batch, of_trajectories: bool) -> Tensor:
    """Squared distances to the nearest point, the mean of each way, summed; of each frame, or of whole
    trajectories, whose squared distance is the sum over the frames.
    """
    clouds, truth = net(batch["inputs"]).float(), batch["points_mesh"]  # [B, T, P, 3], [B, T, M, 3]
    if clouds.shape[1] != truth.shape[1]:
        raise InputError(f"this network gives {clouds.shape[1]} frames; found {truth.shape[1]} in the data")
    if of_trajectories:
        clouds, truth = (points.transpose(1, 2).flatten(2) for points in (clouds, truth))  # [B, P, 3 T]
    else:
        clouds, truth = clouds.flatten(0, 1), truth.flatten(0, 1)  # [B T, P, 3]
    return _to_nearest(truth, clouds) + _to_nearest(clouds, truth)


def _to_nearest(points: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of points [B, P, D] to the nearest of target [B, M, D]."""
    with torch.no_grad():
        nearest = torch.stack([torch.cdist(*pair).argmin(dim=1) for pair in zip(points, target, strict=True)])
    found = target.gather(1, nearest[..., None].expand_as(points))  # [B, P, D]
    distance: Tensor = (points - found).square().sum(dim=-1).mean()
    return distance


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
    if config.method == "psgn4d":
        return ["chamfer"]
    if config.method == "onet4d":
        return ["recon", *(["kl"] if model.z_dim else [])]
    asked = {
        "kl": model.z_dim > 0,
        "recon_t0": model.loss_recon and parts != "flow",
        "recon_t": model.loss_recon and parts == "joint",
        "corr": model.loss_corr and parts != "shape",
    }
    return [term for term, is_asked in asked.items() if is_asked]


def needed_fields(config: Config) -> list[str]:
    """The fields of a training batch that the losses of a config read."""
    inputs = ["inputs"] if config.data.input_type else []
    return inputs + [field for term in loss_terms(config) for field in FIELDS[term]]


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
    """KL divergence from N(0, I), the mean over the dimensions of a batch [B, z_dim]."""
    prior = Normal(torch.zeros_like(posterior.loc), torch.ones_like(posterior.scale))
    divergence: Tensor = kl_divergence(posterior, prior)  # [B, z_dim]
    return divergence.mean()


def _require(batch: Batch, fields: list[str]) -> None:
    if missing := [field for field in fields if field not in batch]:
        raise InputError(
            f"the batch lacks {', '.join(missing)}, which the losses of this config read; "
            f"found {', '.join(batch)}"
        )

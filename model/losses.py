"""Loss functions. Methods combine them; see `model.methods`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from model.errors import InputError

if TYPE_CHECKING:
    from model.networks.occupancy_flow import OccupancyFlow

Batch = dict[str, Tensor]


def inputs_of(batch: Batch) -> Tensor:
    """The inputs of a batch; [B, 0] for a model without inputs."""
    if "inputs" in batch:
        return batch["inputs"]
    field = next(iter(batch.values()))
    return torch.empty(len(field), 0, device=field.device)


def occupancy_loss(logits: Tensor, occupancies: Tensor) -> Tensor:
    """Binary cross-entropy of logits [B, P] and occupancies [B, P], computed in float32."""
    return F.binary_cross_entropy_with_logits(logits.float(), occupancies)


def kl_loss(posterior: Normal) -> Tensor:
    """KL divergence of a posterior [B, z_dim] from N(0, I), averaged over batch and dimensions."""
    return kl_divergences(posterior).mean()


def kl_divergences(posterior: Normal) -> Tensor:
    """KL divergence [B] of each item's posterior [B, z_dim] from N(0, I), averaged over dimensions."""
    zeros, ones = torch.zeros_like(posterior.loc), torch.ones_like(posterior.scale)
    prior = Normal(zeros, ones, validate_args=False)
    divergence: Tensor = kl_divergence(posterior, prior)  # [B, z_dim]
    return divergence.mean(dim=1)


def chamfer_loss(clouds: Tensor, target: Tensor, of_trajectories: bool = False) -> Tensor:
    """Chamfer distance of clouds [B, T, P, 3] and target [B, T, M, 3]: mean squared distances to the nearest
    point, summed over both directions.

    Computed per frame; or of trajectories, whose squared distance is the sum over the frames. Raises
    InputError for different numbers of frames.
    """
    clouds = clouds.float()
    if clouds.shape[1] != target.shape[1]:
        raise InputError(f"this network gives {clouds.shape[1]} frames; found {target.shape[1]} in the data")
    if of_trajectories:
        clouds, target = (points.transpose(1, 2).flatten(2) for points in (clouds, target))  # [B, P, 3 T]
    else:
        clouds, target = clouds.flatten(0, 1), target.flatten(0, 1)  # [B T, P, 3]
    return _nearest_squared_distance(target, clouds) + _nearest_squared_distance(clouds, target)


def _nearest_squared_distance(points: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance from points [B, P, D] to the nearest of target [B, M, D]."""
    with torch.no_grad():
        nearest = torch.stack([torch.cdist(*pair).argmin(dim=1) for pair in zip(points, target, strict=True)])
    found = target.gather(1, nearest[..., None].expand_as(points))  # [B, P, D]
    distance: Tensor = (points - found).square().sum(dim=-1).mean()
    return distance


def correspondence_loss(
    net: OccupancyFlow, batch: Batch, z_t: Tensor | None, c_t: Tensor, backward: bool = False
) -> Tensor:
    """Mean distance between integrated and true trajectories, from the first frame to all later frames.

    With `backward` all frames count, including t = 0, and a second term is added for the integration from the
    last frame back in time.
    """
    clouds, times = batch["pointcloud"], batch["pointcloud.time"][0]  # [B, T, M, 3], [T]
    if not backward:
        moved = net.transform_to_t(times[1:], clouds[:, 0], z_t, c_t)  # [B, T - 1, M, 3]
        return _mean_distance(moved, clouds[:, 1:])
    forward = net.transform_to_t(times, clouds[:, 0], z_t, c_t)
    back = net.transform_to_t_backward(times, clouds[:, -1], z_t, c_t)  # at 1 - t
    return _mean_distance(forward, clouds) + _mean_distance(back, clouds.flip(1))


def _mean_distance(points: Tensor, target: Tensor) -> Tensor:
    distance: Tensor = torch.linalg.vector_norm(points - target, dim=-1)  # [B, T, M]
    return distance.mean()

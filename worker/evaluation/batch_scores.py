"""The metrics of a network on a batch that it does not learn from: per item, lists by name."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.config.schema import Config
from model.losses import chamfer_loss, inputs_of
from model.metrics import iou
from model.networks.baselines import OccupancyNetwork4D, PointSetGeneration4D
from model.networks.build import Network
from model.networks.occupancy_flow import OccupancyFlow

Batch = dict[str, Tensor]
Scores = dict[str, list[float]]


def score(net: Network, batch: Batch, config: Config) -> Scores:
    """Each metric's values for the items of a batch."""
    if isinstance(net, OccupancyFlow):
        return _score_flow(net, batch, config)
    if isinstance(net, OccupancyNetwork4D):
        return _score_occupancy(net, batch, config)
    return _score_point_sets(net, batch, config)


def _score_flow(net: OccupancyFlow, batch: Batch, config: Config) -> Scores:
    parts, inputs = config.training.parts, inputs_of(batch)
    none = torch.empty(len(inputs), 0, device=inputs.device)
    c_s = net.encode_shape(inputs) if parts != "flow" else none
    c_t = net.encode_motion(inputs) if parts != "shape" else none
    q_z, q_zt = net.infer_z(inputs, c_t, batch)
    is_drawn = config.training.eval_sample
    z, z_t = (q.rsample() if is_drawn else q.mean for q in (q_z, q_zt))
    scores: Scores = {}
    if net.decoder is not None and "points" in batch and parts != "flow":
        frames = 1 if parts == "shape" else batch["points"].shape[1]
        points, occupancies = batch["points"][:, :frames], batch["points.occ"][:, :frames]  # [B, T, P(, 3)]
        times = batch["points.time"][:, :frames].flatten()  # [B T]
        each = [code.repeat_interleave(frames, dim=0) for code in (z, z_t, c_s, c_t)]  # [B T, …]
        points = points.flatten(0, 1)  # [B T, P, 3]: each frame an item of its own time
        if frames > 1:
            points = net.transform_to_t0(times, points, each[1], each[3])
        logits = net.decode(points, each[0], each[2]).reshape(occupancies.shape)  # [B, T, P]
        scores |= _occupancy_scores(logits, occupancies, config.test.threshold)
    if "points_mesh" in batch and parts != "shape":
        truth, times = batch["points_mesh"], batch["points_mesh.time"][0]  # [B, T, M, 3], [T]
        moved = net.transform_to_t(times, truth[:, 0], z_t, c_t)
        if config.model.loss_corr_bw:  # from both ends, each the more weighty the nearer it is
            back = net.transform_to_t_backward(1 - times, truth[:, -1], z_t, c_t)
            moved = torch.lerp(moved, back, times[:, None, None])
        scores["l2"] = (moved - truth).norm(dim=-1).mean(dim=(1, 2)).tolist()
    return scores


def _score_occupancy(net: OccupancyNetwork4D, batch: Batch, config: Config) -> Scores:
    inputs = inputs_of(batch)
    _, c = net.encode_inputs(inputs)
    q_z = net.infer_z(inputs, c, batch)
    z = q_z.rsample() if config.training.eval_sample else q_z.mean
    name = "points_iou" if "points_iou" in batch else "points"  # the former in the published layout
    points, occupancies = batch[name], batch[f"{name}.occ"]  # [B, T, P(, 3)]
    frames = points.shape[1]
    z, c = (code.repeat_interleave(frames, dim=0) for code in (z, c))  # [B T, …]
    logits = net.decode(points.flatten(0, 1), z, c, batch[f"{name}.time"].flatten())
    return _occupancy_scores(logits.reshape(occupancies.shape), occupancies, config.test.threshold)


def _score_point_sets(net: PointSetGeneration4D, batch: Batch, config: Config) -> Scores:
    items = [{name: value[[i]] for name, value in batch.items()} for i in range(len(batch["inputs"]))]
    return {"chamfer": [chamfer_loss(net, item, config.model.loss_corr).item() for item in items]}


def _occupancy_scores(logits: Tensor, occupancies: Tensor, threshold: float) -> Scores:
    error = F.binary_cross_entropy_with_logits(logits, occupancies, reduction="none").mean(dim=-1)  # [B, T]
    ratio = iou(logits.sigmoid().cpu().numpy(), occupancies.cpu().numpy(), threshold)  # [B, T]
    return {
        "iou": np.nanmean(ratio, axis=1).tolist(),
        "iou_t0": ratio[:, 0].tolist(),
        "rec_error": error.mean(dim=1).tolist(),
        "rec_error_t0": error[:, 0].tolist(),
    }

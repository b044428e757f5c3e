"""How good a network is on windows that it does not learn from."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from model.config import Config
from model.errors import ConfigError
from model.metrics import iou
from model.occupancy_flow import OccupancyFlow
from worker.training.batches import Source, leave_signals_to_the_parent, to_device
from worker.training.processes import Processes

Metrics = dict[str, float]


@torch.no_grad()
def validate(
    net: OccupancyFlow, source: Source, config: Config, device: str, processes: Processes | None = None
) -> Metrics:
    """Means over the windows: `iou` and `rec_error` over all frames (`iou_t0`, `rec_error_t0` at t = 0, which
    is all of them for the shape half), `l2`, the mean distance of carried particles, and `loss`, the sum of
    those that training minimises.

    The flow goes through `model.ode_solver`, in one solve for all frames.
    """
    processes = processes or Processes()
    training = config.training
    count = min(len(source), training.n_val_items or len(source))
    if count < processes.count:
        raise ConfigError(f"the validation split holds {count} windows; wanted {processes.count} or more")
    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        Subset(source, range(processes.rank, count, processes.count)),  # type: ignore[arg-type]
        batch_size=training.batch_size_val,
        num_workers=min(training.num_workers, count),
        worker_init_fn=leave_signals_to_the_parent,
    )
    was_training = net.training
    net.eval()
    scores: list[dict[str, list[float]]] = [_score(net, to_device(batch, device), config) for batch in loader]
    net.train(was_training)
    metrics = {}
    for name in scores[0]:
        values = [value for batch in scores for value in batch[name] if not math.isnan(value)]
        total, number = processes.mean([sum(values), len(values)], device)
        metrics[name] = total / number if number else math.nan
    minimised = {"rec_error": config.model.loss_recon, "l2": config.model.loss_corr}
    metrics["loss"] = sum(metrics.get(name, 0.0) for name, counts in minimised.items() if counts)
    return metrics


def selection(metrics: Metrics, config: Config) -> float:
    """The value of the metric that models are chosen by."""
    wanted = config.training.model_selection_metric
    if wanted not in metrics:
        raise ConfigError(
            f"training.model_selection_metric is {wanted}, and validation yields {', '.join(metrics)}"
        )
    return metrics[wanted]


def worst(config: Config) -> float:
    """What any model is better than."""
    return -math.inf if config.training.model_selection_mode == "maximize" else math.inf


def is_better(value: float, best: float, config: Config) -> bool:
    return value > best if config.training.model_selection_mode == "maximize" else value < best


def _score(net: OccupancyFlow, batch: dict[str, Tensor], config: Config) -> dict[str, list[float]]:
    """Each metric's values for the items (and frames) of a batch."""
    parts, inputs = config.training.parts, batch["inputs"]
    c_s = net.encode_shape(inputs) if parts != "flow" else inputs.new_empty(len(inputs), 0)
    c_t = net.encode_motion(inputs) if parts != "shape" else inputs.new_empty(len(inputs), 0)
    q_z, q_zt = net.infer_z(inputs, c_t, batch)
    is_drawn = config.training.eval_sample
    z, z_t = (q.rsample() if is_drawn else q.mean for q in (q_z, q_zt))
    scores: dict[str, list[float]] = {}
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
        scores["l2"] = (moved - truth).norm(dim=-1).mean(dim=(1, 2)).tolist()
    return scores


def _occupancy_scores(logits: Tensor, occupancies: Tensor, threshold: float) -> dict[str, list[float]]:
    error = F.binary_cross_entropy_with_logits(logits, occupancies, reduction="none").mean(dim=-1)  # [B, T]
    ratio = iou(logits.sigmoid().cpu().numpy(), occupancies.cpu().numpy(), threshold)  # [B, T]
    return {
        "iou": np.nanmean(ratio, axis=1).tolist(),
        "iou_t0": ratio[:, 0].tolist(),
        "rec_error": error.mean(dim=1).tolist(),
        "rec_error_t0": error[:, 0].tolist(),
    }

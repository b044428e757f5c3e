"""Validation metrics that methods share."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal

from model.losses import kl_divergences
from model.metrics import iou


def occupancy_scores(logits: Tensor, occupancies: Tensor, threshold: float) -> dict[str, list[float]]:
    """Metrics of logits [B, T, P] by name, one value per item of the batch.

    `iou` and `rec_error` (binary cross-entropy) are means over all frames; `iou_t0`, `rec_error_t0` and so on
    are those of each.
    """
    error = F.binary_cross_entropy_with_logits(logits, occupancies, reduction="none").mean(dim=-1)  # [B, T]
    ratio = iou(logits.sigmoid().cpu().numpy(), occupancies.cpu().numpy(), threshold)  # [B, T]
    means = {"iou": np.nanmean(ratio, axis=1).tolist(), "rec_error": error.mean(dim=1).tolist()}
    return means | by_frame("iou_t", ratio.tolist()) | by_frame("rec_error_t", error.tolist())


def by_frame(name: str, rows: list[list[float]], first: int = 0) -> dict[str, list[float]]:
    """Values of T frames for each of B items as `<name><frame>`, numbered from `first` on."""
    return {f"{name}{frame}": list(values) for frame, values in enumerate(zip(*rows, strict=True), first)}


def kl_scores(posteriors: dict[str, Normal], weight: float = 1.0) -> dict[str, list[float]]:
    """KL divergences [B] of posteriors [B, z_dim] from N(0, I), times `weight`, by the names given, and `kl`,
    their sum; 0 without latent codes.
    """
    if not all(posterior.loc.shape[1] for posterior in posteriors.values()):
        values = {name: torch.zeros(len(posterior.loc)) for name, posterior in posteriors.items()}
    else:
        values = {name: weight * kl_divergences(posterior) for name, posterior in posteriors.items()}
    scores = {name: value.tolist() for name, value in values.items()}
    return scores | {"kl": torch.stack(list(values.values())).sum(dim=0).tolist()}

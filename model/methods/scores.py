"""Validation metrics that methods share."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from model.metrics import iou


def occupancy_scores(logits: Tensor, occupancies: Tensor, threshold: float) -> dict[str, list[float]]:
    """Metrics of logits [B, T, P] by name, one value per item of the batch.

    `iou` and `rec_error` (binary cross-entropy) are means over all frames; `iou_t0` and `rec_error_t0` are
    those of the first.
    """
    error = F.binary_cross_entropy_with_logits(logits, occupancies, reduction="none").mean(dim=-1)  # [B, T]
    ratio = iou(logits.sigmoid().cpu().numpy(), occupancies.cpu().numpy(), threshold)  # [B, T]
    return {
        "iou": np.nanmean(ratio, axis=1).tolist(),
        "iou_t0": ratio[:, 0].tolist(),
        "rec_error": error.mean(dim=1).tolist(),
        "rec_error_t0": error[:, 0].tolist(),
    }

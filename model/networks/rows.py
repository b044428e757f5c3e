"""Gathering of rows whose gradient is accumulated in float32.

The gradient of indexing is accumulated in the dtype of the features and, on a GPU, sorts the indices first.
"""

from typing import Any

import torch
from torch import Tensor


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.count, ctx.kind = len(x), x.dtype
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,), (gradient,) = ctx.saved_tensors, gradients
        total = torch.zeros(ctx.count, gradient.shape[1], dtype=torch.float32, device=gradient.device)
        return total.index_add_(0, rows, gradient.float()).to(ctx.kind), None


def take(x: Tensor, rows: Tensor) -> Tensor:
    """Rows [..., C] of x [n, C] at indices `rows` [...], int64."""
    taken: Tensor = _Take.apply(x, rows.reshape(-1))  # type: ignore[no-untyped-call]
    return taken.reshape(*rows.shape, x.shape[1])

"""Linear layers for inference on many rows; the reference is `F.linear`.

On a CPU, oneDNN is called directly, with prepacked weights and the subsequent ReLU or addition fused into the
product: the default backend (MKL) has half the speed on processors not made by Intel. In bfloat16 the factors
are rounded, products are accumulated in float32, and sums of results are float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.devices import CPU_CHUNK


class FusedLinear:
    """x [P, in] → x @ weight.T + bias [P, out] for weight [out, in]; without gradients."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype).contiguous()
        self.packed = (
            torch.ops.mkldnn._reorder_linear_weight(self.weight, CPU_CHUNK) if _fuses(weight) else None
        )

    def __call__(self, x: Tensor) -> Tensor:
        return self._apply(x, "none")

    def relu(self, x: Tensor) -> Tensor:
        """ReLU of the result."""
        return self._apply(x, "relu")

    def add_to(self, rows: Tensor, x: Tensor) -> Tensor:
        """Add the result to rows [P, out], possibly in place; returns the dtype of `rows`."""
        if self.packed is not None and rows.dtype == x.dtype == self.weight.dtype:
            fused: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, rows, self.packed, self.bias, "add")
            return fused
        return rows.add_(self(x))

    def _apply(self, x: Tensor, activation: str) -> Tensor:
        x = x.to(self.weight.dtype)
        if self.packed is not None:
            fused: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, activation, [], "")
            return fused
        result = F.linear(x, self.weight, self.bias)
        return result.relu_() if activation == "relu" else result


def _fuses(weight: Tensor) -> bool:
    """Whether the weight is on the CPU and this build of torch has the fused operators of its compiler."""
    return (
        weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )

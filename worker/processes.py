"""One process, or several that train one network on parts of each batch (torchrun; NCCL on GPUs, else Gloo).

Gradients are averaged by DistributedDataParallel. Batch norms take the statistics of the joint batch, so that
several processes compute what one would.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """How many there are and which one this is; 0 writes files and talks."""

    count: int = 1
    rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def rows(self, batch_size: int) -> range:
        """Which items of the joint batch are this process's."""
        if batch_size % self.count:
            raise ConfigError(
                f"training.batch_size is {batch_size}, over {self.count} processes; wanted a multiple"
            )
        own = batch_size // self.count
        return range(self.rank * own, (self.rank + 1) * own)

    def mean(self, values: list[float], device: str) -> list[float]:
        """The mean over the processes of numbers that each of them has."""
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(tensor)
        return [value / self.count for value in tensor.tolist()]

    def wrap(self, step: nn.Module, device: str) -> nn.Module:
        """A module that is trained by all processes together."""
        if self.count == 1:
            return step
        ids = [torch.device(device).index] if device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(step, device_ids=ids)


def join_processes(device: str) -> tuple[Processes, str]:
    """The processes that torchrun started, and this one's device; without torchrun one process alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes(), device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Processes(count, dist.get_rank()), device


def leave_processes(processes: Processes) -> None:
    if processes.count > 1:
        dist.destroy_process_group()


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 - as autograd calls it
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _summed(gradient)


def _sum_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]
    return total


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


class JointBatchNorm1d(nn.BatchNorm1d):
    """Batch norm over the batches of all processes, [B, F, P] each; torch's own runs on GPUs alone."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float()
        count = x.shape[0] * x.shape[2] * dist.get_world_size()
        mean = _sum_over_processes(x.sum(dim=(0, 2))) / count  # [F]
        centred = x - mean[:, None]
        variance = _sum_over_processes(centred.square().sum(dim=(0, 2))) / count  # [F]
        self._keep(mean.detach(), variance.detach() * count / (count - 1))
        normalized: Tensor = centred * torch.rsqrt(variance + self.eps)[:, None]
        return normalized.to(input.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        for name, value in (("running_mean", mean), ("running_var", variance)):
            self.get_buffer(name).lerp_(value, self.momentum or 0.0)
        self.get_buffer("num_batches_tracked").add_(1)


def join_batch_norms(net: nn.Module, processes: Processes) -> None:
    """Let the batch norms of a network take the statistics of all processes' batches."""
    if processes.count == 1:
        return
    for module in net.modules():
        if type(module) is nn.BatchNorm1d and not module.affine:
            module.__class__ = JointBatchNorm1d  # buffers, their names and settings stay

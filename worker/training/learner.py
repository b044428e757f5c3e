"""One step of learning: losses, gradients, Adam, and the average of the weights."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from model.config.schema import Config
from model.methods import losses
from worker.processes import Processes
from worker.training.average import WeightAverage

BACKEND = "inductor"  # of torch.compile
FIRST_SCALE = 1024.0  # of gradients in half precision


class LossStep(nn.Module):
    """The losses as a module's forward, which is what DistributedDataParallel wraps."""

    def __init__(self, net: nn.Module, config: Config) -> None:
        super().__init__()
        self.net, self.config = net, config

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return losses(self.net, batch, self.config)


class Learner:
    """A network on its device, its optimizer and, with `training.average_decay`, its averaged weights."""

    def __init__(self, net: nn.Module, config: Config, device: str, processes: Processes) -> None:
        training = config.training
        self.net, self.device, self.training = net, device, training
        step: nn.Module = LossStep(net, config)
        if training.compile:
            step.compile(backend=BACKEND)
        self.step = processes.wrap(step, device)
        # Half precision has few exponents: gradients are kept in range by a factor, which begins low enough
        # not to lose the first steps.
        self.scaler = torch.amp.GradScaler(
            torch.device(device).type, init_scale=FIRST_SCALE, enabled=training.precision == "fp16"
        )
        self.parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(  # Adam, with the default weight_decay of 0
            self.parameters,
            training.learning_rate,
            betas=(training.betas[0], training.betas[1]),
            weight_decay=training.weight_decay,
            fused=True,
        )
        decay = training.average_decay
        self.average = WeightAverage(net, decay) if decay is not None else None

    def learn(self, batch: Any, rate: float, step: int) -> dict[str, Tensor]:
        """One step: the loss terms and the norm of the gradient, scalars that the device may still compute.

        A gradient that is not finite changes nothing.
        """
        training = self.training
        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        kind = torch.device(self.device).type
        dtype = torch.float16 if training.precision == "fp16" else torch.bfloat16
        with torch.autocast(kind, dtype=dtype, enabled=training.precision in ("bf16", "fp16")):
            terms = self.step(batch)
        self.scaler.scale(terms["loss"]).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, training.clip_gradient_norm or float("inf"))
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
            norm = norm.where(norm.isfinite(), 0.0)  # too large a factor, which is smaller from now on
        else:
            # How a fused optimizer is told to change nothing, without waiting for the device.
            self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        if self.average is not None:
            self.average.update(step)
        return {name: term.detach().float() for name, term in terms.items()} | {"gradient_norm": norm.float()}

    def averaged(self) -> AbstractContextManager[None]:
        """In it, the network has the averaged weights, where there are any."""
        return nullcontext() if self.average is None else self.average.in_place()

"""The exponential moving average of weights in training, which is validated and kept in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follows the parameters of `net`, faster at the start; buffers are those of the last step."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net, self.decay = net, decay
        self.restart()

    def restart(self) -> None:
        """Begin with the present weights."""
        self.state = _copy(self.net)

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """After the step that makes `steps` of them."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        names = [name for name, _ in self.net.named_parameters()]
        own = dict(self.net.state_dict())
        torch._foreach_lerp_([self.state[name] for name in names], [own[name] for name in names], 1 - decay)
        for name, _ in self.net.named_buffers():
            if name in self.state:
                self.state[name].copy_(own[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let `net` have the averaged weights for a while."""
        own = _copy(self.net)
        self.net.load_state_dict(self.state)
        try:
            yield
        finally:
            self.net.load_state_dict(own)


def _copy(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}

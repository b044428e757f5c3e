"""Encoders of inputs. `SPATIAL` and `TEMPORAL` map the config's names to what builds them.

An encoder reads the whole input, [B, T, N, 3] for point clouds, and returns a code [B, c_dim]; a spatial one
looks at frame 0. Max pooling makes the code independent of the order of the points and open to any number.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.errors import ConfigError, InputError
from model.networks.image_encoders import ConvEncoder3D, ResNet18
from model.networks.layers import ResnetBlockFC

CHUNK = 65_536  # points held in memory at a time where no gradient is wanted


class PointNet(nn.Module):
    """StageProgress with the maximum over all points joined to each point's features in between.

    Subclasses say what the stages are and what is read of the input.
    """

    def __init__(self, c_dim: int, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.fc_pos = nn.Linear(dim, 2 * hidden_dim)
        self.fc_c = nn.Linear(hidden_dim, c_dim)

    def stages(self) -> Sequence[nn.Module]:
        """Maps [B, N, 2h] → [B, N, h], in order."""
        raise NotImplementedError

    def read(self, inputs: Tensor) -> Tensor:
        """What the net sees of [B, T, N, 3]: here frame 0, [B, N, 3]."""
        return inputs[:, 0]

    def forward(self, inputs: Tensor) -> Tensor:
        points = self.read(inputs)  # [B, N, dim]
        if torch.is_grad_enabled() or points.shape[1] <= CHUNK:
            return self.encode(points)
        return self.encode_in_chunks(points, CHUNK)

    def encode(self, points: Tensor) -> Tensor:
        """[B, N, dim] → [B, c_dim]"""
        first, *others = self.stages()
        features = first(self.fc_pos(points))  # [B, N, h]
        for stage in others:
            features = stage(join_maximum(features))
        return self._readout(features.amax(1))

    def encode_in_chunks(self, points: Tensor, chunk: int) -> Tensor:
        """The same from `chunk` points at a time: memory is bounded, early stages are computed again."""
        maxima: list[Tensor] = []  # of each stage so far, [B, 1, h]
        for _ in self.stages():
            parts = [
                self._features(part, maxima).amax(1, keepdim=True)
                for part in torch.split(points, chunk, dim=1)
            ]
            maxima.append(torch.stack(parts).amax(0))
        return self._readout(maxima[-1][:, 0])

    def _features(self, points: Tensor, maxima: list[Tensor]) -> Tensor:
        first, *others = self.stages()
        features: Tensor = first(self.fc_pos(points))  # [B, N, h]
        for stage, maximum in zip(others, maxima, strict=False):
            features = stage(_join(features, maximum))
        return features

    def _readout(self, maximum: Tensor) -> Tensor:
        code: Tensor = self.fc_c(F.relu(maximum))
        return code


class ResnetPointNet(PointNet):
    """`pointnet_resnet`, spatial: five residual blocks."""

    def __init__(self, c_dim: int, dim: int = 3, hidden_dim: int = 512) -> None:
        super().__init__(c_dim, dim, hidden_dim)
        for level in range(5):
            self.add_module(f"block_{level}", ResnetBlockFC(2 * hidden_dim, hidden_dim))

    def stages(self) -> Sequence[nn.Module]:
        return [self.get_submodule(f"block_{level}") for level in range(5)]


class SimplePointNet(PointNet):
    """`pointnet_simple`, spatial: four linear layers with ReLU before each."""

    def __init__(self, c_dim: int, dim: int = 3, hidden_dim: int = 512) -> None:
        super().__init__(c_dim, dim, hidden_dim)
        for level in range(4):
            self.add_module(f"fc_{level}", nn.Linear(2 * hidden_dim, hidden_dim))

    def stages(self) -> Sequence[nn.Module]:
        return [nn.Sequential(nn.ReLU(), self.get_submodule(f"fc_{level}")) for level in range(4)]


class TemporalResnetPointNet(ResnetPointNet):
    """`pointnet_resnet`, temporal: each point is its whole trajectory, so row j must be one particle.

    `dim` is 3 · the number of frames; `use_only_first_pcl` reads frame 0 alone.
    """

    def __init__(
        self, c_dim: int, dim: int | None = None, hidden_dim: int = 512, use_only_first_pcl: bool = False
    ) -> None:
        super().__init__(c_dim, dim or (3 if use_only_first_pcl else 51), hidden_dim)
        self.use_only_first_pcl = use_only_first_pcl

    def read(self, inputs: Tensor) -> Tensor:
        if self.use_only_first_pcl:
            return inputs[:, 0]
        if 3 * inputs.shape[1] != self.dim:
            raise InputError(f"this encoder reads {self.dim // 3} frames; found {inputs.shape[1]}")
        return inputs.transpose(1, 2).flatten(2)  # [B, N, 3 T]


class TwoStreamPointNet(nn.Module):
    """`pointnet_2stream`, temporal: one net reads first and last cloud; half of the code is of each."""

    def __init__(self, c_dim: int, dim: int = 3, hidden_dim: int = 512) -> None:
        super().__init__()
        if c_dim % 2:
            raise ConfigError(f"model.c_dim: found {c_dim}, wanted an even number for pointnet_2stream")
        self.resnet_pointnet = ResnetPointNet(c_dim // 2, dim, hidden_dim)

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.shape[1] != 2:
            raise InputError(
                f"this encoder reads the first and the last cloud; found {inputs.shape[1]} frames"
            )
        return torch.cat([self.resnet_pointnet(inputs[:, [end]]) for end in (0, 1)], dim=1)


def sequence_embedding(c_dim: int, num_embeddings: int, learn_embedding: bool = False) -> nn.Module:
    """`idx`: a code for each of `num_embeddings` training sequences; inputs are their numbers [B].

    With `learn_embedding`, 128 values a sequence and a linear map common to all.
    """
    if not learn_embedding:
        return nn.Embedding(num_embeddings, c_dim)
    return nn.Sequential(nn.Embedding(num_embeddings, 128), nn.Linear(128, c_dim))


def join_maximum(features: Tensor) -> Tensor:
    """The maximum over all points beside the features of each: [B, N, h] → [B, N, 2h]."""
    return _join(features, features.amax(1, keepdim=True))


def _join(features: Tensor, maximum: Tensor) -> Tensor:
    return torch.cat([features, maximum.expand_as(features)], dim=2)  # [B, N, 2h]


Builder = Callable[..., nn.Module]

SPATIAL: dict[str, Builder] = {
    "pointnet_resnet": ResnetPointNet,
    "pointnet_simple": SimplePointNet,
    "resnet18": ResNet18,
    "idx": sequence_embedding,
}
TEMPORAL: dict[str, Builder] = {
    "pointnet_resnet": TemporalResnetPointNet,
    "pointnet_2stream": TwoStreamPointNet,
    "conv_3D": ConvEncoder3D,
    "idx": sequence_embedding,
}

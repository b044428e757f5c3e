"""Input encoders. `SPATIAL` and `TEMPORAL` map the config's names to constructors.

An encoder maps the complete input, [B, T, N, 3] for point clouds, to a code [B, c_dim]; spatial ones read
frame 0. Max pooling makes codes invariant to the order of the points and allows any number of them.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.errors import ConfigError, InputError
from model.networks.image_encoders import ConvEncoder3D, ResNet18
from model.networks.layers import ResnetBlockFC

CHUNK_SIZE = 65_536  # points processed together at inference


class PointNet(nn.Module):
    """Stages of pointwise layers; between stages the maximum over all points is concatenated to each point.

    Subclasses define the stages, modules by name, and the part of the input that is read.
    """

    def __init__(self, c_dim: int, dim: int, hidden_dim: int, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.dim = dim
        self.fc_pos = nn.Linear(dim, 2 * hidden_dim)
        for name, part in parts.items():
            self.add_module(name, part)
        self.fc_c = nn.Linear(hidden_dim, c_dim)

    def stages(self) -> Sequence[nn.Module]:
        """Modules [B, N, 2h] → [B, N, h], in order."""
        raise NotImplementedError

    def read(self, inputs: Tensor) -> Tensor:
        """Points [B, N, dim] read from inputs [B, T, N, 3]: frame 0."""
        return inputs[:, 0]

    def forward(self, inputs: Tensor) -> Tensor:
        points = self.read(inputs)  # [B, N, dim]
        if torch.is_grad_enabled() or points.shape[1] <= CHUNK_SIZE:
            return self.encode(points)
        return self.encode_in_chunks(points, CHUNK_SIZE)

    def encode(self, points: Tensor) -> Tensor:
        """[B, N, dim] → [B, c_dim]"""
        first, *others = self.stages()
        features = first(self.fc_pos(points))  # [B, N, h]
        for stage in others:
            features = stage(join_maximum(features))
        return self._readout(features.amax(1))

    def encode_in_chunks(self, points: Tensor, chunk_size: int) -> Tensor:
        """`encode`, `chunk_size` points at a time: bounds the memory, but recomputes early stages."""
        maxima: list[Tensor] = []  # of each stage so far, [B, 1, h]
        for _ in self.stages():
            parts = [
                self._features(part, maxima).amax(1, keepdim=True)
                for part in torch.split(points, chunk_size, dim=1)
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
        blocks = {f"block_{level}": ResnetBlockFC(2 * hidden_dim, hidden_dim) for level in range(5)}
        super().__init__(c_dim, dim, hidden_dim, blocks)

    def stages(self) -> Sequence[nn.Module]:
        return [self.get_submodule(f"block_{level}") for level in range(5)]


class SimplePointNet(PointNet):
    """`pointnet_simple`, spatial: four linear layers, each after a ReLU."""

    def __init__(self, c_dim: int, dim: int = 3, hidden_dim: int = 512) -> None:
        layers = {f"fc_{level}": nn.Linear(2 * hidden_dim, hidden_dim) for level in range(4)}
        super().__init__(c_dim, dim, hidden_dim, layers)

    def stages(self) -> Sequence[nn.Module]:
        return [nn.Sequential(nn.ReLU(), self.get_submodule(f"fc_{level}")) for level in range(4)]


class TemporalResnetPointNet(ResnetPointNet):
    """`pointnet_resnet`, temporal: each point is a complete trajectory, so row j must be the same particle.

    `dim` is 3 times the number of frames; with `use_only_first_pcl` only frame 0 is read.
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
    """`pointnet_2stream`, temporal: one network encodes first and last cloud, half of the code each."""

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
    """`idx`: a code for each of `num_embeddings` training sequences; inputs are their indices [B].

    With `learn_embedding`, an embedding of 128 dimensions and a shared linear map.
    """
    if not learn_embedding:
        return nn.Embedding(num_embeddings, c_dim)
    return nn.Sequential(nn.Embedding(num_embeddings, 128), nn.Linear(128, c_dim))


def join_maximum(features: Tensor) -> Tensor:
    """Concatenate the maximum over all points to the features of each: [B, N, h] → [B, N, 2h]."""
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

"""Encoders of image sequences [B, T, 3, H, W], RGB from 0 to 1."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResNet18(nn.Module):
    """`resnet18`, spatial: a residual network (He et al., CVPR 2016) on the first frame.

    `features` has the names and shapes of torchvision's resnet18 without the last layer. With `pretrained`,
    as published, training starts from its weights for ImageNet; a network itself begins with random ones.
    """

    def __init__(
        self,
        c_dim: int,
        normalize: bool = True,
        use_linear: bool = True,
        pretrained: bool = True,  # noqa: ARG002 - read by training
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.features = ResNetFeatures()
        if not use_linear and c_dim != ResNetFeatures.WIDTH:
            raise ValueError(
                f"resnet18 without a linear layer returns {ResNetFeatures.WIDTH} values; found c_dim {c_dim}"
            )
        self.fc = nn.Linear(ResNetFeatures.WIDTH, c_dim) if use_linear else nn.Identity()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION)[:, None, None], persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        images = inputs[:, 0]  # [B, 3, H, W]
        if self.normalize:
            images = (images - self.get_buffer("mean")) / self.get_buffer("deviation")
        code: Tensor = self.fc(self.features(images))
        return code


class ResNetFeatures(nn.Module):
    """Images [B, 3, H, W] → [B, 512]: a stem, four stages of two blocks, global average pooling."""

    WIDTH = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64), BasicBlock(64, 64))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, stride=2), BasicBlock(128, 128))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, stride=2), BasicBlock(256, 256))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, stride=2), BasicBlock(512, self.WIDTH))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(images))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        features: Tensor = x.mean(dim=(2, 3))
        return features


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norms and a shortcut, with a 1×1 convolution if sizes differ."""

    def __init__(self, size_in: int, size_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size_in, size_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(size_out)
        self.conv2 = nn.Conv2d(size_out, size_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(size_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or size_in != size_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(size_in, size_out, 1, stride=stride, bias=False), nn.BatchNorm2d(size_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        update = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(shortcut + update)


class ConvEncoder3D(nn.Module):
    """`conv_3D`, temporal: six convolutions over time and image, global average pooling."""

    STRIDES = ((1, 2, 2), (2, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    WIDTHS = (1, 2, 4, 8, 16, 16)  # multiples of `hidden_dim`

    def __init__(self, c_dim: int, hidden_dim: int = 32) -> None:
        super().__init__()
        widths = [3, *(hidden_dim * width for width in self.WIDTHS)]
        for i, stride in enumerate(self.STRIDES):
            convolution = nn.Conv3d(widths[i], widths[i + 1], 3, stride=stride, padding=1)
            self.add_module(f"conv{i}", convolution)
        self.fc_out = nn.Linear(widths[-1], c_dim)

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs.transpose(1, 2)  # [B, 3, T, H, W]
        for i in range(len(self.STRIDES)):
            x = self.get_submodule(f"conv{i}")(F.relu(x) if i else x)
        code: Tensor = self.fc_out(F.relu(x.mean(dim=(2, 3, 4))))
        return code

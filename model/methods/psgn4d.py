"""PSGN 4D: point clouds of all frames from one code; a baseline of the Occupancy Flow paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.methods.method import Method, Split

if TYPE_CHECKING:
    from torch import Tensor

    from model.config.schema import Config
    from model.networks.baselines import PointSetGeneration4D


class PointSetGeneration4DMethod(Method["PointSetGeneration4D"]):
    name = "psgn4d"
    gives = "point clouds"

    def task(self, config: Config) -> str:  # noqa: ARG002
        return "point sets"

    def build(self, config: Config) -> PointSetGeneration4D:
        from model.networks.baselines import POINT_SET_DECODERS, PointSetGeneration4D
        from model.networks.build import required_part
        from model.networks.encoders import TEMPORAL

        code = {"c_dim": config.model.c_dim}
        return PointSetGeneration4D(
            decoder=required_part(config, "decoder", POINT_SET_DECODERS, {**code, "dim": config.data.dim}),
            encoder=required_part(config, "encoder", TEMPORAL, code),  # it encodes whole sequences
        )

    def loss_fields(self, config: Config) -> dict[str, tuple[str, ...]]:  # noqa: ARG002
        return {"chamfer": ("points_mesh",)}

    def dataset_fields(self, config: Config, split: Split) -> tuple[str, ...]:  # noqa: ARG002
        return ("points_mesh",)

    def losses(
        self, net: PointSetGeneration4D, batch: dict[str, Tensor], config: Config
    ) -> dict[str, Tensor]:
        from model.losses import chamfer_loss

        clouds = net(batch["inputs"])  # [B, T, P, 3]
        return {"chamfer": chamfer_loss(clouds, batch["points_mesh"], config.model.loss_corr)}

    def score(
        self, net: PointSetGeneration4D, batch: dict[str, Tensor], config: Config
    ) -> dict[str, list[float]]:
        """`chamfer`, the loss."""
        items = [{name: value[[i]] for name, value in batch.items()} for i in range(len(batch["inputs"]))]
        return {"chamfer": [self.losses(net, item, config)["chamfer"].item() for item in items]}

    def minimized_metrics(self, config: Config) -> tuple[str, ...]:  # noqa: ARG002
        return ("chamfer",)

"""Occupancy Flow on local point features: any moving thing, from clouds whose points do not correspond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from model.methods.method import Method

if TYPE_CHECKING:
    from torch import Tensor

    from model.config.schema import Config
    from model.networks.local_occupancy_flow import LocalOccupancyFlow


class LocalOccupancyFlowMethod(Method["LocalOccupancyFlow"]):
    """The shape half learns occupancy from single clouds, the flow half displacements between two."""

    name = "local_oflow"
    datasets = ("solids",)
    halves: ClassVar = {"shape": ("shape",), "flow": ("flow",)}

    def find_conflict(self, config: Config) -> str | None:
        if config.data.input_type != "pcl_seq":
            return f"data.input_type is {config.data.input_type}; method {self.name} reads pcl_seq"
        return None

    def task(self, config: Config) -> str:  # noqa: ARG002
        return "completion"

    def build(self, config: Config) -> LocalOccupancyFlow:  # noqa: ARG002
        from model.networks.local_occupancy_flow import LocalOccupancyFlow

        return LocalOccupancyFlow()

    def loss_fields(self, config: Config) -> dict[str, tuple[str, ...]]:
        """No fields: batches are clouds or pairs of clouds, drawn on the device."""
        return {"occupancy": ()} if config.training.parts == "shape" else {"motion": ()}

    def losses(self, net: LocalOccupancyFlow, batch: Any, config: Config) -> dict[str, Tensor]:
        from model.displacement_loss import motion_loss
        from model.losses import occupancy_loss

        if config.training.parts == "shape":
            logits = net.shape(batch.points, batch.queries)  # [B, Q]
            return {"occupancy": occupancy_loss(logits, batch.occupied.float())}
        motion, found = net.flow(batch.first, batch.second, batch.queries, batch.share)
        return {"motion": motion_loss(motion, found, batch)}

    def score(self, net: LocalOccupancyFlow, batch: Any, config: Config) -> dict[str, list[float]]:
        """Of one held-out set: `iou`, `rec_error` and `iou_<set>`, or `l2` and `l2_<set>` by motion."""
        from model.methods.local_scores import cloud_scores, pair_scores

        if config.training.parts == "shape":
            return cloud_scores(net.shape, batch)
        return pair_scores(net.flow, batch)

    def minimized_metrics(self, config: Config) -> tuple[str, ...]:
        return ("rec_error",) if config.training.parts == "shape" else ("l2",)

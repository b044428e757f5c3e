"""ONet 4D: occupancy of (x, y, z, t); a baseline of the Occupancy Flow paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.methods.method import Method, Split

if TYPE_CHECKING:
    from torch import Tensor

    from model.config.schema import Config
    from model.networks.baselines import OccupancyNetwork4D


class OccupancyNetwork4DMethod(Method["OccupancyNetwork4D"]):
    name = "onet4d"
    extracts = True

    def task(self, config: Config) -> str:  # noqa: ARG002
        return "occupancy at every time"

    def build(self, config: Config) -> OccupancyNetwork4D:
        from model.networks.baselines import OccupancyNetwork4D
        from model.networks.build import optional_part, required_part
        from model.networks.decoders import DECODERS
        from model.networks.encoders import TEMPORAL
        from model.networks.latent_encoders import LATENT

        settings = config.model
        code, codes = {"c_dim": settings.c_dim}, {"c_dim": settings.c_dim, "z_dim": settings.z_dim}
        return OccupancyNetwork4D(
            decoder=required_part(config, "decoder", DECODERS, {**codes, "dim": config.data.dim + 1}),
            encoder_temporal=optional_part(config, "encoder_temporal", TEMPORAL, code),
            encoder_latent=optional_part(config, "encoder_latent", LATENT, codes),
        )

    def loss_fields(self, config: Config) -> dict[str, tuple[str, ...]]:
        kl: dict[str, tuple[str, ...]] = {"kl": ()} if config.model.z_dim else {}
        return {"recon": ("points_t", "points_t.occ", "points_t.time")} | kl

    def dataset_fields(self, config: Config, split: Split) -> tuple[str, ...]:  # noqa: ARG002
        fields: dict[Split, tuple[str, ...]] = {"train": ("points_t",), "val": ("points_iou",), "test": ()}
        return fields[split]

    def losses(self, net: OccupancyNetwork4D, batch: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
        from model.losses import inputs_of, kl_loss, occupancy_loss

        inputs = inputs_of(batch)
        _, c = net.encode_inputs(inputs)
        q_z = net.infer_z(inputs, c, batch)
        logits = net.decode(batch["points_t"], q_z.rsample(), c, batch["points_t.time"])  # [B, P]
        terms = {"recon": occupancy_loss(logits, batch["points_t.occ"])}
        return terms | ({"kl": kl_loss(q_z)} if config.model.z_dim else {})  # without vae_beta, as published

    def score(
        self, net: OccupancyNetwork4D, batch: dict[str, Tensor], config: Config
    ) -> dict[str, list[float]]:
        """`iou` and `rec_error` of occupancy, also by frame, and `kl`."""
        from model.losses import inputs_of
        from model.methods.scores import kl_scores, occupancy_scores

        inputs = inputs_of(batch)
        _, c = net.encode_inputs(inputs)
        q_z = net.infer_z(inputs, c, batch)
        z = q_z.rsample() if config.training.eval_sample else q_z.mean
        name = "points_iou" if "points_iou" in batch else "points"  # the former in the published layout
        points, occupancies = batch[name], batch[f"{name}.occ"]  # [B, T, P(, 3)]
        z, c = (code.repeat_interleave(points.shape[1], dim=0) for code in (z, c))  # [B T, …]
        logits = net.decode(points.flatten(0, 1), z, c, batch[f"{name}.time"].flatten())
        scores = occupancy_scores(logits.reshape(occupancies.shape), occupancies, config.test.threshold)
        return scores | kl_scores({"kl": q_z})

    def minimized_metrics(self, config: Config) -> tuple[str, ...]:  # noqa: ARG002
        return ("rec_error", "kl")

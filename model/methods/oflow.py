"""Occupancy Flow: occupancy at t = 0 and a velocity field (Niemeyer et al., ICCV 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from model.errors import ConfigError
from model.methods.method import Method, Split

if TYPE_CHECKING:
    from torch import Tensor

    from model.config.schema import Config
    from model.networks.occupancy_flow import OccupancyFlow


class OccupancyFlowMethod(Method["OccupancyFlow"]):
    """The shape half learns occupancy at t = 0, the flow half trajectories, both together all occupancy."""

    name = "oflow"
    extracts = True
    halves: ClassVar = {"shape": ("encoder", "decoder"), "flow": ("encoder_temporal", "vector_field")}

    def find_conflict(self, config: Config) -> str | None:
        model, parts = config.model, config.training.parts
        if model.z_dim and parts != "joint":
            return (
                f"training.parts is {parts} and model.z_dim {model.z_dim}: latent encoders belong to neither "
                "half and would not be trained; wanted joint"
            )
        if parts == "shape" and not model.loss_recon:
            return "training.parts shape is trained by model.loss_recon only, which is false; wanted true"
        if parts == "flow" and not model.loss_corr:
            return "training.parts flow is trained by model.loss_corr only, which is false; wanted true"
        if not model.loss_recon and not model.loss_corr:
            return "model.loss_recon and model.loss_corr are both false; wanted one of them true"
        return None

    def task(self, config: Config) -> str:
        generation = config.generation
        if generation.interpolate and generation.correspondence:
            raise ConfigError(
                f"{config.name}: generation.interpolate and generation.correspondence are both true; "
                "a model is for one of them"
            )
        if generation.interpolate:
            return "interpolation"
        if generation.correspondence:
            return "shape matching"
        if config.model.z_dim:
            return "generative"
        if config.data.input_type == "img_seq":
            return "images"
        return "completion" if config.data.input_type == "pcl_seq" else "representation power"

    def build(self, config: Config) -> OccupancyFlow:
        from model.flow.ode import training_solver
        from model.flow.torchdiffeq_solver import TorchdiffeqSolver
        from model.networks.build import embedding_options, optional_part, required_part
        from model.networks.decoders import DECODERS
        from model.networks.encoders import SPATIAL, TEMPORAL
        from model.networks.latent_encoders import LATENT
        from model.networks.occupancy_flow import OccupancyFlow
        from model.networks.velocity_field import VELOCITY_FIELDS

        settings = config.model
        code, codes = {"c_dim": settings.c_dim}, {"c_dim": settings.c_dim, "z_dim": settings.z_dim}
        if settings.z_dim and not settings.encoder_latent:
            raise ConfigError(
                f"model.z_dim is {settings.z_dim} and model.encoder_latent is null; wanted both or neither"
            )
        spatial, temporal = (code | embedding_options(config, key) for key in ("encoder", "encoder_temporal"))
        return OccupancyFlow(
            decoder=optional_part(config, "decoder", DECODERS, {**codes, "dim": config.data.dim}),
            encoder=optional_part(config, "encoder", SPATIAL, spatial),
            encoder_temporal=optional_part(config, "encoder_temporal", TEMPORAL, temporal),
            encoder_latent=optional_part(config, "encoder_latent", LATENT, codes),
            encoder_latent_temporal=optional_part(config, "encoder_latent_temporal", LATENT, codes),
            vector_field=required_part(config, "velocity_field", VELOCITY_FIELDS, codes),
            solver=TorchdiffeqSolver.from_config(settings),
            training_solver=training_solver(config),
        )

    def loss_fields(self, config: Config) -> dict[str, tuple[str, ...]]:
        model, parts = config.model, config.training.parts
        terms: dict[str, tuple[str, ...]] = {}
        if model.z_dim:
            terms["kl"] = ()
        if model.loss_recon and parts != "flow":
            terms["recon_t0"] = ("points", "points.occ")
        if model.loss_recon and parts == "joint":
            terms["recon_t"] = ("points_t", "points_t.occ", "points_t.time")
        if model.loss_corr and parts != "shape":
            terms["corr"] = ("pointcloud", "pointcloud.time")
        return terms

    def dataset_fields(self, config: Config, split: Split) -> tuple[str, ...]:
        model, generation = config.model, config.generation
        if split == "train":
            return (
                *(("points", "points_t") if model.loss_recon else ()),
                *(("pointcloud",) if model.loss_corr else ()),
            )
        if split == "val":
            return ("points", "points_mesh")
        return ("mesh",) if generation.interpolate or generation.correspondence else ()

    def losses(self, net: OccupancyFlow, batch: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
        from model.losses import correspondence_loss, inputs_of, kl_loss, occupancy_loss

        inputs, wanted = inputs_of(batch), self.loss_fields(config)
        c_s, c_t = _encode(net, inputs, config)
        q_z, q_zt = net.infer_z(inputs, c_t, batch)
        z, z_t = q_z.rsample(), q_zt.rsample()  # [B, z_dim] each
        terms: dict[str, Tensor] = {}
        if "kl" in wanted:
            terms["kl"] = config.model.vae_beta * (kl_loss(q_z) + kl_loss(q_zt))
        if "recon_t0" in wanted:
            terms["recon_t0"] = occupancy_loss(net.decode(batch["points"], z, c_s), batch["points.occ"])
        if "recon_t" in wanted:
            at_0 = net.transform_to_t0(batch["points_t.time"], batch["points_t"], z_t, c_t)  # [B, P, 3]
            terms["recon_t"] = occupancy_loss(net.decode(at_0, z, c_s), batch["points_t.occ"])
        if "corr" in wanted:
            terms["corr"] = correspondence_loss(net, batch, z_t, c_t, config.model.loss_corr_bw)
        return terms

    def score(self, net: OccupancyFlow, batch: dict[str, Tensor], config: Config) -> dict[str, list[float]]:
        """`iou` and `rec_error` of occupancy, `l2` of trajectories, also by frame; only of the half that is
        trained. `kl` is the sum of `kl_1` of the shape and `kl_2` of the motion.
        """
        import torch

        from model.losses import inputs_of
        from model.methods.scores import by_frame, kl_scores, occupancy_scores

        parts, inputs = config.training.parts, inputs_of(batch)
        c_s, c_t = _encode(net, inputs, config)
        q_z, q_zt = net.infer_z(inputs, c_t, batch)
        z, z_t = (q.rsample() if config.training.eval_sample else q.mean for q in (q_z, q_zt))
        scores = kl_scores({"kl_1": q_z, "kl_2": q_zt}, config.model.vae_beta)
        if net.decoder is not None and "points" in batch and parts != "flow":
            frames = 1 if parts == "shape" else batch["points"].shape[1]
            points = batch["points"][:, :frames].flatten(0, 1)  # [B T, P, 3]
            occupancies = batch["points.occ"][:, :frames]  # [B, T, P]
            times = batch["points.time"][:, :frames].flatten()  # [B T]
            # Every frame becomes an item with its own time.
            z_f, z_tf, c_sf, c_tf = (code.repeat_interleave(frames, dim=0) for code in (z, z_t, c_s, c_t))
            if frames > 1:
                points = net.transform_to_t0(times, points, z_tf, c_tf)
            logits = net.decode(points, z_f, c_sf).reshape(occupancies.shape)  # [B, T, P]
            scores |= occupancy_scores(logits, occupancies, config.test.threshold)
        if "points_mesh" in batch and parts != "shape":
            truth, times = batch["points_mesh"], batch["points_mesh.time"][0]  # [B, T, M, 3], [T]
            moved = net.transform_to_t(times, truth[:, 0], z_t, c_t)
            if config.model.loss_corr_bw:  # from both ends, weighted by the distance in time
                back = net.transform_to_t_backward(1 - times, truth[:, -1], z_t, c_t)
                moved = torch.lerp(moved, back, times[:, None, None])
            distance = (moved - truth).norm(dim=-1).mean(dim=2)  # [B, T]
            scores |= {"l2": distance.mean(dim=1).tolist(), **by_frame("l2_", distance.tolist(), first=1)}
        return scores

    def minimized_metrics(self, config: Config) -> tuple[str, ...]:
        wanted = {"kl": True, "rec_error": config.model.loss_recon, "l2": config.model.loss_corr}
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def _encode(net: OccupancyFlow, inputs: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """Codes of shape and motion; [B, 0] for the half that is not trained."""
    none, parts = inputs.new_empty(len(inputs), 0), config.training.parts
    c_s = net.encode_shape(inputs) if parts != "flow" else none
    return c_s, net.encode_motion(inputs) if parts != "shape" else none

"""The sections of a config: their keys, types and bounds.

Every key is required after merging; all defaults are in `configs/default.yaml`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from model.config.names import DatasetName

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Interval = Annotated[int, Field(ge=-1)]  # in iterations; 0 and -1: never
PositiveFloat = Annotated[float, Field(gt=0)]
Kwargs = dict[str, Any]
AdaptiveSolver = Literal["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
FixedStepSolver = Literal["euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams"]


class Section(BaseModel):
    """Base of all sections: unknown keys and type conversions are errors, instances are immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class BodiesConfig(Section):
    """Generation of bodies for `data.dataset: bodies`; lengths relative to the first frame's box."""

    variety: Annotated[float, Field(ge=0, le=1)]
    windows_per_scene: Positive
    turn: Annotated[float, Field(ge=0, le=180)]
    near_surface_share: Annotated[float, Field(ge=0, le=1)]
    near_surface_offset: PositiveFloat
    scan_noise: Annotated[float, Field(ge=0)]
    partial_view_share: Annotated[float, Field(ge=0, le=1)]
    held_out_windows: Positive


class SolidsConfig(Section):
    """Generation of clouds for `data.dataset: solids`."""

    batches: Literal["large", "small"]
    cloud_points: Annotated[list[Annotated[int, Field(ge=16)]], Field(min_length=1)] | None
    held_out_points: Annotated[list[Positive], Field(min_length=1)]
    held_out_view_points: Positive


class DataConfig(Section):
    """Location of sequences or their generation, and sampling of windows."""

    path: str
    dataset: DatasetName
    input_type: Literal["pcl_seq", "end_pointclouds", "img_seq", "idx"] | None
    classes: list[str] | None
    train_split: str | None
    val_split: str | None
    test_split: str | None
    dim: Positive
    n_training_points: Positive
    points_unpackbits: bool
    n_training_pcl_points: Positive
    input_pointcloud_n: Positive
    input_pointcloud_noise: Annotated[float, Field(ge=0)]
    input_pointcloud_corresponding: bool
    n_views: Positive
    n_training_views: Positive
    img_size: Positive
    img_with_camera: bool
    img_augment: bool
    length_sequence: Annotated[int, Field(ge=2)]
    offset_sequence: Count
    n_files_per_sequence: Annotated[int, Field(ge=-1)]
    points_file: str
    mesh_seq_folder: str
    points_iou_seq_folder: str
    pointcloud_seq_folder: str
    img_seq_folder: str
    bodies: BodiesConfig
    solids: SolidsConfig


class ModelConfig(Section):
    """Names and sizes of the network's parts, the solver and the losses."""

    encoder: str | None
    encoder_temporal: str | None
    decoder: str | None
    velocity_field: str | None
    encoder_latent: str | None
    encoder_latent_temporal: str | None
    decoder_kwargs: Kwargs
    encoder_kwargs: Kwargs
    encoder_latent_kwargs: Kwargs
    encoder_temporal_kwargs: Kwargs
    velocity_field_kwargs: Kwargs
    encoder_latent_temporal_kwargs: Kwargs
    learn_embedding: bool
    ode_solver: Literal[AdaptiveSolver, FixedStepSolver]
    ode_step_size: PositiveFloat | None
    use_adjoint: bool
    rtol: PositiveFloat
    atol: PositiveFloat
    vae_beta: Annotated[float, Field(ge=0)]
    loss_corr: bool
    loss_corr_bw: bool
    loss_recon: bool
    initialize_from: str | None
    initialization_file_name: str
    c_dim: Count
    z_dim: Count
    use_camera: bool


class TrainingConfig(Section):
    """Output folder, batch sizes, intervals in iterations, model selection, and the training recipe."""

    out_dir: str
    model_selection_metric: Literal["iou", "l2", "chamfer", "loss"]
    model_selection_mode: Literal["maximize", "minimize"]
    n_eval_points: Positive
    batch_size: Positive
    batch_size_vis: Positive
    batch_size_val: Positive
    print_every: Interval
    visualize_every: Interval
    checkpoint_every: Interval
    validate_every: Interval
    backup_every: Interval
    eval_sample: bool
    learning_rate: PositiveFloat
    parts: Literal["joint", "shape", "flow"]
    gradient: Literal["fixed_step", "adjoint"]
    solver_method: Literal["midpoint", "rk4"]
    solver_steps: Positive
    recompute: bool
    schedule: Literal["constant", "cosine"]
    warmup_iterations: Count
    max_iterations: Positive | None
    max_minutes: PositiveFloat | None
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
    weight_decay: Annotated[float, Field(ge=0)]
    average_decay: Annotated[float, Field(gt=0, lt=1)] | None
    clip_gradient_norm: PositiveFloat | None
    precision: Literal["fp32", "tf32", "bf16", "fp16"]
    seed: Count
    n_val_items: Positive | None
    num_workers: Count | None
    sampling: Literal["replacement", "epochs"]
    compile: bool


class TestConfig(Section):
    """Occupancy threshold (a probability), checkpoint, and metrics of an evaluation."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    eval_mesh: bool
    eval_pointcloud: bool
    project_to_final_mesh: bool
    eval_mesh_correspondences: bool
    eval_mesh_iou: bool
    eval_pointcloud_correspondences: bool
    eval_only_end_time_steps: bool
    model_file: str
    mesh_color: bool | None = None  # in two published files by mistake; no effect


class GenerationConfig(Section):
    """Output of a generation and its resolution."""

    generate_pointcloud: bool
    generate_mesh: bool
    resolution_0: Positive
    upsampling_steps: Count
    refinement_step: Count
    simplify_nfaces: Positive | None
    padding: Annotated[float, Field(ge=0)]
    vis_n_outputs: Annotated[int, Field(ge=-1)] | None  # null and -1: none
    n_time_steps: Annotated[int, Field(ge=2)]
    mesh_color: bool
    interpolate: bool
    correspondence: bool
    only_end_time_points: bool
    fix_z: bool
    fix_zt: bool
    shuffle_generation: bool
    rand_seed: int
    batch_size: Positive
    generation_dir: str
    use_sampling: bool
    copy_input: bool

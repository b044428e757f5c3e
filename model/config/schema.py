"""Typed settings of an experiment, read from YAML with the published names and keys.

A file inherits from the parent named by `inherit_from`, or from `configs/default.yaml`: sections are merged
and its own keys override. Every key is required after merging; all defaults are in `default.yaml`.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from model.config.files import config_names, find_config, holder, merge, read_inherited
from model.errors import ConfigError
from model.methods import METHODS

__all__ = ["Config", "ModelConfig", "config_names", "load_config"]

BUNDLE = (
    Path(__file__).resolve().parent.parent.parent
)  # the folder that holds configs/, in a checkout and in a wheel


def _known_method(name: str) -> str:
    return _one_of(name, list(METHODS))


def _known_dataset(name: str) -> str:
    return _one_of(name, list(dict.fromkeys(name for method in METHODS.values() for name in method.datasets)))


def _one_of(name: str, known: list[str]) -> str:
    """`name` if it is among the `known`, which can grow at run time; a Literal otherwise."""
    if name in known:
        return name
    *others, last = (repr(other) for other in known)
    expected = f"{', '.join(others)} or {last}" if others else last
    raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
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
    held_out_points: Annotated[list[Positive], Field(min_length=1)]
    held_out_view_points: Positive


class DataConfig(Section):
    """Location of sequences or their generation, and sampling of windows."""

    path: str
    dataset: Annotated[str, AfterValidator(_known_dataset)]
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
    print_every: Count
    visualize_every: Count
    checkpoint_every: Count
    validate_every: Count
    backup_every: Count
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
    precision: Literal["fp32", "tf32", "bf16"]
    seed: Count
    n_val_items: Positive | None
    num_workers: Count


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
    vis_n_outputs: Count
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


class Config(Section):
    """All settings of an experiment; `path` is its file and `name` its display name."""

    method: Annotated[str, AfterValidator(_known_method)]
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    test: TestConfig
    generation: GenerationConfig

    _path: Path = PrivateAttr()

    @property
    def path(self) -> Path:
        return self._path

    @property
    def name(self) -> str:
        """`pointcloud/oflow` for configs/pointcloud/oflow.yaml; the stem outside of a configs folder."""
        folder = holder(self._path)
        inside = self._path.relative_to(folder / "configs") if folder else Path(self._path.name)
        return inside.with_suffix("").as_posix()

    def checkpoint_path(self) -> Path | None:
        """The file of `test.model_file`, in `training.out_dir` or next to the config; None if absent."""
        places = (Path(self.training.out_dir), self._path.parent)
        found = (place / self.test.model_file for place in places if (place / self.test.model_file).is_file())
        return next((file.resolve() for file in found), None)

    def initialization_path(self) -> Path | None:
        """The file `model.initialize_from`, or `model.initialization_file_name` in a folder of that name.

        Relative to the working directory or to the config. None if it is null.
        """
        if (given := self.model.initialize_from) is None:
            return None
        named = (Path(given), self._path.parent / given)
        found = [place / self.model.initialization_file_name if place.is_dir() else place for place in named]
        return next((file for file in found if file.is_file()), found[0])


def load_config(path: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a config by path or name (`bodies`, `pointcloud/oflow`); `overrides` replace values of the file.

    Raises ConfigError, which lists every unknown key, wrong type and missing key by its dotted name.
    """
    file = find_config(path)
    values = merge(read_inherited(file), overrides or {})
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{file}: " + "; ".join(map(_explain, error.errors()))) from None
    if conflict := _find_conflict(config):
        raise ConfigError(f"{file}: {conflict}")
    config._path = file
    return config


def _find_conflict(config: Config) -> str | None:
    """Describe settings that contradict each other; None if there are none."""
    model, training = config.model, config.training
    if model.ode_step_size is None and model.ode_solver in get_args(FixedStepSolver):
        return (
            f"model.ode_solver {model.ode_solver} takes fixed steps and model.ode_step_size is null; "
            "wanted a step size in (0, 1], such as 0.05"
        )
    if training.gradient == "adjoint" and not model.use_adjoint:
        return "training.gradient is adjoint and model.use_adjoint is false; wanted true, or fixed_step"
    method = METHODS[config.method]
    if config.data.dataset not in method.datasets:
        return (
            f"data.dataset is {config.data.dataset}, which method {config.method} does not read; wanted "
            f"{' or '.join(method.datasets)}"
        )
    if training.parts != "joint" and training.parts not in method.halves:
        found = f"halves {' and '.join(method.halves)}" if method.halves else "no halves"
        return f"training.parts is {training.parts} and method {config.method} has {found}; wanted joint"
    if conflict := method.find_conflict(config):
        return conflict
    if training.schedule == "cosine" and training.max_iterations is None and training.max_minutes is None:
        return (
            "training.schedule cosine ends at training.max_iterations or training.max_minutes, "
            "which are null; wanted a number for one of them"
        )
    return None


_SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "data.bodies": BodiesConfig,
    "data.solids": SolidsConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "test": TestConfig,
    "generation": GenerationConfig,
}

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a section of keys",
    "model_type": "a section of keys",
}


def _explain(error: ErrorDetails) -> str:
    """Describe an error: the dotted key, what was found, what is wanted."""
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}{_suggestion(key)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    wanted = _WANTED.get(error["type"], error["msg"].removeprefix("Input should be "))
    found = yaml.safe_dump(error["input"], default_flow_style=True).removesuffix("...\n").strip()
    return f"{key}: found {found}, wanted {wanted}"


def _suggestion(key: str) -> str:
    """The most similar known key, first in the same section, then in any other."""
    section, _, name = key.rpartition(".")
    siblings = list(_SECTIONS[section].model_fields) if section else [*Config.model_fields, "inherit_from"]
    elsewhere = {
        leaf: f"{other}.{leaf}" for other, fields in _SECTIONS.items() for leaf in fields.model_fields
    }
    if not (near := get_close_matches(name, siblings, n=1, cutoff=0.75)):
        near = [elsewhere[leaf] for leaf in get_close_matches(name, elsewhere, n=1, cutoff=0.75)]
    elif section:
        near = [f"{section}.{near[0]}"]
    return f" (did you mean {near[0]}?)" if near else ""

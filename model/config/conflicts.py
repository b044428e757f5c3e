"""Settings that contradict each other."""

from typing import TYPE_CHECKING, get_args

from model.config.sections import FixedStepSolver
from model.methods import METHODS

if TYPE_CHECKING:
    from model.config.schema import Config


def find_conflict(config: "Config") -> str | None:
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
    if training.sampling == "epochs" and config.data.dataset != "Humans":
        return (
            f"training.sampling is epochs, and data.dataset {config.data.dataset} has no end; wanted "
            "replacement, or dataset Humans"
        )
    if training.parts != "joint" and training.parts not in method.halves:
        found = f"halves {' and '.join(method.halves)}" if method.halves else "no halves"
        return f"training.parts is {training.parts} and method {config.method} has {found}; wanted joint"
    if config.generation.refinement_step and not (method.extracts and model.decoder):
        return (
            f"generation.refinement_step is {config.generation.refinement_step}, and nothing is extracted "
            f"from an occupancy (method {config.method}, model.decoder {model.decoder}); wanted 0"
        )
    if config.data.points_file != "points.npz":
        return (
            f"data.points_file is {config.data.points_file}, which no data set reads; wanted points.npz, and "
            "the folder of occupancy samples as data.points_iou_seq_folder"
        )
    if conflict := method.find_conflict(config):
        return conflict
    if training.schedule == "cosine" and training.max_iterations is None and training.max_minutes is None:
        return (
            "training.schedule cosine ends at training.max_iterations or training.max_minutes, "
            "which are null; wanted a number for one of them"
        )
    return None

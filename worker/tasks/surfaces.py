"""Settings of the tasks that extract surfaces."""

from typing import Any

from model.config.schema import Config


def output_frames(config: Config) -> int:
    """How many frames a task makes: both ends, or `generation.n_time_steps`."""
    return 2 if config.generation.only_end_time_points else config.generation.n_time_steps


def surface_settings(config: Config) -> dict[str, Any]:
    """All that moving surfaces depend on beside input and weights."""
    kept = ("resolution_0", "upsampling_steps", "padding", "simplify_nfaces", "refinement_step")
    return {
        "threshold": config.test.threshold,
        "frames": output_frames(config),
        **{key: getattr(config.generation, key) for key in kept},
    }

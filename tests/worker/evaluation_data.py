"""What the tests of generation and evaluation share: windows of unseen people, at a coarse resolution."""

from typing import Any

from model import Config, load_config

SAMPLES = 4000


def people(**sections: dict[str, Any]) -> Config:
    """Three windows of people that the shipped model has not seen, as it was trained to see them."""
    overrides: dict[str, dict[str, Any]] = {
        "data": {
            "dataset": "bodies",
            "test_split": "test_new_individual",
            "bodies": {"held_out_windows": 3, "variety": 0.0, "turn": 0.0},
        },
        "training": {"n_eval_points": SAMPLES},
        "generation": {"resolution_0": 32, "upsampling_steps": 0, "copy_input": True},
    }
    for name, values in sections.items():
        overrides[name] = overrides.get(name, {}) | values
    return load_config("bodies", overrides)

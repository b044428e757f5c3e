"""Names, shapes and order of the state_dict are those of the published networks, so that their checkpoints
load: weights by name, and optimizers by the order of the parameters.
"""

import json
from pathlib import Path

import pytest

from model.config.schema import load_config
from model.methods import build_model

TASKS = ("pointcloud", "interpolation", "shape_matching", "generative", "representation_power", "img")
DATA = Path(__file__).parents[2] / "data" / "state_dicts"


PUBLISHED = sorted(DATA.glob("*.json"))


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_names_shapes_and_order(file: Path) -> None:
    task = next(task for task in TASKS if file.stem.startswith(task))
    name = f"{task}/{file.stem.removeprefix(f'{task}_')}"
    published = json.loads(file.read_text())
    net = build_model(load_config(name))
    ours = {key: list(tensor.shape) for key, tensor in net.state_dict().items()}
    assert ours == published
    parameters = [key for key, _ in net.named_parameters()]
    assert parameters == [key for key in published if key in set(parameters)]


def test_names_and_shapes_of_the_other_parts() -> None:
    """Parts that the two published files do not use: names from their description."""
    config = load_config(
        "pointcloud/oflow",
        {
            "model": {
                "encoder": "pointnet_simple",
                "encoder_temporal": None,
                "encoder_temporal_kwargs": {},
                "decoder_kwargs": {"legacy": True},
                "encoder_latent": "pointnet",
                "z_dim": 7,
            }
        },
    )
    shapes = {key: tuple(value.shape) for key, value in build_model(config).state_dict().items()}
    assert shapes["encoder.fc_3.weight"] == (128, 256)
    assert shapes["decoder.block4.bn_1.fc_gamma.weight"] == (256, 128)
    assert shapes["decoder.fc_z.weight"] == (256, 7)
    assert shapes["vector_field.fc_z.4.weight"] == (128, 7)
    assert not any(key.startswith("encoder_temporal") for key in shapes)

"""Between two sequences of the latent space: one code goes straight from the one to the other."""

from collections.abc import Iterator
from typing import Literal

import torch

from model.meshes.sequence import MeshSequence
from worker.tasks.decoding import Decoding
from worker.tasks.generative import codes_of
from worker.tasks.latent_space import LatentSpace
from worker.tasks.loaded import LoadedModel

Code = Literal["motion", "shape"]


def interpolate_codes(
    model: LoadedModel, space: LatentSpace, rows: tuple[int, int], code: Code, steps: int
) -> Iterator[MeshSequence]:
    """`steps` moving meshes, the first with the code of motion or of shape of one row, the last of another.

    The other code stays that of the first row. Raises EmptySurfaceError where there is no surface on the way.
    """
    decoding = Decoding(model)
    (z, z_t), (last_z, last_z_t) = (space.mean(row, model.device) for row in rows)
    mesh = decoding.extract(codes_of(model, z, z_t))
    for weight in torch.linspace(0, 1, steps).tolist():
        if code == "motion":
            yield decoding.carry(mesh, codes_of(model, z, torch.lerp(z_t, last_z_t, weight)))
        else:
            yield decoding(codes_of(model, torch.lerp(z, last_z, weight), z_t))

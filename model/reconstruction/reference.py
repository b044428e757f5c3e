"""Reference implementation of the reconstruction: the published algorithm without any approximation.

`Reconstructor` is the fast implementation. Here every layer is evaluated as it was trained, the surface is
refined from the complete initial grid, and all vertices share one adaptive solve.
"""

import time

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from model.meshes.fit import fit
from model.meshes.sequence import FitReport, MeshSequence
from model.reconstruction.normalization import UnitBox
from model.reconstruction.reconstructor import Reconstructor
from model.surface.extraction import extract_isosurface

CHUNK_SIZE = 100_000  # points evaluated together, as published


@torch.inference_mode()
def reconstruct_reference(
    model: Reconstructor, clouds: NDArray[np.floating], times: ArrayLike
) -> MeshSequence:
    """Reconstruct corresponding clouds [T, N, 3] at evenly spaced times [T]: the mesh at these times."""
    net, config = model.occupancy_flow, model.config
    times = np.asarray(times, np.float64)
    clock = _Clock()

    box = UnitBox.around(clouds[0].astype(np.float64))
    inputs = np.stack([box.normalize(cloud.astype(np.float64)) for cloud in clouds])  # [T, N, 3]
    c_s, c_t = net.encode_inputs(torch.from_numpy(inputs)[None])
    clock.lap("encode")

    vertices, faces = extract_isosurface(
        lambda points: net.decode(points[None], None, c_s)[0],
        config.test.threshold,
        resolution_0=config.generation.resolution_0,
        upsampling_steps=config.generation.upsampling_steps,
        padding=config.generation.padding,
        chunk_size=CHUNK_SIZE,
    )  # [V, 3], [F, 3]
    clock.lap("extract")

    fractions = torch.from_numpy((times - times[0]) / (times[-1] - times[0]))
    start = torch.from_numpy(vertices.astype(np.float32))[None]
    paths = net.transform_to_t(fractions, start, None, c_t)[0].numpy()  # [T, V, 3]
    clock.lap("flow")

    distances = [fit(cloud, moved, faces) for cloud, moved in zip(inputs, paths, strict=True)]
    mean, p95 = box.scale * np.array(distances).T
    clock.lap("fit")
    return MeshSequence(
        vertices=box.denormalize(paths),
        faces=faces.astype(np.int32),
        times=times,
        fit=FitReport(times=times, mean=mean, p95=p95),
        timings=clock.laps,
    )


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage], self._since = now - self._since, now

"""`python -m tests.benchmarks.bodies`: what drawing a body costs while training, and drawing a picture.

Posing comes with every item of a training on generated bodies; a picture with every validation.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import trimesh
from rich.console import Console
from rich.table import Table

from worker.bodies import animate, load_rig
from worker.rendering.pictures import Camera, draw_mesh

ROUNDS = 5


def milliseconds(run: Callable[[], object]) -> float:
    run()  # what is made once is made here
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def main() -> None:
    rig = load_rig()
    body = rig.body(rig.adults[3])
    ball = trimesh.creation.icosphere(subdivisions=5)
    camera = Camera.framing(ball.vertices)
    posed = milliseconds(lambda: animate(rig, body, "knees", np.random.default_rng(1)))
    drawn = milliseconds(lambda: draw_mesh(ball.vertices, ball.faces, None, camera, (400, 400)))
    table = Table("", "milliseconds", title=f"Median of {ROUNDS}")
    table.add_row(f"pose 50 frames of {rig.weights.shape[0]:,} vertices", f"{posed:.1f}")
    table.add_row(f"draw {len(ball.faces):,} faces, 400 x 400 pixels", f"{drawn:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()

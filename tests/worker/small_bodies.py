"""A few moving bodies on disk, for tests that read or learn them."""

from pathlib import Path

from worker.data.bodies_writer import CLASS
from worker.data.body_sequences import BodySequence
from worker.data.frame_writer import Sampling, write_frames


def write_small_bodies(root: Path, actions: tuple[str, ...], frames: int, points: int = 4000) -> None:
    """The same person doing each of these: `root`/bodies/90001_<action>, without lists."""
    sampling = Sampling(points, seed=0, meshes=False)
    for action in actions:
        body = BodySequence(0, action, held_out=False, frames=frames, seed=0, variety=0.0, turn=0.0)
        write_frames(body, root / CLASS / body.name, range(frames), sampling)

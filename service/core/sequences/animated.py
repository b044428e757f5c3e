"""An animated GLB as a sequence: points of its surface at the times of its keys."""

from typing import BinaryIO

import numpy as np

from service.core.sequences.errors import SequenceError
from service.core.sequences.readers.animation import Animation
from service.core.sequences.readers.frame import BytesSource, Frame, invalid
from service.core.sequences.reading import Reading
from service.core.sequences.surfaces import SurfaceSampler
from service.core.sequences.times import UNTIMED_FPS

MAX_WORK = 5_000_000_000  # vertices in all frames, and again for each morph target: half a minute


def read_animation(file: BinaryIO, reading: Reading) -> None:
    """Read every frame; with `fps`, or where there are more keys than frames allowed, at even times."""
    file.seek(0)
    source = BytesSource(file.read(), "file")
    animation = Animation(source)
    times, fps = animation.times, reading.options.fps
    if fps or len(times) > reading.limits.max_frames:
        seconds, rate = float(times[-1] - times[0]), fps or UNTIMED_FPS
        reading.check_limit(reading.limits.max_frames, int(min(seconds * rate, 1e9)) + 1, "file", "frames")
        times = times[0] + np.arange(int(seconds * rate * (1 + 1e-9)) + 1) / rate
    reading.check_limit(MAX_WORK, len(times) * animation.work, "file", "vertices to be moved in all frames")
    sampler = SurfaceSampler(reading.options.sample)
    for index, time in enumerate(times):
        vertices = animation.vertices(float(time))
        if not np.isfinite(vertices).all():
            raise invalid(source, "moves vertices to infinity", f"at {time:g} s", "finite positions")
        frame = sampler.points_of(Frame(vertices.astype(np.float32), faces=animation.faces))
        total = sum(reading.lengths) + len(frame.points)
        reading.check_limit(reading.limits.max_points, total, "file", "points in total")
        reading.add_frame(frame, index, "file")
        if reading.faults:
            raise SequenceError("invalid_sequence", reading.faults)
    reading.check_lengths(False)
    reading.times, reading.corresponding = times - times[0], True

"""The kinds of jobs used by the suite; each always produces the same files."""

import io
from dataclasses import dataclass

import numpy as np

from service.page.samples import SAMPLES


@dataclass(frozen=True)
class Kind:
    """An input sequence and job options."""

    name: str
    formats: str = "glb"
    resolution: int = 128
    frames: int | None = None
    rows: int = 1  # repetitions of the sample's points, for a larger upload

    @property
    def options(self) -> dict[str, object]:
        return {"formats": self.formats, "resolution": self.resolution, "frames": self.frames}

    def content(self) -> bytes:
        """The file to upload."""
        if self.rows == 1:
            return SAMPLES["knees"].path.read_bytes()
        with np.load(SAMPLES["knees"].path) as sample:
            points = np.tile(sample["points"], (1, self.rows, 1))  # [T, rows · N, 3]
        file = io.BytesIO()
        np.savez(file, points=points, corresponding=True)
        return file.getvalue()


# Durations on one of two cores.
QUICK = Kind("quick", resolution=32)  # 1 s
STEADY = Kind("steady", formats="glb,npz")  # 4 s
LONG = Kind("long", formats="obj,npz", resolution=224)  # 14 s
HUNGRY = Kind("hungry", resolution=320)  # needs much memory
MANY_PARTS = Kind("many-parts", formats="npz", frames=100)  # a file of 11 MB, stored in three parts
LARGE_INPUT = Kind("large-input", resolution=32, rows=180)  # an upload of 11 MB
KINDS = (QUICK, STEADY, LONG, MANY_PARTS, LARGE_INPUT)

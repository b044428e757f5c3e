"""Point cloud sequences to try the service with; `README.md` says what they show and how they were made."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["SAMPLES", "Sample"]

_FOLDER = Path(__file__).parent


class Sample(NamedTuple):
    path: Path  # an .npz that `POST /reconstruct` takes as it is
    description: str


SAMPLES = {
    "jumping_jacks": Sample(
        _FOLDER / "jumping_jacks.npz", "A woman throws arms and legs apart in a jumping jack."
    ),
    "knees": Sample(_FOLDER / "knees.npz", "A man pulls his right knee up."),
}

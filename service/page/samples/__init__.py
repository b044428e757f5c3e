"""Sample point cloud sequences; see `README.md` for their contents and origin."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["SAMPLES", "Sample"]

_FOLDER = Path(__file__).parent


class Sample(NamedTuple):
    path: Path  # .npz, accepted as is by `POST /reconstruct`
    description: str


SAMPLES = {
    "jumping_jacks": Sample(_FOLDER / "jumping_jacks.npz", "A woman doing a jumping jack: untracked points"),
    "walker": Sample(
        _FOLDER / "walker.npz",
        "A four-legged animal walking: untracked points, frames of different sizes",
    ),
    "scan": Sample(
        _FOLDER / "scan.npz",
        "A raw scan of a person running on the spot: noisy, with stray points, z up",
    ),
    "knees": Sample(_FOLDER / "knees.npz", "A man raising his right knee: tracked points"),
}

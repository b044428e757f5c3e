"""The result of a job: its files, its fit, and whether to trust it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.core.jobs.formats import Format

DESCRIBED = ConfigDict(use_attribute_docstrings=True)  # OpenAPI shows the strings below fields


class ResultFile(BaseModel):
    format: Annotated[Format | str, Field(union_mode="left_to_right")]  # later versions may know more
    name: str
    bytes: int
    sha256: str


class Thumbnail(BaseModel):
    """A PNG of the mesh, in the middle of the motion."""

    name: str
    bytes: int
    sha256: str


class Mesh(BaseModel):
    vertices: int
    faces: int
    frames: int
    watertight: bool


class Fit(BaseModel):
    """Distance from the input points to the mesh per input frame, in the units of the input.

    It is null in frames that do not show the object.
    """

    model_config = DESCRIBED

    mean: list[float | None]
    p95: list[float | None]
    """95th percentile."""

    @property
    def average(self) -> float:
        """Mean over the frames that show the object."""
        known = [value for value in self.mean if value is not None]
        return sum(known) / len(known)

    @property
    def worst(self) -> float:
        """95th percentile of the worst frame."""
        return max(value for value in self.p95 if value is not None)


class Decisions(BaseModel):
    """What was found out about the input, and done with it."""

    model_config = DESCRIBED

    corresponding: bool
    """Whether row j was used as the same particle in every frame."""
    scatter: float
    """0 if neighboring rows stay neighbors across frames, 1 if rows are shuffled."""
    removed: dict[str, list[int]]
    """Number of points removed from each frame, by reason."""
    keyframe: int
    """Frame whose shape is carried through all others."""
    up: str | None = None
    """Axis of the input that points up: given, recognized or guessed."""
    missing: list[int] = []
    """Frames that do not show the object: the motion is interpolated there."""
    jumps: list[int] = []
    """Frames before which the motion is cut."""
    one_sided: bool = False
    """Whether the points show one side of the object only."""
    smooth: dict[str, float] | None = None
    """Passes of smoothing, and how far they moved vertices, in units of the input."""
    fill_holes: dict[str, int] | None = None
    """Holes that were closed, and faces that were added."""


class Assessment(BaseModel):
    """Whether to trust a result."""

    model_config = DESCRIBED

    verdict: Literal["good", "doubtful", "poor"] | None = None
    reasons: list[str] = []
    """Why the verdict is not good; empty if it is."""
    warnings: list[str] = []
    """What is unusual about the input."""
    decisions: Decisions | None = None


class Result(Assessment):
    files: list[ResultFile]
    thumbnail: Thumbnail | None = None
    mesh: Mesh
    fit: Fit
    timings: dict[str, float]

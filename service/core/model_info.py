"""What a worker says of the model that it has loaded."""

from pydantic import BaseModel


class ModelInput(BaseModel):
    """The input a model reads. Points need not correspond, and frames may differ in size."""

    min_frames: int
    max_frames: int
    min_points: int  # per frame
    max_points: int | None = None  # of a frame that are used; larger frames are sampled
    upright: bool  # whether it knows only things that stand on their feet; see the option `up`


class ModelInfo(BaseModel):
    name: str
    task: str
    input: ModelInput
    checkpoint_sha256: str
    parameters: int
    resolution: int
    threshold: float

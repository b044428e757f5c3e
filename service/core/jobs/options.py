"""The options of a reconstruction."""

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Self, get_origin

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from service.core.addresses import check_address
from service.core.jobs.formats import MAX_FRAMES, MAX_MORPH_FRAMES, Format
from service.core.jobs.option_faults import OptionsError, read_options
from service.core.sequences.errors import Fault
from service.core.sequences.read_options import ReadOptions, Sample
from service.core.strict_json import read_json

RETENTION_LIMIT = 7 * 24 * 3600  # seconds
MAX_METADATA = 16_384  # bytes of JSON without spaces, as it is stored
EXCLUSIVE = (("frames", "fps"), ("duration", "playback_fps"))


class Color(StrEnum):
    NONE = "none"
    INPUT = "input"
    CORRESPONDENCE = "correspondence"


class Animation(StrEnum):
    """How a GLB moves; see `model.meshes.glb`."""

    AUTO = "auto"
    MORPH = "morph"
    SKIN = "skin"


class Quality(StrEnum):
    """Names in `model.reconstruction.quality`, which says what each of them computes."""

    EXACT = "exact"
    BALANCED = "balanced"
    DRAFT = "draft"


class Up(StrEnum):
    """Axes of the input."""

    AUTO = "auto"
    X = "x"
    Y = "y"
    Z = "z"
    MINUS_X = "-x"
    MINUS_Y = "-y"
    MINUS_Z = "-z"


class Cleanup(StrEnum):
    AUTO = "auto"
    DROP_INVALID = "drop_invalid"
    OFF = "off"


class Switch(StrEnum):
    AUTO = "auto"
    OFF = "off"


class ReconstructionOptions(BaseModel):
    """What shapes the result, on a server or without one.

    A field is all that an option needs: form fields, the query, command-line flags, the OpenAPI document and
    the controls of the page are built from its type, bounds, title and description. All fields but `formats`,
    `sample` and those that a format takes are arguments of `model.Reconstructor`.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"not": {"anyOf": [{"required": list(pair)} for pair in EXCLUSIVE]}},
    )

    formats: Annotated[
        tuple[Format, ...], Field(min_length=1, title="Output formats", description="Files to write.")
    ] = (Format.GLB,)
    frames: Annotated[
        int | None,
        Field(
            ge=2,
            le=MAX_FRAMES,
            title="Output frames",
            description="Number of output frames, evenly spaced in time. Excludes `fps`.",
        ),
    ] = None
    fps: Annotated[
        float | None,
        Field(
            ge=1e-6,  # of two weeks between frames; far smaller ones would make times infinite
            le=1000,
            title="Frames per second",
            description="Frames per second of the result, and of input frames that are files. Excludes "
            "`frames`.",
        ),
    ] = None
    duration: Annotated[
        float | None,
        Field(
            ge=0.01,
            le=3600,
            title="Playing time",
            description="How long the result plays, in seconds. Excludes `playback_fps`.",
        ),
    ] = None
    playback_fps: Annotated[
        float | None,
        Field(
            ge=0.01,
            le=1000,
            title="Playback rate",
            description="Input frames played per second; by default real time, or 24 if the input has no "
            "times. Excludes `duration`.",
        ),
    ] = None
    animation: Annotated[
        Animation,
        Field(
            description="How a GLB is animated: `morph` stores every frame, `skin` uses bones, which take a "
            f"fraction of the space; `auto` uses bones beyond {MAX_MORPH_FRAMES} frames."
        ),
    ] = Animation.AUTO
    compress: Annotated[
        bool, Field(title="Compressed GLB", description="Store integers in a GLB instead of floats.")
    ] = False
    color: Annotated[
        Color,
        Field(
            description="`input` takes the colors of the points; `correspondence` gives each point of the "
            "surface its own color."
        ),
    ] = Color.NONE
    quality: Annotated[Quality, Field(description="`draft` is the fastest, `exact` the most accurate.")] = (
        Quality.BALANCED
    )
    corresponding: Annotated[
        bool | None,
        Field(
            title="Corresponding points",
            description="Whether row j is the same particle in every frame; detected if unset.",
        ),
    ] = None
    up: Annotated[
        Up,
        Field(
            title="Up axis",
            description="Axis of the input that points up. If it is given, GLB and USD files stand upright. "
            "`auto` detects it for models of people, and otherwise guesses it for pictures only.",
        ),
    ] = Up.AUTO
    cleanup: Annotated[
        Cleanup,
        Field(
            description="`auto` removes stray points, and a clear floor and walls; `off` keeps them; "
            "`drop_invalid` is `auto`, and also drops points with NaN or infinity, which are otherwise "
            "refused."
        ),
    ] = Cleanup.AUTO
    refine: Annotated[
        Switch,
        Field(description="`auto` fits the surface to the points, `off` uses the network alone."),
    ] = Switch.AUTO
    sample: Annotated[
        Sample,
        Field(
            title="Points of meshes",
            description="Of frames that are meshes, use points spread over the `surface`, or the `vertices`.",
        ),
    ] = Sample.SURFACE
    resolution: Annotated[
        int | None,
        Field(ge=32, le=512, description="Grid cells per side, rounded up so that the grid halves evenly."),
    ] = None
    threshold: Annotated[
        float | None, Field(gt=0, lt=1, description="Occupancy probability at the surface.")
    ] = None
    simplify: Annotated[
        int | None, Field(ge=4, title="Target faces", description="Simplify the mesh to this many faces.")
    ] = None

    smooth: Annotated[
        int,
        Field(
            ge=0,
            le=50,
            title="Smoothing passes",
            description="Each pass flattens small bumps and keeps large shapes.",
        ),
    ] = 0
    fill_holes: Annotated[
        bool, Field(title="Close holes", description="Close open boundaries of the surface.")
    ] = False
    texture: Annotated[
        int | None,
        Field(
            ge=64,
            le=2048,
            title="Texture size",
            description="Bake the colors of the points into a texture with this many pixels per side.",
        ),
    ] = None

    @field_validator("formats", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        if not all(isinstance(part, str) for part in parts):
            return value  # pydantic reports which
        return tuple(dict.fromkeys(name.strip() for part in parts for name in part.split(",")))

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for one, other in EXCLUSIVE:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one} and {other} exclude each other: send one of them")
        return self

    @property
    def read_options(self) -> ReadOptions:
        """How the input is read."""
        return ReadOptions(self.sample, self.fps, self.cleanup is Cleanup.DROP_INVALID)

    def output_frames(self, seconds: float, frames: int) -> int:
        """Frames of the result. `seconds` and `frames` are the input's."""
        return self.frames or (int(seconds * self.fps * (1 + 1e-9)) + 1 if self.fps else frames)

    def check_length(self, seconds: float, frames: int) -> None:
        """Raise OptionsError if the result would have too few frames, or more than its formats can hold.

        `seconds` and `frames` are the input's.
        """
        key = "fps" if self.fps is not None else "frames"
        wanted = self.output_frames(seconds, frames)
        limits = {str(file_format): file_format.max_frames for file_format in self.formats}
        if Format.GLB in self.formats and self.animation is Animation.MORPH:
            limits["glb with animation morph"] = MAX_MORPH_FRAMES
        tightest, limit = min(limits.items(), key=lambda held: held[1])
        if wanted > limit:
            message = f"{key}: found {wanted:,} output frames, {tightest} holds at most {limit:,}"
            raise OptionsError([Fault(key, message, f"{wanted:,} output frames", f"at most {limit:,}")])
        if wanted < 2:
            message = f"fps: found 1 output frame in {seconds:g} s, wanted 2 or more"
            raise OptionsError([Fault(key, message, "1 output frame", "2 or more")])

    def check_colors(self, colors: bool) -> None:
        """Raise OptionsError if an option needs colors of the points, unless the input has them."""
        needs = {"color": self.color is Color.INPUT, "texture": self.texture is not None}
        message = "{} needs colors of the points, and the input has none: send them, or leave the option out"
        faults = [
            Fault(name, message.format(name), "", "")
            for name, needed in needs.items()
            if needed and not colors
        ]
        if faults:
            raise OptionsError(faults)


class Options(ReconstructionOptions):
    """The options of one job; unknown ones are refused by name."""

    model: Annotated[
        str | None, Field(min_length=1, max_length=100, description="A name from `GET /models`.")
    ] = None
    name: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="Name in lists; by default the uploaded file's."),
    ] = None
    expires_in: Annotated[
        int | None,
        Field(
            ge=60, le=RETENTION_LIMIT, title="Keep files for", description="Seconds until files are deleted."
        ),
    ] = None
    webhook_url: Annotated[
        str | None,
        Field(
            max_length=2000,
            title="Webhook",
            description="An https URL that receives a signed notification when the job ends.",
            json_schema_extra={"format": "uri", "pattern": "^https?://[^/?#]"},
        ),
    ] = None
    metadata: Annotated[dict[str, Any], Field(description="A JSON object, returned as sent.")] = {}

    @field_validator("webhook_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return value if value is None else check_address(value)

    @field_validator("metadata", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        found = read_json(value) if isinstance(value, str) else value
        size = len(
            json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
        )
        if size > MAX_METADATA:
            raise ValueError(f"is {size} bytes of JSON, at most {MAX_METADATA} are kept")
        return found


def parse_options(fields: Iterable[tuple[str, str]]) -> Options:
    """Options from form fields or a query string; every fault at once, each naming its field."""
    values: dict[str, Any] = {}
    faults = []
    lists = {name for name, field in Options.model_fields.items() if get_origin(field.annotation) is tuple}
    for name, value in fields:
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            faults.append(
                Fault(key=name, message=f"{name} is given twice", found="2 values", wanted="one value")
            )
        else:
            values[name] = value
    return read_options(Options, values, faults)

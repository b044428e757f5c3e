"""What a caller may ask of a reconstruction, beside the file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.core.addresses import check_address
from service.core.sequences.errors import Fault
from service.core.strict_json import read_json

RETENTION_LIMIT = 7 * 24 * 3600  # seconds
MAX_FRAMES = 1000  # in one result
MAX_METADATA = 16_384  # characters of JSON
MAX_GLB_FRAMES = 200  # morph targets that viewers are known to play


class OptionsError(Exception):
    """Options that cannot be taken, with every fault."""

    code = "invalid_options"

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.message for fault in faults))


class Format(StrEnum):
    GLB = "glb"
    OBJ = "obj"
    PLY = "ply"
    NPZ = "npz"


# How the file is called that a caller wants → its format; OBJ comes as an archive of a file a frame.
EXTENSIONS: Mapping[str, Format] = {".glb": Format.GLB, ".npz": Format.NPZ, ".zip": Format.OBJ}


class Options(BaseModel):
    """The options of one job; unknown ones are refused by name."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"not": {"required": ["frames", "fps"]}},
    )

    model: Annotated[
        str | None, Field(min_length=1, max_length=100, description="A name from `GET /models`.")
    ] = None
    formats: Annotated[
        tuple[Format, ...], Field(min_length=1, description="Files to write, comma-separated or repeated.")
    ] = (Format.GLB,)
    frames: Annotated[int | None, Field(ge=2, le=MAX_FRAMES, description="Output frames, evenly spaced.")] = (
        None
    )
    fps: Annotated[float | None, Field(gt=0, le=1000, description="Output frames a second.")] = None
    resolution: Annotated[int | None, Field(ge=32, le=512, description="Grid cells a side.")] = None
    threshold: Annotated[float | None, Field(gt=0, lt=1, description="Occupancy of the surface.")] = None
    simplify: Annotated[int | None, Field(ge=4, description="Target number of faces.")] = None
    color: Annotated[
        Literal["none", "correspondence"],
        Field(description="`correspondence` gives every particle one colour in all frames."),
    ] = "none"
    quality: Annotated[
        Literal["exact", "balanced", "draft"],
        Field(description="How near to the network's own answer, and so how slow."),
    ] = "balanced"
    webhook_url: Annotated[
        str | None,
        Field(
            max_length=2000,
            description="An https address that is told, signed, how the job ended.",
            json_schema_extra={"format": "uri", "pattern": "^https?://[^/?#]"},
        ),
    ] = None
    metadata: Annotated[dict[str, Any], Field(description="A JSON object, returned as sent.")] = {}
    expires_in: Annotated[
        int | None, Field(ge=60, le=RETENTION_LIMIT, description="Seconds until the files are deleted.")
    ] = None

    @field_validator("formats", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        if not all(isinstance(part, str) for part in parts):
            return value  # the error tells which
        return tuple(dict.fromkeys(name.strip() for part in parts for name in part.split(",")))

    @field_validator("webhook_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return value if value is None else check_address(value)

    @field_validator("metadata", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text) > MAX_METADATA:
            raise ValueError(f"is {len(text)} characters of JSON, at most {MAX_METADATA} are kept")
        return read_json(text) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.frames is not None and self.fps is not None:
            raise ValueError("frames and fps exclude each other: send one of them")
        return self

    def check_length(self, seconds: float, frames: int) -> None:
        """Raise OptionsError when the result would have more frames than its files can hold.

        `seconds` and `frames` are the input's.
        """
        key = "fps" if self.fps is not None else "frames"
        wanted = self.frames or (int(seconds * self.fps * (1 + 1e-9)) + 1 if self.fps else frames)
        limit = MAX_GLB_FRAMES if Format.GLB in self.formats else MAX_FRAMES
        if wanted > limit:
            what = "a glb holds" if limit == MAX_GLB_FRAMES else "a result has"
            message = f"{key}: found {wanted} output frames, {what} at most {limit}"
            raise OptionsError([Fault(key, message, f"{wanted} frames", f"at most {limit} frames")])
        if wanted < 2:
            message = f"fps: found 1 output frame in {seconds:g} s, wanted 2 or more"
            raise OptionsError([Fault(key, message, "1 frame", "at least 2 frames")])


def parse_options(fields: Iterable[tuple[str, str]]) -> Options:
    """Options from form fields or a query string; every fault at once, each naming its field."""
    values: dict[str, Any] = {}
    faults = []
    for name, value in fields:
        if name == "formats":
            values.setdefault(name, []).append(value)
        elif name in values:
            faults.append(
                Fault(key=name, message=f"{name} is given twice", found="2 values", wanted="one value")
            )
        else:
            values[name] = value
    return read_options(values, faults)


def read_options(values: Mapping[str, Any], faults: Sequence[Fault] = ()) -> Options:
    """Options from values by name; every fault at once, each naming its field, after those given."""
    try:
        options = Options.model_validate(values)
    except ValidationError as error:
        by_field = {str(e["loc"][:1]): _fault(e) for e in reversed(error.errors())}  # the first of each field
        raise OptionsError([*faults, *list(by_field.values())[::-1]]) from None
    if faults:
        raise OptionsError(list(faults))
    return options


def _fault(error: Any) -> Fault:
    name = str(error["loc"][0]) if error["loc"] else "options"
    found = repr(error["input"])[:100] if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        known = ", ".join(Options.model_fields)
        return Fault(key=name, message=f"{name} is not an option", found=name, wanted=f"one of {known}")
    told = str(error["msg"])
    if told.startswith("Value error, "):
        told = told.removeprefix("Value error, ")
        return Fault(key=name, message=f"{name} {told}" if error["loc"] else told, found=found, wanted="")
    wanted = told.removeprefix("Input should be ")
    return Fault(key=name, message=f"{name}: found {found}, wanted {wanted}", found=found, wanted=wanted)

"""Limits on uploads, and the errors raised for invalid ones."""

from dataclasses import dataclass, replace
from typing import Literal

Code = Literal["invalid_sequence", "too_large", "unsupported_media"]


@dataclass(frozen=True)
class Fault:
    """A single error: the array, entry or option it concerns, what was found and what was expected."""

    key: str
    message: str
    found: str
    wanted: str

    def __str__(self) -> str:
        """The message with key, found and wanted, unless the message already contains them."""
        text = self.message if self.message.startswith(self.key) else f"{self.key}: {self.message}"
        sides = (("found", self.found), ("wanted", self.wanted))
        rest = [f"{side} {value}" for side, value in sides if value and value not in self.message]
        return f"{text} ({'; '.join(rest)})" if rest else text


class SequenceError(Exception):
    """An invalid sequence with all faults found. `str` returns one line per fault."""

    def __init__(self, code: Code, faults: list[Fault]) -> None:
        super().__init__(code, faults)
        self.code: Code = code
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


@dataclass(frozen=True)
class Limits:
    """Limits on one upload. Sizes are in bytes; `max_points` is the total over all frames."""

    max_bytes: int = 256 << 20
    max_unpacked_bytes: int = 1 << 30
    max_ratio: int = 200
    max_entries: int = 8
    max_frames: int = 1000
    max_points: int = 20_000_000

    @property
    def max_files(self) -> int:
        """Files in a packed folder: a frame can come with litter, materials and folders."""
        return 4 * self.max_frames + 64

    @property
    def stored(self) -> "Limits":
        """Limits on a sequence in its stored form, which can be larger than its upload."""
        return replace(self, max_bytes=self.max_unpacked_bytes)


DEFAULT_LIMITS = Limits()


def refusal(code: Code, key: str, message: str, found: object, wanted: object) -> SequenceError:
    return SequenceError(code, [Fault(key, message, str(found), str(wanted))])


def quoted(text: str) -> str:
    """Untrusted text made safe to print: one line of ASCII, at most 60 characters."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"

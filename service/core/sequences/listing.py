"""The files of a packed folder: which of them are frames, in which order, and what else there is."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from service.core.sequences.errors import Fault, quoted
from service.core.sequences.formats import COMPANIONS, FRAME_SUFFIXES, RECORDED, WANTED
from service.core.sequences.names import is_litter, kinds_of, natural_order, suffix_of
from service.core.sequences.readers.cameras import CAMERA_WANTED


class Listing:
    """The frames among files, in natural order, and their `suffix`. `faults` say why there is no sequence.

    `intrinsics` is the JSON file of depth images.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.faults: list[Fault] = []
        self.suffix = self.intrinsics = ""
        files = [name for name in names if not is_litter(name)]
        for suffix, companions in COMPANIONS:
            if any(suffix_of(name) == suffix for name in files):
                files = [name for name in files if suffix_of(name) not in companions]
        files = _depth_of_recording(files) or files
        beside = [name for name in files if suffix_of(name) == ".json"]
        self.frames = sorted((name for name in files if name not in beside), key=natural_order)
        suffixes = {suffix_of(name) for name in self.frames}
        if strangers := [name for name in self.frames if suffix_of(name) not in FRAME_SUFFIXES]:
            found = f"{', '.join(map(quoted, strangers[:3]))} ({kinds_of(self.frames)})"
            self._fault("contains files that are not frames", found, WANTED)
        elif len(suffixes) > 1:
            self._fault("mixes formats", kinds_of(self.frames), WANTED)
        elif not suffixes:
            self._fault("contains no frames", kinds_of([*names]) or "no files", WANTED)
        else:
            [self.suffix] = suffixes
            self._check_folders()
            self._choose_intrinsics(beside)

    def _check_folders(self) -> None:
        folders = Counter(str(PurePosixPath(name).parent) for name in self.frames)
        if len(folders) > 1 and max(folders.values()) > 1:
            found = ", ".join(f"{count} in {quoted(folder)}" for folder, count in folders.most_common(3))
            self._fault("has frames in several folders", found, "the frames of one sequence, in one folder")

    def _choose_intrinsics(self, beside: list[str]) -> None:
        if self.suffix != ".png":
            if beside:
                self._fault("contains files that are not frames", quoted(beside[0]), WANTED)
        elif len(beside) != 1:
            found = f"{len(beside)} JSON files" + (
                f": {', '.join(map(quoted, beside[:3]))}" if beside else ""
            )
            self._fault("has depth images without their camera", found, f"one JSON file with {CAMERA_WANTED}")
        else:
            [self.intrinsics] = beside

    def _fault(self, message: str, found: str, wanted: str) -> None:
        self.faults.append(Fault("file", message, found, wanted))


def _depth_of_recording(files: list[str]) -> list[str]:
    """The depth images and JSON files of an RGB-D recording, as TUM, Open3D and phone apps lay it out.

    None where nothing lies in a folder `depth`, or where there are files of other kinds.
    """
    images = [name for name in files if suffix_of(name) == ".png"]
    depth = [name for name in images if PurePosixPath(name).parent.name.lower() == "depth"]
    if not depth or not {suffix_of(name) for name in files} <= RECORDED:
        return []
    return depth + [name for name in files if suffix_of(name) == ".json"]

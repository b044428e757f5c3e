"""What a file is that is no sequence, and what to send instead."""

from typing import NoReturn

from service.core.sequences.errors import refusal
from service.core.sequences.formats import FRAME_SUFFIXES

ACCEPTED = (
    "an .npz with points [T, N, 3], an animated .glb, a zip of a folder of frames, or several frames as "
    f"parts named 'file': {', '.join(FRAME_SUFFIXES)}"
)
_FRAMES = {
    b"ply": "one PLY file",
    b"# .PCD": "one PCD file",
    b"VERSION": "one PCD file",
    b"LASF": "one LAS file",
    b"OFF": "one OFF file",
    b"solid": "one STL file",
    b"\x89PNG": "one image",
}
_OTHERS = {
    b"\x80": "a Python pickle, which is never loaded",
    b"\x1f\x8b": "a gzip file: unpack it",
    b"\x89HDF": "an HDF5 file",
    b"#ROSBAG": "a ROS bag: `oflow reconstruct` reads it",
    b"SQLite format 3": "a ROS bag: `oflow reconstruct` reads it",
    b"\x89MCAP": "a ROS bag: `oflow reconstruct` reads it",
}


def refuse_single_file(head: bytes) -> NoReturn:
    """Raise SequenceError for a file that begins with these bytes."""
    for magic, description in _FRAMES.items():
        if head.startswith(magic):
            message = "is a single frame, and not a sequence"
            raise refusal("invalid_sequence", "file", message, description, f"2 frames or more: {ACCEPTED}")
    for magic, description in _OTHERS.items():
        if head.startswith(magic):
            raise refusal("unsupported_media", "file", "is not a sequence", description, ACCEPTED)
    found = "unrecognized binary data" if head else "an empty file"
    if head and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        found = "text"
    raise refusal("unsupported_media", "file", "is not a sequence", found, ACCEPTED)

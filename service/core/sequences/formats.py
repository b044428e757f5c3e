"""Formats of the frames of a sequence, with one reader each: add a line here to add a format.

Frames as `.npz` and depth images, which need more than their own file, are read by `frame_archive`.
"""

from collections.abc import Mapping

from service.core.sequences.readers.arrays import read_kitti, read_npy
from service.core.sequences.readers.frame import FrameReader
from service.core.sequences.readers.las import read_las
from service.core.sequences.readers.obj import read_obj
from service.core.sequences.readers.off import read_off
from service.core.sequences.readers.pcd import read_pcd
from service.core.sequences.readers.ply import read_ply
from service.core.sequences.readers.stl import read_stl
from service.core.sequences.readers.text import read_text

FRAME_READERS: Mapping[str, FrameReader] = {
    ".ply": read_ply,
    ".pcd": read_pcd,
    ".xyz": read_text,
    ".txt": read_text,
    ".csv": read_text,
    ".asc": read_text,
    ".pts": read_text,
    ".obj": read_obj,
    ".off": read_off,
    ".stl": read_stl,
    ".las": read_las,
    ".laz": read_las,
    ".npy": read_npy,
    ".bin": read_kitti,
}
FRAME_SUFFIXES = (*FRAME_READERS, ".npz", ".png")
# Files that belong to frames of a format and are not read.
COMPANIONS = ((".obj", (".mtl", ".png", ".jpg", ".jpeg", ".tga", ".bmp", ".json")), (".ply", (".json",)))
# What an RGB-D recording holds: depth, colors, lists of files, the camera's path, a video.
RECORDED = frozenset((".png", ".jpg", ".jpeg", ".json", ".txt", ".csv", ".log", ".yaml", ".yml", ".mp4", ""))
WANTED = f"files of one format, one per frame: {', '.join(FRAME_SUFFIXES)}"

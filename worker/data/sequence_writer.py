"""Many sequences written by many processes: with progress, to be interrupted and taken up again."""

import multiprocessing
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from worker.data.errors import DataError
from worker.data.frame_writer import MovingMesh, Sampling, write_frames

CHUNK = 16  # frames that a process writes at a time
BYTES_PER_POINT = 6 + 6 + 1 / 8  # float16 on the surface, float16 in the box, and a bit
BYTES_PER_PIXEL = 0.15  # 0.12 as measured at 224, more where images are smaller


def write_sequences(
    meshes: Sequence[MovingMesh], folder: Path, sampling: Sampling, workers: int, console: Console
) -> int:
    """Write each mesh to `folder`/<its name>; returns how many were written before.

    A sequence appears under its name when it is complete, and lies in .<name>.part until then. Raises
    DataError at the first mesh that cannot be written, or where the disk is too small; what is done stays.
    """
    missing = [mesh for mesh in meshes if not (folder / mesh.name).is_dir()]
    _check_space(missing, folder, sampling)
    left = Counter({mesh.name: len(mesh.numbers) for mesh in missing})
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar, _pool(workers) as pool:
        task = bar.add_task("frames", total=sum(left.values()))
        futures: dict[Future[None], tuple[MovingMesh, range]] = {}
        for mesh in missing:
            for start in range(0, len(mesh.numbers), CHUNK):
                indices = range(start, min(start + CHUNK, len(mesh.numbers)))
                part = _part(folder, mesh)
                futures[pool.submit(write_frames, mesh, part, indices, sampling)] = mesh, indices
        for future in as_completed(futures):
            future.result()
            mesh, indices = futures[future]
            left[mesh.name] -= len(indices)
            if not left[mesh.name]:
                _part(folder, mesh).rename(folder / mesh.name)
            bar.update(task, advance=len(indices), description=mesh.name)
    return len(meshes) - len(missing)


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that stop, with what has not begun dropped, as soon as something is raised."""
    # Not forked: threads of the parent (progress bars, BLAS) do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    # An interruption is for the parent: children finish what they are at.
    pool = ProcessPoolExecutor(workers, spawn, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield pool
    except BrokenProcessPool:
        raise DataError(
            f"one of {workers} processes was killed, most likely for lack of memory; run it again to go on, "
            "with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _part(folder: Path, mesh: MovingMesh) -> Path:
    return folder / f".{mesh.name}.part"


def _check_space(meshes: Sequence[MovingMesh], folder: Path, sampling: Sampling) -> None:
    frames = sum(len(mesh.numbers) for mesh in meshes)
    images = sampling.images * sampling.image_size**2 * BYTES_PER_PIXEL  # of a frame
    wanted, free = frames * (sampling.points * BYTES_PER_POINT + images), shutil.disk_usage(folder).free
    if wanted > free:
        raise DataError(
            f"{folder} has {free / 1e9:.1f} GB free; {frames} frames of {sampling.points} points and "
            f"{sampling.images} images need {wanted / 1e9:.1f} GB"
        )

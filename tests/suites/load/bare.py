"""The model without the service, in a separate process to keep the load generator small."""

import hashlib
import io
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self

from service.core.jobs.options import Options


class Bare:
    """The Reconstructor on one thread, as in the worker."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def small_model(self, folder: Path) -> tuple[Path, Path]:
        """Write config and checkpoint of the small model to `folder`."""
        return self._pool.submit(_small_model, folder).result()

    def load(self, model: str, checkpoint: str | None = None) -> None:
        self._pool.submit(_load, model, checkpoint).result()

    def run(self, file: bytes, **options: Any) -> tuple[str, float]:
        """SHA-256 of a sequence's GLB, and the seconds to compute it."""
        return self._pool.submit(_run, file, options).result()


_reconstructor: Any = None


def _start() -> None:
    import torch

    torch.set_num_threads(1)


def _small_model(folder: Path) -> tuple[Path, Path]:
    from tests.suites.load.small_model import write_small_model

    return write_small_model(folder)


def _load(model: str, checkpoint: str | None) -> None:
    global _reconstructor
    from model import Reconstructor

    _reconstructor = Reconstructor.from_config(model, checkpoint, device="cpu")


def _run(file: bytes, options: dict[str, Any]) -> tuple[str, float]:
    from service.core.sequences.sequence import read_sequence
    from worker.pipeline import reconstruct_sequence

    sequence = read_sequence(io.BytesIO(file))
    began = time.perf_counter()
    meshes = reconstruct_sequence(_reconstructor, sequence, Options(**options), lambda *_: None)
    data = meshes.to_glb()
    return hashlib.sha256(data).hexdigest(), time.perf_counter() - began

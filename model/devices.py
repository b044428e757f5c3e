"""Settings that depend on the device: chunk sizes and the data type of matrix products."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Rows of a feature matrix evaluated together: they fit a CPU's caches, and they keep a GPU busy.
CPU_CHUNK, GPU_CHUNK = 2048, 65_536


def chunk_size(device: torch.device | str) -> int:
    """Number of points to evaluate together on a device."""
    return CPU_CHUNK if torch.device(device).type == "cpu" else GPU_CHUNK


def matmul_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 if the device multiplies it faster than float32, else float32."""
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def single_threaded() -> Iterator[None]:
    """Operators use one thread: threads that all use every core wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

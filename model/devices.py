"""What suits a device: how many rows to evaluate at once, and the type to multiply in."""

import torch

ROWS, GPU_ROWS = 2048, 65_536  # evaluated together: what a CPU's caches hold, what fills a GPU


def rows_together(device: torch.device | str) -> int:
    """How many rows to evaluate together on a device."""
    return ROWS if torch.device(device).type == "cpu" else GPU_ROWS


def product_type(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, else float32."""
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())

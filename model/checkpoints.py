"""Checkpoints in the published format: a pickle of `model` (a state_dict), `optimizer` and a few scalars."""

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.config.schema import Config
from model.errors import CheckpointError

# Published checkpoints hold loss_val_best as a numpy scalar, pickled under numpy's old or new module name.
_SCALAR: Any = np.float64().__reduce__()[0]
_NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]


def load_checkpoint(path: str | Path, net: nn.Module) -> dict[str, bool | int | float | str]:
    """Load the weights of a checkpoint into `net` and return its scalar entries.

    No code in the file is executed. Raises CheckpointError if it is not a checkpoint or its tensors are not
    exactly those of the network; `net` is then unchanged.
    """
    content = read_checkpoint(path)
    _compare(Path(path), content["model"], net.state_dict())
    net.load_state_dict(content["model"])
    others = {key: value.item() if isinstance(value, np.generic) else value for key, value in content.items()}
    return {key: value for key, value in others.items() if isinstance(value, bool | int | float | str)}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """All entries of a checkpoint, on the CPU; `model` is a state_dict. No code in the file is executed."""
    return _checked(path, _read(Path(path)))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state_dict of a checkpoint, or of a file that holds a bare state_dict, as those of torchvision."""
    content = _read(Path(path))
    state: dict[str, Tensor] = content if _is_state(content) else _checked(path, content)["model"]
    return state


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values atomically: after a crash the previous file is intact."""
    path = Path(path)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o666 & ~_umask())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def copy_fitting(state: dict[str, Tensor], net: nn.Module) -> tuple[list[str], list[str]]:
    """Copy tensors of equal name and shape into `net`; return the names copied, and those of `net` left."""
    own = net.state_dict()
    fits = [name for name in own if name in state and state[name].shape == own[name].shape]
    net.load_state_dict({name: state[name] for name in fits}, strict=False)
    return fits, [name for name in own if name not in set(fits)]


def checkpoint_hash(path: str | Path) -> str:
    """The SHA-256 of the file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_checkpoint(config: Config) -> Path:
    """The file of `test.model_file`, in `training.out_dir` or next to the config. Downloads nothing.

    Raises CheckpointError if there is none, or for a URL.
    """
    name = config.test.model_file
    if "://" in name:
        raise CheckpointError(
            f"{config.path}: test.model_file is {name}; commands download it with "
            "`worker.checkpoints.checkpoint_file`; otherwise download it and give the path of the file"
        )
    if file := config.checkpoint_path():
        return file
    raise CheckpointError(
        f"{config.path}: no checkpoint {name}, neither in {config.training.out_dir} nor next to the config"
    )


def _read(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint {path}: " + ("it is a folder" if path.is_dir() else "no such file")
        )
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path} is not a readable checkpoint (damaged, truncated, or not of torch.save): {reason}"
        ) from None


def _checked(path: str | Path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or not _is_state(content.get("model")):
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: found {keys}; wanted an entry 'model' with tensors by name")
    return dict(content)


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and len(content) > 0
        and all(isinstance(tensor, Tensor) for tensor in content.values())
    )


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _compare(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    common = found.keys() & expected.keys()
    differences = {
        "missing": sorted(expected.keys() - common),
        "unexpected": sorted(map(str, found.keys() - common)),
        "of different shape": [
            f"{key} (found {list(found[key].shape)}, wanted {list(expected[key].shape)})"
            for key in sorted(common)
            if found[key].shape != expected[key].shape
        ],
        "not finite": [key for key in sorted(common) if not found[key].isfinite().all()],
    }
    if text := "; ".join(f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in differences.items() if keys):
        raise CheckpointError(f"{path} does not fit the network; {text}")


def _some(keys: list[str], limit: int = 6) -> str:
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")

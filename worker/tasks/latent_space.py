"""The latent codes of a data set's windows: what the encoders make of each, as means and deviations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from model.config.schema import Config
from model.losses import inputs_of
from worker.data import DataError, build_dataset
from worker.data.batches import leave_signals_to_the_parent, to_device, worker_count
from worker.data.frames import read_arrays
from worker.data.windows import Window, Windows, window_of
from worker.tasks.loaded import LoadedModel

FILE, PUBLISHED_FILE = "latent_space.npz", "latent_space.pkl"
CODES = ("loc_z", "scale_z", "loc_z_t", "scale_z_t")  # mean and standard deviation, of shape and of motion

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """The posterior of each of K windows, and which checkpoint encoded them."""

    windows: list[Window]
    codes: dict[str, Floats]  # those of CODES, [K, z_dim] each
    checkpoint_sha256: str

    def find(self, place: str) -> int:
        """The row of SEQ:START, or of CLASS/SEQ:START. Raises DataError that says what is near."""
        name, _, start = place.rpartition(":")
        if not name or not start.isdecimal():
            raise DataError(f"{place!r} names no window; wanted SEQ:START, such as {_place(self.windows[0])}")
        rows = [row for row, window in enumerate(self.windows) if name in _names(window)]
        if not rows:
            known = sorted({known for window in self.windows for known in _names(window)[:1]})
            near = get_close_matches(name, known, n=3, cutoff=0.0)
            raise DataError(f"there is no sequence {name} in the latent space; nearest: {', '.join(near)}")
        if len(classes := {self.windows[row].category for row in rows}) > 1:
            raise DataError(
                f"{name} is in {len(classes)} classes; say which: "
                + ", ".join(f"{category}/{place}" for category in sorted(classes))
            )
        starts = {self.windows[row].start: row for row in rows}
        if int(start) not in starts:
            near = [str(known) for known in sorted(starts, key=lambda known: abs(known - int(start)))[:3]]
            raise DataError(
                f"{name} has no window that starts at frame {int(start)}; nearest: {', '.join(near)} "
                f"(of {len(starts)}, {min(starts)} to {max(starts)})"
            )
        return starts[int(start)]

    def mean(self, row: int, device: str) -> tuple[Tensor, Tensor]:
        """z and z_t of a row, [1, z_dim] each."""
        z, z_t = (torch.from_numpy(self.codes[name][[row]]).to(device) for name in ("loc_z", "loc_z_t"))
        return z, z_t

    def save(self, folder: Path) -> list[Path]:
        """Write latent_space.npz, which this project reads, and latent_space.pkl for the published tools."""
        from worker.tables import write_pickle

        keys: dict[str, Any] = {
            "category": [window.category for window in self.windows],
            "model": [window.name for window in self.windows],
            "start_idx": [window.start for window in self.windows],
        }
        folder.mkdir(parents=True, exist_ok=True)
        own, published = folder / FILE, folder / PUBLISHED_FILE
        lengths = {"length": [window.length for window in self.windows]}
        arrays = keys | lengths | self.codes | {"checkpoint": self.checkpoint_sha256}
        with own.open("wb") as stream:
            np.savez(
                stream, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()}
            )
        columns = keys | {name: list(column) for name, column in self.codes.items()}
        write_pickle(published, columns, range(len(self.windows)), "idx")
        return [own, published]

    @classmethod
    def load(cls, file: Path, model: LoadedModel) -> "LatentSpace":
        """Read latent_space.npz. Raises DataError where it is missing, damaged or of another checkpoint."""
        again = f"run `worker encode {model.config.name}`"
        if not file.is_file():
            raise DataError(f"{file} is missing; {again} first, or name another with --latent-space")
        arrays = read_arrays(file)
        wanted = ("category", "model", "start_idx", "length", "checkpoint", *CODES)
        if missing := [name for name in wanted if name not in arrays]:
            raise DataError(f"{file} holds no {', '.join(missing)}; {again}")
        made_by = str(arrays["checkpoint"])
        if made_by != model.checkpoint_sha256:
            raise DataError(
                f"{file} was encoded by the checkpoint {made_by[:8]}…, and this one is "
                f"{model.checkpoint_sha256[:8]}…; {again} with it"
            )
        shape = (len(arrays["model"]), model.config.model.z_dim)
        codes = {name: arrays[name] for name in CODES}
        if any(code.shape != shape or code.dtype != np.float32 for code in codes.values()):
            found = ", ".join(f"{code.dtype} {list(code.shape)}" for code in codes.values())
            raise DataError(f"{file} holds codes {found}; wanted float32 {list(shape)}; {again}")
        keys = zip(*(arrays[name].tolist() for name in wanted[:4]), strict=True)
        return cls([Window(Path(c, name), start, length) for c, name, start, length in keys], codes, made_by)


def encode(
    model: LoadedModel, dataset: Windows, indices: Sequence[int], on_window: Callable[[], None] = lambda: None
) -> LatentSpace:
    """The posteriors of these windows of a data set. `on_window` is called after each."""
    net, training = model.occupancy_flow, model.config.training
    subset: Any = Subset(dataset, indices)  # type: ignore[arg-type]
    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        subset,
        batch_size=training.batch_size,
        num_workers=min(worker_count(training.num_workers), len(indices) // training.batch_size),
        worker_init_fn=leave_signals_to_the_parent,
    )
    rows: list[list[Tensor]] = []
    with torch.inference_mode():
        for fields in loader:
            batch = to_device(fields, model.device)
            inputs = inputs_of(batch)
            q_z, q_zt = net.infer_z(inputs, net.encode_motion(inputs), batch)
            rows.append([part.cpu() for part in (q_z.loc, q_z.scale, q_zt.loc, q_zt.scale)])
            for _ in range(len(inputs)):
                on_window()
    columns = [torch.cat(column).numpy() for column in zip(*rows, strict=True)]  # [K, z_dim] each
    windows = [window_of(dataset, index) for index in indices]
    return LatentSpace(windows, dict(zip(CODES, columns, strict=True)), model.checkpoint_sha256)


def open_windows(config: Config) -> Windows:
    """The windows of `data.test_split`, with occupancy samples where a latent encoder reads them."""
    if "simple" not in (config.model.encoder_latent, config.model.encoder_latent_temporal):
        return build_dataset(config, "test")
    data = config.data.model_copy(update={"val_split": config.data.test_split})
    return build_dataset(config.model_copy(update={"data": data}), "val")


def _names(window: Window) -> tuple[str, str]:
    return window.name, f"{window.category}/{window.name}"


def _place(window: Window) -> str:
    return f"{window.name}:{window.start}"

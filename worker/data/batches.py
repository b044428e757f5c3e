"""Batches of training data as a pure function of the step: a resumed run sees what it would have seen."""

import itertools
import signal
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from model.errors import ConfigError
from worker.data.sequence_writer import available_cores

Item = dict[str, Any]
MOST_WORKERS = 8


class Source(Protocol):
    """A data set of `worker.data`: items by seed for training, by number for validation."""

    def sample(self, seed: tuple[int, ...]) -> Item: ...

    def __getitem__(self, index: int) -> Item: ...

    def __len__(self) -> int: ...


class WindowSource(Source, Protocol):
    """One whose items are of numbered windows."""

    def sample(self, seed: tuple[int, ...], index: int | None = None) -> Item: ...


@runtime_checkable
class BatchStream(Protocol):
    """Training data without end, for methods whose batches are not made of items."""

    def batches(self, first_step: int, rows: range, device: str) -> Iterator[Any]:
        """The batches of `first_step` and all later steps, on `device`; `rows` are those of this process."""

    def validation(self, device: str) -> Iterator[Any]:
        """Held-out batches, the same at every call."""


class Batches(Dataset[dict[str, Tensor]]):
    """`batches[step]`: the items of (seed, step, i) for the i of `rows`, stacked; only `fields` of them.

    With `epoch_batch`, the size of the joint batch, every window is drawn once in each epoch.
    """

    def __init__(
        self,
        source: Source,
        seed: int,
        rows: range,
        fields: Sequence[str],
        epoch_batch: int | None = None,
    ) -> None:
        self.source, self.seed, self.rows, self.fields = source, seed, rows, fields
        self.epoch_batch = epoch_batch
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        items = [self._item(step, row) for row in self.rows]
        if missing := [field for field in self.fields if field not in items[0]]:
            raise ConfigError(
                f"the training data has no {', '.join(missing)}, which the losses read; "
                f"it has {', '.join(items[0])}"
            )
        batch: dict[str, Tensor] = default_collate(
            [{field: item[field] for field in self.fields} for item in items]
        )
        return batch

    def _item(self, step: int, row: int) -> Item:
        seed = (self.seed, step, row)
        if self.epoch_batch is None:
            return self.source.sample(seed)
        epoch, place = divmod(step * self.epoch_batch + row, len(self.source))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.source))
        return cast(WindowSource, self.source).sample(seed, int(self._order[place]))


def worker_count(setting: int | None) -> int:
    """Processes that prepare batches: as many as `training.num_workers` says, or one a core up to 8."""
    return min(MOST_WORKERS, available_cores()) if setting is None else setting


def load_batches(
    batches: Batches, first_step: int, num_workers: int, device: str
) -> Iterator[dict[str, Tensor]]:
    """The batches of `first_step` and all later steps, prepared by `num_workers` processes."""
    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        batches,
        batch_size=None,
        sampler=itertools.count(first_step),
        num_workers=num_workers,
        worker_init_fn=leave_signals_to_the_parent,
        pin_memory=device.startswith("cuda"),
    )
    for batch in loader:
        yield to_device(batch, device)


def leave_signals_to_the_parent(_: int) -> None:
    """Ctrl-C reaches the whole group: the parent still needs the batches until it has saved."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def to_device(batch: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    return {name: value.to(torch.device(device), non_blocking=True) for name, value in batch.items()}

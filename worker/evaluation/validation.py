"""How good a network is on windows that it does not learn from."""

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from model.config.schema import Config
from model.errors import ConfigError
from model.methods import METHODS
from worker.data.batches import (
    BatchStream,
    Item,
    Source,
    leave_signals_to_the_parent,
    to_device,
    worker_count,
)
from worker.data.errors import DataError
from worker.processes import Processes

Metrics = dict[str, float]


class StoppedError(Exception):
    """It was time to leave before the validation was over."""


class Stopping(Protocol):
    """What may end a validation early."""

    @property
    def wanted(self) -> bool: ...


log = logging.getLogger(__name__)


@torch.no_grad()
def validate(
    net: nn.Module,
    source: Source | BatchStream,
    config: Config,
    device: str,
    processes: Processes | None = None,
    stop: Stopping | None = None,
) -> Metrics:
    """Means of the method's metrics over the windows (see `Method.score`), and `loss`, the sum of those that
    training minimizes. Raises StoppedError where `stop` is wanted before the last window, and ConfigError
    for fewer windows than processes.

    For Occupancy Flow these are `iou` and `rec_error` over all frames, `iou_t0` and `rec_error_t0` at t = 0,
    and `l2`, the mean distance of integrated particles. The flow is solved by `model.ode_solver`.
    """
    processes = processes or Processes()
    method = METHODS[config.method]
    was_training = net.training
    net.eval()
    values: dict[str, list[float]] = {}
    stopped = False
    for batch in _batches(source, config, device, processes):
        if stopped := stop is not None and stop.wanted:
            break
        for name, scores in method.score(net, batch, config).items():
            values.setdefault(name, []).extend(score for score in scores if not math.isnan(score))
    net.train(was_training)
    if processes.mean([float(stopped)], device)[0]:  # all processes go by the same
        raise StoppedError
    metrics = {}
    for name, scores in values.items():
        total, number = processes.mean([sum(scores), len(scores)], device)
        metrics[name] = total / number if number else math.nan
    metrics["loss"] = sum(metrics.get(name, 0.0) for name in method.minimized_metrics(config))
    return metrics


def _batches(
    source: Source | BatchStream, config: Config, device: str, processes: Processes
) -> Iterator[Any]:
    if isinstance(source, BatchStream):
        yield from source.validation(device)
        return
    training = config.training
    count = min(len(source), training.n_val_items or len(source))
    if count < processes.count:
        raise ConfigError(f"the validation split holds {count} windows; wanted {processes.count} or more")
    loader: DataLoader[dict[str, Tensor] | None] = DataLoader(
        _Readable(source, range(processes.rank, count, processes.count)),
        batch_size=training.batch_size_val,
        num_workers=min(worker_count(training.num_workers), count),
        worker_init_fn=leave_signals_to_the_parent,
        collate_fn=_collate,
        pin_memory=device.startswith("cuda"),
    )
    for batch in loader:
        if batch is not None:
            yield to_device(batch, device)


class _Readable(Dataset[Item | None]):
    """Some items of a data set; None, with a warning, where the files of one are damaged."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Item | None:
        try:
            return self.source[self.indices[number]]
        except DataError as error:
            log.warning("an item is left out: %s", error)
            return None


def _collate(items: list[Item | None]) -> dict[str, Tensor] | None:
    """One batch of the readable items; None where there are none."""
    readable = [item for item in items if item is not None]
    batch: dict[str, Tensor] | None = default_collate(readable) if readable else None
    return batch


def selection(metrics: Metrics, config: Config) -> float:
    """The value of the metric that models are chosen by."""
    wanted = config.training.model_selection_metric
    if wanted not in metrics:
        raise ConfigError(
            f"training.model_selection_metric is {wanted}, and validation yields {', '.join(metrics)}"
        )
    return metrics[wanted]


def worst(config: Config) -> float:
    """What any model is better than."""
    return -math.inf if config.training.model_selection_mode == "maximize" else math.inf


def is_better(value: float, best: float, config: Config) -> bool:
    return value > best if config.training.model_selection_mode == "maximize" else value < best

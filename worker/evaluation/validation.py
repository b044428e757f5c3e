"""How good a network is on windows that it does not learn from."""

import math

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from model.config.schema import Config
from model.errors import ConfigError
from model.networks.build import Network
from worker.data.batches import Source, leave_signals_to_the_parent, to_device
from worker.evaluation.batch_scores import Scores, score
from worker.processes import Processes

Metrics = dict[str, float]


@torch.no_grad()
def validate(
    net: Network, source: Source, config: Config, device: str, processes: Processes | None = None
) -> Metrics:
    """Means over the windows: `iou` and `rec_error` over all frames (`iou_t0`, `rec_error_t0` at t = 0, which
    is all of them for the shape half), `l2`, the mean distance of carried particles, `chamfer` of point sets,
    and `loss`, the sum of those that training minimises.

    The flow goes through `model.ode_solver`, in one solve for all frames.
    """
    processes = processes or Processes()
    training = config.training
    count = min(len(source), training.n_val_items or len(source))
    if count < processes.count:
        raise ConfigError(f"the validation split holds {count} windows; wanted {processes.count} or more")
    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        Subset(source, range(processes.rank, count, processes.count)),  # type: ignore[arg-type]
        batch_size=training.batch_size_val,
        num_workers=min(training.num_workers, count),
        worker_init_fn=leave_signals_to_the_parent,
    )
    was_training = net.training
    net.eval()
    scores: list[Scores] = [score(net, to_device(batch, device), config) for batch in loader]
    net.train(was_training)
    metrics = {}
    for name in scores[0]:
        values = [value for batch in scores for value in batch[name] if not math.isnan(value)]
        total, number = processes.mean([sum(values), len(values)], device)
        metrics[name] = total / number if number else math.nan
    minimised = {"rec_error": config.model.loss_recon, "l2": config.model.loss_corr, "chamfer": True}
    metrics["loss"] = sum(metrics.get(name, 0.0) for name, counts in minimised.items() if counts)
    return metrics


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

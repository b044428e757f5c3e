"""The end of a run, and the learning rate until then."""

import math

from model.config.sections import TrainingConfig


def done_share(step: int, seconds: float, training: TrainingConfig) -> float:
    """How much of a run is over after these steps and seconds, 0 … 1; without limits, 0."""
    shares = [0.0]
    if training.max_iterations is not None:
        shares.append(step / training.max_iterations)
    if training.max_minutes is not None:
        shares.append(seconds / (60 * training.max_minutes))
    return min(1.0, max(shares))


def learning_rate(step: int, training: TrainingConfig, seconds: float = 0.0) -> float:
    """Rises over `warmup_iterations`, then is constant, or a cosine to 0 at the end of the run."""
    warmup = training.warmup_iterations
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if training.schedule == "constant":
        return training.learning_rate * rising
    if training.max_minutes is None and training.max_iterations is not None:
        done = min(1.0, max(0, step - warmup) / max(1, training.max_iterations - warmup))
    else:
        done = done_share(step, seconds, training)
    return training.learning_rate * rising * (1 + math.cos(math.pi * done)) / 2

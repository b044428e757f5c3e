"""The learning rate as a function of the step."""

import math

from model.config.schema import TrainingConfig


def learning_rate(step: int, training: TrainingConfig) -> float:
    """Rises over `warmup_iterations`, then is constant, or a cosine to 0 at `max_iterations`."""
    warmup = training.warmup_iterations
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    if training.schedule == "constant" or training.max_iterations is None:
        return training.learning_rate
    done = min(1.0, (step - warmup) / max(1, training.max_iterations - warmup))
    return training.learning_rate * (1 + math.cos(math.pi * done)) / 2

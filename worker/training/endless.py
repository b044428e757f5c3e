"""Training on data without end, for a given time: a learning rate that falls as the time runs out.

A run writes `model.pt` (the running mean of the weights), `state.pt` (what going on takes besides), and
`log.json` (loss and measurements as they come). Started again on the same folder it goes on; the data of a
step follow from the number of the step.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from worker.training.stopping import Stop

Batch = TypeVar("Batch")
Scores = dict[str, float]

LINE_EVERY = 50  # steps
FIRST_SCORE = 0.1  # of the time; then after as much again


@dataclass(frozen=True)
class Schedule:
    """When a run ends, whichever comes first, and the recipe."""

    minutes: float = math.inf
    steps: int = 1_000_000
    learning_rate: float = 2e-3
    warmup: int = 200  # steps
    weight_decay: float = 1e-2
    clip: float = 1.0  # largest norm of a gradient
    average: float = 0.999  # decay of the running mean of the weights, which is what is kept and measured
    bf16: bool = True
    save_every: float = 120.0  # seconds
    scores: int = 6  # measurements in all

    def done(self, seconds: float, steps: int) -> float:
        """The share of the run that is over, 0 … 1."""
        return min(1.0, max(seconds / (60 * self.minutes), steps / self.steps))

    def rate(self, seconds: float, steps: int) -> float:
        """Rises, then falls as a cosine to a hundredth."""
        fall = 0.01 + 0.99 * (1 + math.cos(math.pi * self.done(seconds, steps))) / 2
        return self.learning_rate * min(1.0, (steps + 1) / max(1, self.warmup)) * fall


class EndlessRun(Generic[Batch]):
    """`net` learns by `loss` of the batches that `batches(first_step)` yields, on their device.

    `score` measures a network now and then.
    """

    def __init__(
        self,
        net: nn.Module,
        batches: Callable[[int], Iterator[Batch]],
        loss: Callable[[nn.Module, Batch], Tensor],
        score: Callable[[nn.Module], Scores],
        schedule: Schedule,
        folder: Path,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device, self.schedule, self.folder = torch.device(device), schedule, folder
        self.net, self.batches, self.loss, self.score = net.to(self.device), batches, loss, score
        self.average = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(),
            schedule.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=schedule.weight_decay,
            fused=True,
        )
        self.steps, self.seconds, self.scored = 0, 0.0, 0
        self.log: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "model.pt"

    @property
    def state(self) -> Path:
        return self.folder / "state.pt"

    def resume(self) -> bool:
        """Go on from this folder's checkpoint; whether there is one."""
        if not self.state.exists():
            return False
        content = torch.load(self.state, map_location=self.device, weights_only=True)
        self.net.load_state_dict(content["net"])
        self.average = torch.load(self.checkpoint, map_location=self.device, weights_only=True)["model"]
        self.optimizer.load_state_dict(content["optimizer"])
        self.steps, self.seconds, self.scored = content["it"], content["seconds"], content["scored"]
        self.log = content["log"]
        return True

    def start_from(self, file: Path) -> None:
        """Take the weights of a checkpoint, and nothing else."""
        content = torch.load(file, map_location=self.device, weights_only=True)
        self.net.load_state_dict(content["model"])
        self.average = {name: value.clone() for name, value in content["model"].items()}

    def run(self, stop: Stop) -> None:
        """Until the time or the steps are over, or a signal comes."""
        batches = self.batches(self.steps)
        losses = torch.zeros((), device=self.device)
        waited, before, saved = 0.0, self.seconds, time.monotonic()
        began, since = time.monotonic() - self.seconds, self.steps
        self.net.train()
        while self.schedule.done(self.seconds, self.steps) < 1 and not stop.wanted:
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            losses += self._learn(batch)
            self.steps += 1
            self.seconds = time.monotonic() - began
            if self.steps % LINE_EVERY == 0:
                value = losses.item() / LINE_EVERY  # waits for the device
                self.seconds = time.monotonic() - began
                rate = LINE_EVERY / (self.seconds - before)
                self._note(loss=value, steps_a_second=rate, waited=waited / (self.seconds - before))
                losses.zero_()
                waited, before = 0.0, self.seconds
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"the loss is {value} at step {self.steps}; see {self.checkpoint}"
                    )
                if self._score_is_due():
                    self._measure()
                    before = self.seconds = time.monotonic() - began
                if time.monotonic() - saved > self.schedule.save_every:
                    self._save()
                    saved = time.monotonic()
        if self.steps > since:
            self._save()  # before anything else can go wrong
            self._measure()
            self._save()

    def _learn(self, batch: Batch) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.seconds, self.steps)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.schedule.bf16):
            loss = self.loss(self.net, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.schedule.clip)
        # What tells the fused optimizer to change nothing, without waiting for the device.
        self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self._follow()
        return loss.detach()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running mean of the weights, faster at the start."""
        decay = min(self.schedule.average, (1 + self.steps) / (10 + self.steps))
        own = self.net.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [own[name] for name in self.average], 1 - decay)

    def _score_is_due(self) -> bool:
        done = self.schedule.done(self.seconds, self.steps)
        return done < 1 and done * self.schedule.scores >= self.scored + 1

    @torch.no_grad()
    def _measure(self) -> None:
        raw = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.net.load_state_dict(self.average)
        self.net.eval()
        self._note(**self.score(self.net))
        self.net.load_state_dict(raw)
        self.net.train()
        self.scored = int(self.schedule.done(self.seconds, self.steps) * self.schedule.scores)

    def _note(self, **values: float) -> None:
        entry = {"it": self.steps, "seconds": round(self.seconds, 1)}
        entry |= {name: round(value, 4) for name, value in values.items()}
        self.log.append(entry)
        print(" ".join(f"{name} {value:g}" for name, value in entry.items()), flush=True)  # noqa: T201
        (self.folder / "log.json").write_text(
            json.dumps({"schedule": _plain(self.schedule), "log": self.log}, indent=0)
        )

    def _save(self) -> None:
        _write(self.checkpoint, {"model": self.average, "it": self.steps})
        state = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "it": self.steps,
            "seconds": self.seconds,
            "scored": self.scored,
            "log": self.log,
        }
        _write(self.state, state)


def _write(file: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    part = file.with_suffix(".part")
    torch.save(content, part)
    part.replace(file)


def _plain(schedule: Schedule) -> dict[str, Any]:
    return {name: str(value) if value == math.inf else value for name, value in asdict(schedule).items()}

"""The training loop.

Everything that a step depends on is in the checkpoint or follows from the number of the step: a run cut in
two ends in the same weights as one run.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from model.config.schema import Config
from model.methods import build_model, freeze_other_parts, losses, needed_fields
from worker.data import open_source
from worker.data.batches import Batches, BatchStream, Source, load_batches
from worker.evaluation.validation import Metrics, is_better, selection, validate, worst
from worker.processes import Processes, join_batch_norms
from worker.training.initialization import initialize
from worker.training.pictures import picture
from worker.training.report import Report
from worker.training.run_folder import Reached, RunFolder
from worker.training.schedule import learning_rate
from worker.training.stopping import DivergedError, LossWatch, Stop


class LossStep(nn.Module):
    """The losses as a module's forward, which is what DistributedDataParallel wraps."""

    def __init__(self, net: nn.Module, config: Config) -> None:
        super().__init__()
        self.net, self.config = net, config

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return losses(self.net, batch, self.config)


class Trainer:
    """One run of a config. `sources` are training and validation data, by default those of the config."""

    def __init__(
        self,
        config: Config,
        device: str = "cpu",
        processes: Processes | None = None,
        sources: tuple[Source | BatchStream, Source | BatchStream] | None = None,
    ) -> None:
        self.config, self.device, self.processes = config, device, processes or Processes()
        training = config.training
        if training.precision == "tf32":
            torch.set_float32_matmul_precision("high")
        self.source: Source | BatchStream
        self.val_source: Source | BatchStream
        self.source, self.val_source = sources or (
            open_source(config, "train"),
            open_source(config, "val"),
        )
        torch.manual_seed(training.seed)
        self.net = build_model(config)
        self.folder = RunFolder(config)
        self.notes = self.folder.changes()
        if not self.folder.last.exists() and (note := initialize(self.net, config)):
            self.notes.append(note)
        freeze_other_parts(self.net, config)
        join_batch_norms(self.net, self.processes)
        self.net.to(device)
        self.step = self.processes.wrap(LossStep(self.net, config), device)
        self.parameters = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=training.learning_rate)
        self.reached = self.folder.resume(self.net, self.optimizer) or Reached(0, 0, worst(config))

    def run(self, stop: Stop) -> bool:
        """Train on; whether `max_iterations` was reached. Raises DivergedError where the loss is lost."""
        training, reached = self.config.training, self.reached
        watch, waited = LossWatch(), 0.0
        quiet = not self.processes.is_first
        with Report(self.folder.path, reached.it, training.max_iterations, quiet) as report:
            self._introduce(report)
            if reached.it == 0 and training.validate_every:
                self._validate(report)  # what learning starts from; and data that cannot be read says so now
            batches = self._batches()
            stopped = False
            while not stopped and not self.is_done:
                requested = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - requested
                terms, norm = self._learn(batch)
                names = list(terms)
                *means, stopping = self.processes.mean([*terms.values(), float(stop.wanted)], self.device)
                terms = dict(zip(names, means, strict=True))
                try:
                    watch.check(terms["loss"], norm)
                except DivergedError as error:
                    raise DivergedError(f"step {reached.it}: {error}; {self._last_good()}") from None
                reached.it += 1
                if not isinstance(self.source, BatchStream):
                    reached.epoch_it = reached.it * training.batch_size // max(1, len(self.source))
                report.step(reached.it, watch.smoothed or terms["loss"], waited)
                if _due(reached.it, training.print_every):
                    rate = self.optimizer.param_groups[0]["lr"]
                    report.scalars(
                        reached.it, terms | {"gradient_norm": norm, "learning_rate": rate}, "train"
                    )
                stopped = stopping > 0
                self._keep(report, leaving=stopped or self.is_done)
            if stopped and not self.is_done:
                report.say(f"{stop.reason}: saved {self.folder.last} at step {reached.it}")
        return self.is_done

    @property
    def is_done(self) -> bool:
        limit = self.config.training.max_iterations
        return limit is not None and self.reached.it >= limit

    def _batches(self) -> Iterator[Any]:
        """The batches of the next step and all later ones."""
        training, first_step = self.config.training, self.reached.it
        rows = self.processes.rows(training.batch_size)
        if isinstance(self.source, BatchStream):
            return self.source.batches(first_step, rows, self.device)
        batches = Batches(self.source, training.seed, rows, needed_fields(self.config))
        return load_batches(batches, first_step, training.num_workers, self.device)

    def _learn(self, batch: Any) -> tuple[dict[str, float], float]:
        """One step: the loss terms and the norm of the gradient. One that is not finite changes nothing."""
        training = self.config.training
        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.reached.it, training)
        self.optimizer.zero_grad(set_to_none=True)
        with _autocast(training.precision, self.device):
            terms = self.step(batch)
        terms["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, training.clip_gradient_norm or float("inf")).item()
        if norm < float("inf"):
            self.optimizer.step()
        return {name: term.item() for name, term in terms.items()}, norm

    def _keep(self, report: Report, leaving: bool) -> None:
        """Validate, draw and save where it is time to."""
        training, reached, first = self.config.training, self.reached, self.processes.is_first
        finished = self.is_done and training.validate_every > 0
        if finished or _due(reached.it, training.validate_every):
            self._select(self._validate(report), report)
        if first and _due(reached.it, training.visualize_every):
            self._draw(report)
        if first and _due(reached.it, training.backup_every):
            self.folder.save(self.folder.backup(reached.it), self.net, self.optimizer, reached)
        if first and (leaving or _due(reached.it, training.checkpoint_every)):
            self.folder.save(self.folder.last, self.net, self.optimizer, reached)

    def _validate(self, report: Report) -> Metrics:
        metrics = validate(self.net, self.val_source, self.config, self.device, self.processes)
        report.scalars(self.reached.it, metrics, "val")
        values = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())
        report.say(f"it {self.reached.it}: {values}")
        return metrics

    def _select(self, metrics: Metrics, report: Report) -> None:
        value = selection(metrics, self.config)
        if is_better(value, self.reached.loss_val_best, self.config):
            self.reached.loss_val_best = value
            if self.processes.is_first:
                self.folder.save(self.folder.best, self.net, self.optimizer, self.reached)
                report.say(f"best so far: {self.folder.best}")

    def _draw(self, report: Report) -> None:
        if self.config.training.parts != "joint" or isinstance(self.val_source, BatchStream):
            return  # half a network, or data without windows
        pixels = picture(self.net, self.config, self.val_source[0], self.device)
        if pixels is not None:
            report.image(self.reached.it, "truth above, reconstruction below", pixels)

    def _introduce(self, report: Report) -> None:
        for note in self.notes:
            report.say(note)
        count = sum(parameter.numel() for parameter in self.parameters)
        where = f"goes on at step {self.reached.it}" if self.reached.it else "starts"
        report.say(
            f"{self.config.name} ({self.config.training.parts}, {count:,} parameters, "
            f"{self.config.training.precision} on {self.device}) {where}; files in {self.folder.path}"
        )

    def _last_good(self) -> str:
        last = self.folder.last
        return f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was saved before"


def _autocast(precision: str, device: str) -> AbstractContextManager[None]:
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16")


def _due(it: int, every: int) -> bool:
    return every > 0 and it % every == 0

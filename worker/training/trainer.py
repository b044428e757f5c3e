"""The training loop.

Everything that a step depends on is in the checkpoint or follows from the number of the step: a run cut in
two ends in the same weights as one run.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.config.schema import Config
from model.methods import build_model, freeze_other_parts, needed_fields
from model.networks.embeddings import with_embeddings
from worker.data import open_source
from worker.data.batches import Batches, BatchStream, Source, load_batches, worker_count
from worker.evaluation.validation import Metrics, StoppedError, is_better, selection, validate, worst
from worker.processes import Processes, join_batch_norms
from worker.training.initialization import initialize
from worker.training.learner import Learner
from worker.training.pictures import picture
from worker.training.report import Report
from worker.training.run_folder import Reached, RunFolder
from worker.training.schedule import done_share, learning_rate
from worker.training.stopping import DivergedError, LossWatch, Stop

# Metrics of single frames but the first, and of single codes, which are for TensorBoard.
DETAIL = re.compile(r"(iou|rec_error)_t[1-9]\d*$|(l2|kl)_\d+$")
RUN_AHEAD = 10  # steps that a GPU is given before the losses of the first are read


class Trainer:
    """One run of a config. `sources` are training and validation data, by default those of the config."""

    def __init__(
        self,
        config: Config,
        device: str = "cpu",
        processes: Processes | None = None,
        sources: tuple[Source | BatchStream, Source | BatchStream] | None = None,
    ) -> None:
        began = time.monotonic()
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
        if not isinstance(self.source, BatchStream):
            self.config = config = with_embeddings(config, len(self.source))
        torch.manual_seed(training.seed)
        self.net = build_model(config)
        self.folder = RunFolder(config)
        self.notes = self.folder.changes()
        if not self.folder.last.exists() and (note := initialize(self.net, config)):
            self.notes.append(note)
        freeze_other_parts(self.net, config)
        join_batch_norms(self.net, self.processes)
        self.net.to(device)
        self.learner = Learner(self.net, config, device, self.processes)
        self.reached = self.folder.resume(self.learner) or Reached(0, 0, worst(config))
        self.began = began - self.reached.seconds
        self.run_ahead = RUN_AHEAD if device.startswith("cuda") else 1

    def run(self, stop: Stop) -> bool:
        """Train on; whether the end of the run was reached. Raises DivergedError where the loss is lost."""
        training, reached = self.config.training, self.reached
        watch, waited = LossWatch(), 0.0
        quiet = not self.processes.is_first
        limits = training.max_iterations, training.max_minutes
        with Report(self.folder.path, reached.it, *limits, quiet) as report:
            self._introduce(report)
            stopped, unread = False, []
            if reached.it == 0 and training.validate_every > 0:
                # What learning starts from; and data that cannot be read says so now.
                report.say("first, the metrics of the network as it is")
                stopped = self._validate(report, stop) is None
            if stopped and self.processes.is_first:
                self._save(self.folder.last)
            batches = self._batches()
            while not stopped and not self.is_done:
                requested = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - requested
                rate = learning_rate(reached.it, training, reached.seconds)
                reached.it += 1
                unread.append(self.learner.learn(batch, rate, reached.it))
                if not isinstance(self.source, BatchStream):
                    reached.epoch_it = reached.it * training.batch_size // max(1, len(self.source))
                if not self._is_time_to_read(len(unread)):
                    continue
                stopped = self._read(unread, watch, stop, report)
                unread.clear()
                report.step(reached.it, self.done_share, watch.smoothed or 0.0, waited)
                if _due(reached.it, training.print_every):
                    size = None if isinstance(self.source, BatchStream) else training.batch_size
                    report.line(reached.epoch_it, reached.it, watch.last, size, waited)
                self._keep(report, stop, leaving=stopped or self.is_done)
            if stopped and not self.is_done:
                report.say(f"{stop.reason}: saved {self.folder.last} at step {reached.it}")
        return self.is_done

    @property
    def done_share(self) -> float:
        return done_share(self.reached.it, self.reached.seconds, self.config.training)

    @property
    def is_done(self) -> bool:
        return self.done_share >= 1

    def _is_time_to_read(self, steps: int) -> bool:
        """Whether the losses of so many steps are read now, for which the device has to finish them."""
        training = self.config.training
        intervals = (
            training.print_every,
            training.validate_every,
            training.visualize_every,
            training.backup_every,
            training.checkpoint_every,
        )
        due = any(_due(self.reached.it, every) for every in intervals)
        return due or self.is_done or steps >= self.run_ahead

    def _read(self, unread: list[dict[str, Tensor]], watch: LossWatch, stop: Stop, report: Report) -> bool:
        """Check the losses of the last steps, and the time; whether to stop."""
        training, reached = self.config.training, self.reached
        names = list(unread[0])
        rows = torch.stack([torch.stack(list(terms.values())) for terms in unread]).tolist()
        seconds = time.monotonic() - self.began
        # All processes go by the same numbers.
        values = [value for row in rows for value in row]
        *means, stopping, reached.seconds = self.processes.mean(
            [*values, float(stop.wanted), seconds], self.device
        )
        for number in range(len(rows)):
            terms = dict(zip(names, means[number * len(names) :], strict=False))
            step = reached.it - len(rows) + number
            try:
                watch.check(terms["loss"], terms["gradient_norm"])
            except DivergedError as error:
                raise DivergedError(f"step {step}: {error}; {self._last_good()}") from None
            report.scalars(step + 1, {"loss": terms["loss"]}, "train")
        if _due(reached.it, training.print_every):
            rate = self.learner.optimizer.param_groups[0]["lr"]
            parts = {name: value for name, value in terms.items() if name != "loss"}
            report.scalars(reached.it, parts | {"learning_rate": rate}, "train")
        return stopping > 0

    def _batches(self) -> Iterator[Any]:
        """The batches of the next step and all later ones."""
        training, first_step = self.config.training, self.reached.it
        rows = self.processes.rows(training.batch_size)
        if isinstance(self.source, BatchStream):
            return self.source.batches(first_step, rows, self.device)
        whole = training.batch_size if training.sampling == "epochs" else None
        batches = Batches(self.source, training.seed, rows, needed_fields(self.config), whole)
        return load_batches(batches, first_step, worker_count(training.num_workers), self.device)

    def _keep(self, report: Report, stop: Stop, leaving: bool) -> None:
        """Validate, draw and save where it is time to."""
        training, reached, first = self.config.training, self.reached, self.processes.is_first
        finished = self.is_done and training.validate_every > 0
        if finished or _due(reached.it, training.validate_every):
            # A run that is leaving anyway is validated at its end, whatever the time.
            metrics = self._validate(report, None if self.is_done else stop)
            if metrics is not None:
                self._select(metrics, report)
        if first and _due(reached.it, training.visualize_every):
            self._draw(report)
        if first and _due(reached.it, training.backup_every):
            self._save(self.folder.backup(reached.it))
        if first and (leaving or _due(reached.it, training.checkpoint_every)):
            self._save(self.folder.last)

    def _save(self, file: Path) -> None:
        self.folder.save(file, self.learner, self.reached)

    def _validate(self, report: Report, stop: Stop | None) -> Metrics | None:
        """The metrics; None where it is time to leave before they are known."""
        try:
            with self.learner.averaged():
                metrics = validate(self.net, self.val_source, self.config, self.device, self.processes, stop)
        except StoppedError:
            return None
        report.scalars(self.reached.it, metrics, "val")
        values = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if not DETAIL.match(key))
        report.say(f"it {self.reached.it}: {values}")
        return metrics

    def _select(self, metrics: Metrics, report: Report) -> None:
        value = selection(metrics, self.config)
        if is_better(value, self.reached.loss_val_best, self.config):
            self.reached.loss_val_best = value
            if self.processes.is_first:
                self._save(self.folder.best)
                report.say(f"best so far: {self.folder.best}")

    def _draw(self, report: Report) -> None:
        if self.config.training.parts != "joint" or isinstance(self.val_source, BatchStream):
            return  # half a network, or data without windows
        for number in range(min(self.config.training.batch_size_vis, len(self.val_source))):
            pixels = picture(self.net, self.config, self.val_source[number], self.device)
            if pixels is not None:
                report.image(self.reached.it, f"truth above, reconstruction below/{number}", pixels)

    def _introduce(self, report: Report) -> None:
        for note in self.notes:
            report.say(note)
        count = sum(parameter.numel() for parameter in self.learner.parameters)
        where = f"goes on at step {self.reached.it}" if self.reached.it else "starts"
        report.say(
            f"{self.config.name} ({self.config.training.parts}, {count:,} parameters, "
            f"{self.config.training.precision} on {self.device}) {where}; files in {self.folder.path}"
        )

    def _last_good(self) -> str:
        last = self.folder.last
        return f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was saved before"


def _due(it: int, every: int) -> bool:
    return every > 0 and it % every == 0

"""Runs a job up to its meshes: fetch the input, reconstruct, and hand the meshes over to be stored."""

import logging
import tempfile
import time

from model import Reconstructor, load_config
from model.errors import Canceled
from model.reconstruction.warm_up import warm_up
from service.core.jobs.record import Job, State
from service.core.model_info import ModelInfo
from service.core.sequences.sequence import PointCloudSequence, ReadOptions, read_sequence
from service.core.trace import current_trace, parse, span
from worker.checkpoints import served_checkpoint
from worker.device import pick_device
from worker.pipeline import reconstruct_sequence
from worker.serving.context import WorkerContext
from worker.serving.deadline import deadline
from worker.serving.failures import JobFailure, errors_recorded, retry_storage
from worker.serving.finisher import Finisher
from worker.serving.memory import limit_memory
from worker.serving.progress import ProgressReport
from worker.serving.spool import Reconstruction, Spool

log = logging.getLogger(__name__)
WAIT_SECONDS = 0.05  # between looks at the spool
RECHECK_SECONDS = 1.0  # between looks at the record of a job that waits for room


class Runner:
    """Runs jobs with a loaded model. What it reconstructs goes to the spool."""

    def __init__(self, context: WorkerContext, spool: Spool) -> None:
        settings = context.settings
        self.context = context
        self.spool = spool
        started = time.perf_counter()
        config = load_config(settings.model)
        self.reconstructor = Reconstructor.from_config(
            config, served_checkpoint(config, settings), device=pick_device(settings.device)
        )
        self.on_cpu = str(self.reconstructor.device) == "cpu"
        warm_up(self.reconstructor)  # before the worker counts as alive, so that no job waits for a compiler
        self.load_seconds = time.perf_counter() - started
        self.loaded = ModelInfo(**self.reconstructor.describe() | {"name": settings.model_name})
        context.registry.announce(self.loaded)
        log.info(
            "model %s loaded in %.2f s on %s",
            settings.model_name,
            self.load_seconds,
            self.reconstructor.device,
        )

    def run(self, job_id: str) -> None:
        """Run an attempt to its end in this process."""
        self.begin(job_id)
        self.finish_next()

    def finish_next(self) -> None:
        """Store the files of the oldest reconstruction in the spool, if any."""
        if entry := self.spool.take():
            try:
                Finisher(self.context).finish(self.spool.load(entry))
            finally:
                self.spool.discard(entry)

    def begin(self, job_id: str) -> None:
        """Run an attempt up to its meshes and put them into the spool.

        The job's time begins once the spool has room for it: the files of others do not count. Errors end the
        job with a message in its record; tracebacks go to the log only. Raises RedisError if the record
        cannot be written.
        """
        if not self._wait_for_room(job_id):
            return
        job = self.context.jobs.claim(job_id, self.context.settings.max_attempts, self.loaded)
        if job is None:
            log.info("job %s is unknown or has already ended", job_id)
            return
        with span("run", parse(job.traceparent), kind="consumer") as own:
            own.attributes |= {"oflow.job": job.id, "oflow.model": job.model, "oflow.attempt": job.attempt}
            with span("queue", parse(job.traceparent), start=job.created_at):
                log.info("job %s started, attempt %d", job.id, job.attempt)
            self._run(job)

    def _run(self, job: Job) -> None:
        if self.on_cpu:  # CUDA maps more than it uses
            limit_memory(self.context.settings.job_memory_bytes)
        with errors_recorded(self.context, job), deadline(self.context.settings.job_deadline_seconds):
            made = self._reconstruct(job)
            # From here on a lease protects the job, since its delivery is acknowledged.
            if not self.context.jobs.lease(job, self.context.settings.visibility_timeout_seconds):
                raise Canceled("before its files were written")
            self._hand_over(made)

    def _wait_for_room(self, job_id: str) -> bool:
        """Wait for earlier results to be stored. False if the job has ended meanwhile."""
        checked = time.monotonic()
        while not self.spool.has_room():
            time.sleep(WAIT_SECONDS)
            if time.monotonic() - checked > RECHECK_SECONDS:
                checked = time.monotonic()
                job = self.context.jobs.get(job_id)
                if job is None or job.state not in (State.QUEUED, State.RUNNING):
                    return False
        return True

    def _reconstruct(self, job: Job) -> Reconstruction:
        assert job.started_at is not None  # noqa: S101  # it has been claimed
        started = time.monotonic()
        report = ProgressReport(self.context.jobs, job, started)
        options = job.reconstruction_options()
        with span("fetch"):
            sequence = self._fetch(job, options.read_options)
        timings = {
            "queue": (job.started_at - job.created_at).total_seconds(),
            "fetch": time.monotonic() - started,
        }
        with span("reconstruct") as own:
            meshes = reconstruct_sequence(
                self.reconstructor, sequence, options, report.within(0.02, 0.95), report.is_stopped
            )
            own.attributes |= {f"oflow.seconds.{stage}": t for stage, t in meshes.timings.items()}
        report.finish()
        shown = any("sequence" in kind.takes for kind in options.formats)
        taken = timings | meshes.timings
        kept = sequence if shown else None
        return Reconstruction(job, meshes, taken, started, kept, str(current_trace() or ""))

    @retry_storage
    def _fetch(self, job: Job, options: ReadOptions) -> PointCloudSequence:
        with tempfile.TemporaryFile() as file:
            try:
                digest = self.context.store.get(job.input_key, file)
            except self.context.store.client.exceptions.NoSuchKey:
                raise JobFailure("input_missing", "The stored input is missing. Submit it again.") from None
            if digest != job.input.sha256:
                message = "The stored input differs from the uploaded file. Submit it again."
                raise JobFailure("input_altered", message)
            return read_sequence(file, self.context.limits.stored, options)

    @retry_storage
    def _hand_over(self, made: Reconstruction) -> None:
        self.spool.put(made)

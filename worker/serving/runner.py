"""Runs a job: fetch the input, reconstruct, write and store the files, update the record."""

import hashlib
import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from billiard.exceptions import SoftTimeLimitExceeded
from botocore.exceptions import BotoCoreError, ClientError
from redis.exceptions import RedisError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from model import MeshSequence, Reconstructor, load_config
from model.errors import Canceled, ModelError
from service.core.jobs.options import OptionsError
from service.core.jobs.record import Decisions, Fit, Job, JobError, Mesh, Result, ResultFile, Thumbnail
from service.core.registry import ModelInfo
from service.core.sequences.sequence import PointCloudSequence, SequenceError, read_sequence
from service.core.trace import begin_trace
from worker.checkpoints import served_checkpoint
from worker.device import pick_device
from worker.pipeline import reconstruct_sequence, write_meshes
from worker.rendering.previews import thumbnail
from worker.serving.context import WorkerContext
from worker.serving.finalizer import Finalizer
from worker.serving.progress import ProgressReport

log = logging.getLogger(__name__)
OUTAGE_SECONDS = 180  # SeaweedFS can take over a minute to notice that a full disk has space again
# boto3 retries individual requests; this decorator also outlasts longer outages of the object store.
retry_storage = retry(
    retry=retry_if_exception_type((BotoCoreError, ClientError, OSError)),
    wait=wait_exponential_jitter(multiplier=0.5, max=8),
    stop=stop_after_delay(OUTAGE_SECONDS),
    reraise=True,
)


class JobFailure(Exception):  # noqa: N818  # reported to the caller
    def __init__(self, code: str, message: str) -> None:
        self.error = JobError(code=code, message=message)
        super().__init__(message)


class _Attempt:
    """An attempt to run a job, with the time spent in each stage in seconds."""

    def __init__(self, job: Job, report: ProgressReport) -> None:
        self.job, self.report = job, report
        self.started = time.perf_counter()
        queued = (job.started_at or job.created_at) - job.created_at
        self.timings = {"queue": queued.total_seconds()}
        self.options = job.reconstruction_options()
        self.sequence: PointCloudSequence | None = None  # kept where a format needs it

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + time.perf_counter() - start


class Runner:
    """Runs jobs with a loaded model."""

    def __init__(self, context: WorkerContext) -> None:
        settings = context.settings
        self.context = context
        started = time.perf_counter()
        config = load_config(settings.model)
        self.reconstructor = Reconstructor.from_config(
            config, served_checkpoint(config, settings), device=pick_device(settings.device)
        )
        self.load_seconds = time.perf_counter() - started
        self.finalizer = Finalizer(context.jobs, settings.visibility_timeout_seconds)
        self.loaded = ModelInfo(**self.reconstructor.describe() | {"name": settings.model_name})
        context.registry.announce(self.loaded)
        log.info(
            "model %s loaded in %.2f s on %s",
            settings.model_name,
            self.load_seconds,
            self.reconstructor.device,
        )

    def run(self, job_id: str) -> None:
        """Run an attempt and wait until the job has ended."""
        self.begin(job_id)
        self.finalizer.wait()

    def begin(self, job_id: str) -> None:
        """Run an attempt up to its meshes, and finish it in the background while the next one starts.

        Errors end the job with a message in its record; tracebacks go to the log only. Raises RedisError if
        the record cannot be written.
        """
        job = self.context.jobs.claim(job_id, self.context.settings.max_attempts, self.loaded)
        if job is None:
            log.info("job %s is unknown or has already ended", job_id)
            return
        begin_trace(job.traceparent)
        log.info("job %s started, attempt %d", job.id, job.attempt)
        with self._errors_recorded(job):
            attempt = _Attempt(job, ProgressReport(self.context.jobs, job))
            meshes = self._reconstruct(attempt)
            self.finalizer.hand_over(job, lambda: self._finish(attempt, meshes))

    @contextmanager
    def _errors_recorded(self, job: Job) -> Iterator[None]:
        try:
            yield
        except Canceled:
            log.info("job %s, attempt %d: stopped, canceled or superseded", job.id, job.attempt)
            self.context.jobs.give_back(job.id, job.attempt)  # the worker did not die, so it must not count
            self._delete_results(job)
        except RedisError:
            raise  # not caused by the job
        except Exception as error:
            failure = self._describe(error)
            log.error(
                "job %s failed: %s: %s",
                job.id,
                failure.code,
                error,
                exc_info=failure.code == "internal_error",
            )
            self.context.jobs.fail(job, failure)

    def _reconstruct(self, attempt: "_Attempt") -> MeshSequence:
        with attempt.timed("fetch"):
            sequence = self._fetch(attempt.job)
        report = attempt.report
        meshes = reconstruct_sequence(
            self.reconstructor, sequence, attempt.options, report.within(0.02, 0.95), report.is_stopped
        )
        attempt.timings |= meshes.timings
        if any("sequence" in kind.takes for kind in attempt.options.formats):
            attempt.sequence = sequence
        return meshes

    def _finish(self, attempt: "_Attempt", meshes: MeshSequence) -> None:
        job = attempt.job
        with self._errors_recorded(job):
            files = self._store_files(attempt, meshes)
            picture = self._store_thumbnail(attempt, meshes)
            attempt.report.finish()
            attempt.timings["total"] = time.perf_counter() - attempt.started
            if self.context.jobs.succeed(job, _result(meshes, files, picture, attempt.timings)):
                log.info("job %s succeeded in %.2f s", job.id, attempt.timings["total"])
            else:
                log.info("job %s, attempt %d: had already been ended elsewhere", job.id, job.attempt)
                self._delete_results(job)

    def _store_files(self, attempt: "_Attempt", meshes: MeshSequence) -> list[ResultFile]:
        options, files = attempt.options, []
        for number, kind in enumerate(options.formats):
            attempt.report("write", 0.95 + 0.05 * number / len(options.formats))
            with attempt.timed("write"):
                name = f"mesh{kind.suffix}"
                data = write_meshes(meshes, kind, options, attempt.sequence)
            facts = self._store_file(attempt, name, data, kind.media_type)
            files.append(ResultFile(format=kind, **facts))
        return files

    def _store_thumbnail(self, attempt: "_Attempt", meshes: MeshSequence) -> Thumbnail:
        with attempt.timed("write"):
            data = thumbnail(meshes)
        return Thumbnail(**self._store_file(attempt, "thumbnail.png", data, "image/png"))

    def _store_file(self, attempt: "_Attempt", name: str, data: bytes, media_type: str) -> dict[str, Any]:
        """Store a file of the result; returns its name, size and hash."""
        attempt.report.require_current()
        with attempt.timed("store"):
            self._store(attempt.job, name, data, media_type)
        return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    @retry_storage
    def _fetch(self, job: Job) -> PointCloudSequence:
        with tempfile.TemporaryFile() as file:
            try:
                digest = self.context.store.get(job.input_key, file)
            except self.context.store.client.exceptions.NoSuchKey:
                raise JobFailure("input_missing", "The stored input is missing. Submit it again.") from None
            if digest != job.input.sha256:
                message = "The stored input differs from the uploaded file. Submit it again."
                raise JobFailure("input_altered", message)
            return read_sequence(file, self.context.limits.stored)

    @retry_storage
    def _store(self, job: Job, name: str, data: bytes, media_type: str) -> None:
        self.context.store.put(job.result_key(name), io.BytesIO(data), media_type)

    def _delete_results(self, job: Job) -> None:
        """Delete the files of an attempt that has been canceled or superseded."""
        try:
            self.context.store.delete_all(job.result_key(""))
        except (BotoCoreError, ClientError) as error:
            log.warning(
                "files of job %s, attempt %d, could not be deleted and will expire: %s",
                job.id,
                job.attempt,
                error,
            )

    def _describe(self, error: Exception) -> JobError:
        """The error for the job record, without paths or tracebacks."""
        kinds: dict[type[Exception] | tuple[type[Exception], ...], Callable[[], JobError]] = {
            JobFailure: lambda: error.error,  # type: ignore[attr-defined]
            (ModelError, SequenceError, OptionsError): lambda: JobError(code=error.code, message=str(error)),  # type: ignore[attr-defined]
            SoftTimeLimitExceeded: self.context.deadline_error,
            (BotoCoreError, ClientError, OSError): lambda: JobError(
                code="storage_unavailable",
                message=f"The object store was unavailable for {OUTAGE_SECONDS} s. Submit the job again.",
            ),
        }
        if _is_out_of_memory(error):
            message = "The job needs more memory than the worker has. Try a lower resolution."
            return JobError(code="out_of_memory", message=message)
        for kind, describe in kinds.items():
            if isinstance(error, kind):
                return describe()
        message = "The reconstruction failed with an internal error; the worker's log has the details."
        return JobError(code="internal_error", message=message)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # PyTorch raises a plain RuntimeError when it runs out of CPU memory.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)


def _result(
    meshes: MeshSequence, files: list[ResultFile], picture: Thumbnail, timings: dict[str, float]
) -> Result:
    frames, vertices, _ = meshes.vertices.shape  # [T, V, 3]
    assert meshes.fit is not None  # noqa: S101  # always set by the Reconstructor
    assert meshes.findings is not None  # noqa: S101  # likewise
    return Result(
        verdict=meshes.findings.verdict,
        reasons=meshes.findings.reasons,
        warnings=meshes.findings.warnings,
        decisions=Decisions.model_validate(meshes.findings.decisions),
        files=files,
        thumbnail=picture,
        mesh=Mesh(vertices=vertices, faces=len(meshes.faces), frames=frames, watertight=meshes.watertight),
        fit=Fit(mean=meshes.fit.mean.tolist(), p95=meshes.fit.p95.tolist()),
        timings={stage: round(seconds, 4) for stage, seconds in timings.items()},
    )

"""One job from record to files: fetch, reconstruct, write, finish."""

import hashlib
import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from billiard.exceptions import SoftTimeLimitExceeded
from botocore.exceptions import BotoCoreError, ClientError
from redis.exceptions import RedisError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from model import MeshSequence, Reconstructor, load_config
from model.errors import Canceled, ModelError
from service.core.jobs.options import OptionsError
from service.core.jobs.record import Fit, Job, JobError, Mesh, Result, ResultFile
from service.core.registry import ModelInfo
from service.core.sequences.sequence import PointCloudSequence, SequenceError, read_sequence
from service.core.trace import begin_trace
from worker.checkpoints import served_checkpoint
from worker.device import pick_device
from worker.pipeline import reconstruct_sequence, write_meshes
from worker.serving.context import WorkerContext
from worker.serving.finalizer import Finalizer
from worker.serving.progress import ProgressReport

log = logging.getLogger(__name__)
OUTAGE = 180  # seconds; SeaweedFS may take over a minute to see that a full disk has room again
# boto3 repeats single requests; this outlasts an object store that is away for a while.
through_outages = retry(
    retry=retry_if_exception_type((BotoCoreError, ClientError, OSError)),
    wait=wait_exponential_jitter(multiplier=0.5, max=8),
    stop=stop_after_delay(OUTAGE),
    reraise=True,
)


class JobFailure(Exception):  # noqa: N818  # an outcome, told to the caller
    def __init__(self, code: str, message: str) -> None:
        self.error = JobError(code=code, message=message)
        super().__init__(message)


class _Attempt:
    """A job as it is run here, and the seconds that each of its stages took."""

    def __init__(self, job: Job, report: ProgressReport) -> None:
        self.job, self.report = job, report
        self.began = time.perf_counter()
        queued = (job.started_at or job.created_at) - job.created_at
        self.timings = {"queue": queued.total_seconds()}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + time.perf_counter() - start


class Runner:
    """A loaded model and the places it reads from and writes to."""

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
        context.registry.announce(ModelInfo(**self.reconstructor.describe() | {"name": settings.model_name}))
        log.info(
            "model %s loaded in %.2f s on %s",
            settings.model_name,
            self.load_seconds,
            self.reconstructor.device,
        )

    def run(self, job_id: str) -> None:
        """Run an attempt to its end."""
        self.begin(job_id)
        self.finalizer.wait()

    def begin(self, job_id: str) -> None:
        """Run an attempt as far as its meshes. They are written and stored, and the record ended, while
        the next attempt begins. What goes wrong ends in the record as a sentence, in the log as a trace.

        Raises RedisError when the record itself cannot be written.
        """
        job = self.context.jobs.claim(job_id, self.context.settings.max_attempts)
        if job is None:
            log.info("job %s is not to be run (again)", job_id)
            return
        begin_trace(job.traceparent)
        log.info("job %s started, attempt %d", job.id, job.attempt)
        with self._ended_by_faults(job):
            attempt = _Attempt(job, ProgressReport(self.context.jobs, job))
            meshes = self._reconstruct(attempt)
            self.finalizer.hand_over(job, lambda: self._finish(attempt, meshes))

    @contextmanager
    def _ended_by_faults(self, job: Job) -> Iterator[None]:
        try:
            yield
        except Canceled:
            log.info("job %s, attempt %d: stopped, it is no longer wanted", job.id, job.attempt)
            self.context.jobs.give_back(job.id, job.attempt)  # another worker has it, and this one lives
            self._clear(job)
        except RedisError:
            raise  # no fault of the job
        except Exception as error:
            told = self._explain(error)
            log.error(
                "job %s failed: %s: %s", job.id, told.code, error, exc_info=told.code == "internal_error"
            )
            self.context.jobs.fail(job, told)

    def _reconstruct(self, attempt: "_Attempt") -> MeshSequence:
        with attempt.timed("fetch"):
            sequence = self._fetch(attempt.job)
        report = attempt.report
        meshes = reconstruct_sequence(
            self.reconstructor, sequence, attempt.job.options, report.within(0.02, 0.95), report.is_stopped
        )
        attempt.timings |= meshes.timings
        return meshes

    def _finish(self, attempt: "_Attempt", meshes: MeshSequence) -> None:
        job = attempt.job
        with self._ended_by_faults(job):
            files = self._store_files(attempt, meshes)
            attempt.report.finish()
            attempt.timings["total"] = time.perf_counter() - attempt.began
            if self.context.jobs.succeed(job, _result(meshes, files, attempt.timings)):
                log.info("job %s succeeded in %.2f s", job.id, attempt.timings["total"])
            else:
                log.info("job %s, attempt %d: someone else had ended it", job.id, job.attempt)
                self._clear(job)

    def _store_files(self, attempt: "_Attempt", meshes: MeshSequence) -> list[ResultFile]:
        job, files = attempt.job, []
        for number, kind in enumerate(job.options.formats):
            attempt.report("write", 0.95 + 0.05 * number / len(job.options.formats))
            with attempt.timed("write"):
                name, data = f"mesh{kind.suffix}", write_meshes(meshes, kind)
            attempt.report.require_wanted()
            with attempt.timed("store"):
                self._store(job, name, data, kind.media_type)
            digest = hashlib.sha256(data).hexdigest()
            files.append(ResultFile(format=kind, name=name, bytes=len(data), sha256=digest))
        return files

    @through_outages
    def _fetch(self, job: Job) -> PointCloudSequence:
        with tempfile.TemporaryFile() as file:
            try:
                digest = self.context.store.get(job.input_key, file)
            except self.context.store.client.exceptions.NoSuchKey:
                raise JobFailure("input_missing", "The stored input is gone. Send it again.") from None
            if digest != job.input.sha256:
                raise JobFailure(
                    "input_altered", "The stored input is not the one that was uploaded. Send it again."
                )
            return read_sequence(file, self.context.limits)

    @through_outages
    def _store(self, job: Job, name: str, data: bytes, media_type: str) -> None:
        self.context.store.put(job.result_key(name), io.BytesIO(data), media_type)

    def _clear(self, job: Job) -> None:
        """Delete what an attempt has written that is not wanted any more."""
        try:
            self.context.store.delete_all(job.result_key(""))
        except (BotoCoreError, ClientError) as error:
            log.warning("files of job %s, attempt %d, are left to expire: %s", job.id, job.attempt, error)

    def _explain(self, error: Exception) -> JobError:
        """What the caller reads: a code and a sentence, no path and no trace."""
        kinds: dict[type[Exception] | tuple[type[Exception], ...], Callable[[], JobError]] = {
            JobFailure: lambda: error.error,  # type: ignore[attr-defined]
            (ModelError, SequenceError, OptionsError): lambda: JobError(code=error.code, message=str(error)),  # type: ignore[attr-defined]
            SoftTimeLimitExceeded: self.context.deadline_error,
            (BotoCoreError, ClientError, OSError): lambda: JobError(
                code="storage_unavailable",
                message=f"The object store took no files for {OUTAGE} s. Send the job again.",
            ),
        }
        if _is_out_of_memory(error):
            message = "The job needs more memory than the worker has. A lower resolution needs less."
            return JobError(code="out_of_memory", message=message)
        for kind, explain in kinds.items():
            if isinstance(error, kind):
                return explain()
        return JobError(
            code="internal_error", message="The reconstruction broke on our side; the log names the job."
        )


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # Torch has no class of its own for a CPU without memory.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)


def _result(meshes: MeshSequence, files: list[ResultFile], timings: dict[str, float]) -> Result:
    frames, vertices, _ = meshes.vertices.shape  # [T, V, 3]
    assert meshes.fit is not None  # noqa: S101  # the Reconstructor always measures it
    return Result(
        files=files,
        mesh=Mesh(vertices=vertices, faces=len(meshes.faces), frames=frames, watertight=meshes.watertight),
        fit=Fit(mean=meshes.fit.mean.tolist(), p95=meshes.fit.p95.tolist()),
        timings={stage: round(seconds, 4) for stage, seconds in timings.items()},
    )

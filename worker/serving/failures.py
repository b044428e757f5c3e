"""How an attempt ends if it does not succeed: errors for the record, and retries of the object store."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from redis.exceptions import RedisError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from model.errors import Canceled, ModelError
from service.core.jobs.option_faults import OptionsError
from service.core.jobs.record import Job, JobError
from service.core.jobs.stored import UnreadableRecord
from service.core.sequences.sequence import SequenceError
from worker.serving.context import WorkerContext
from worker.serving.deadline import DeadlineExceeded

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


@contextmanager
def errors_recorded(context: WorkerContext, job: Job) -> Iterator[None]:
    """Record the errors of an attempt in its job; only RedisError passes, which the job has not caused.

    An attempt whose record has become unreadable is given up.
    """
    try:
        yield
    except Canceled:
        log.info("job %s, attempt %d: stopped, canceled or superseded", job.id, job.attempt)
        context.jobs.give_back(job.id, job.attempt)  # the worker did not die, so it must not count
        delete_results(context, job)
    except UnreadableRecord as error:
        context.jobs.quarantined.add(error)
        delete_results(context, job)
    except RedisError:
        raise
    except Exception as error:
        failure = _describe(context, error)
        log.error(
            "job %s failed: %s: %s", job.id, failure.code, error, exc_info=failure.code == "internal_error"
        )
        context.jobs.fail(job, failure)


def delete_results(context: WorkerContext, job: Job) -> None:
    """Delete the files of an attempt that has been canceled or superseded."""
    try:
        context.store.delete_all(job.result_key(""))
    except (BotoCoreError, ClientError) as error:
        log.warning(
            "files of job %s, attempt %d, could not be deleted and will expire: %s",
            job.id,
            job.attempt,
            error,
        )


def _describe(context: WorkerContext, error: Exception) -> JobError:
    """The error for the job record, without paths or tracebacks."""
    kinds: dict[type[Exception] | tuple[type[Exception], ...], Callable[[], JobError]] = {
        JobFailure: lambda: error.error,  # type: ignore[attr-defined]
        (ModelError, SequenceError, OptionsError): lambda: JobError(code=error.code, message=str(error)),  # type: ignore[attr-defined]
        DeadlineExceeded: context.deadline_error,
        (BotoCoreError, ClientError, OSError): lambda: JobError(
            code="storage_unavailable",
            message=f"The object store was unavailable for {OUTAGE_SECONDS} s. Submit the job again.",
        ),
    }
    if _is_out_of_memory(error):
        message = "The job needs more memory than the worker has. Try a lower resolution or fewer frames."
        return JobError(code="out_of_memory", message=message)
    for kind, describe in kinds.items():
        if isinstance(error, kind):
            return describe()
    message = "The reconstruction failed with an internal error; the worker's log has the details."
    return JobError(code="internal_error", message=message)


def _is_out_of_memory(error: Exception) -> bool:
    # torch.OutOfMemoryError by its name, since the process that stores files does not load torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # PyTorch raises a plain RuntimeError when it runs out of CPU memory, and Python if a thread has no stack.
    told = ("DefaultCPUAllocator: can't allocate memory", "std::bad_alloc", "can't start new thread")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in told)

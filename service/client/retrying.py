"""Requests that are sent again when the server is busy or the line breaks, and what a refusal says."""

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

BUSY = {408, 425, 429, 500, 502, 503, 504}  # answers that another try may better
_backoff = wait_exponential_jitter(multiplier=0.3, max=10)


class ServiceError(Exception):
    """The gateway refused, or could not be reached. `status` is None where there was no answer."""

    def __init__(
        self,
        message: str,
        code: str = "unreachable",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status is None or self.status in BUSY or self.code == "idempotency_in_flight"


def attempts(patience: float) -> Retrying:
    """Tries for so many seconds, as far apart as the server asks for; the last error is raised."""
    return Retrying(
        retry=retry_if_exception(_is_passing),
        wait=_pause,
        stop=stop_after_delay(patience),
        retry_error_callback=_give_up,
    )


def check(answer: httpx.Response) -> None:
    """Raise ServiceError in the words of the problem that the server found."""
    if answer.status_code < httpx.codes.BAD_REQUEST:
        return
    answer.read()
    try:
        problem = answer.json()
        told, code = str(problem.get("detail") or problem["title"]), str(problem.get("code", "refused"))
        faults = [str(fault["message"]) for fault in problem.get("errors") or []]
    except (ValueError, KeyError, TypeError, AttributeError):  # not from our gateway
        told, code, faults = f"{answer.url.host} answered {answer.status_code}", "refused", []
    after = answer.headers.get("Retry-After", "")
    raise ServiceError(
        "; ".join(faults) or told, code, answer.status_code, float(after) if after.isdecimal() else None
    )


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, httpx.TransportError) or (isinstance(error, ServiceError) and error.is_passing)


def _pause(state: RetryCallState) -> float:
    """As long as the server asks for, else longer each time."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ServiceError) else None
    return asked if asked is not None else _backoff(state)


def _give_up(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, httpx.TransportError):
        raise ServiceError(f"the gateway does not answer: {words(error)}") from None
    if error is not None:
        raise error


def words(error: Exception) -> str:
    """What a broken line has to say, which may be nothing."""
    return str(error) or type(error).__name__

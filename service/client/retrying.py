"""Requests that are repeated while the server is busy or the connection fails, and errors as exceptions."""

import re
from collections.abc import Callable
from typing import TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from service.core.sequences.errors import Fault

BUSY = {408, 425, 429, 500, 502, 503, 504}  # answers that another attempt may improve
FIRST_CONTACT = 3.0  # seconds after which a server that never answered is given up
Attempts = TypeVar("Attempts", Retrying, AsyncRetrying)
_backoff = wait_exponential_jitter(multiplier=0.3, max=10)


class ServiceError(Exception):
    """The server refused a request or could not be reached; `status` is None if there was no answer.

    `faults` lists what is wrong with the request: key, message, what was found, what is wanted.
    """

    def __init__(
        self,
        message: str,
        code: str = "unreachable",
        status: int | None = None,
        retry_after: float | None = None,
        faults: list[Fault] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.faults = faults or []

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later."""
        unreached = self.status is None and self.code == "unreachable"
        return unreached or self.status in BUSY or self.code == "idempotency_in_flight"


def base_url(address: str) -> httpx.URL:
    """The URL of a server; without a scheme it is http. Raises ServiceError if it names no server."""
    try:
        url = httpx.URL(address if "://" in address else f"http://{address}")
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]+", url.host):
        wanted = "for example http://127.0.0.1:8000"
        raise ServiceError(f"{address!r} is not the address of a server: wanted {wanted}", "invalid_address")
    return url


def attempts(kind: type[Attempts], patience: float, has_answered: Callable[[], bool]) -> Attempts:
    """Attempts for `patience` seconds, as far apart as the server asks for; raises the last error.

    Where the server asks for nothing, pauses grow, and the last one ends with the patience.
    A server that refuses connections before it `has_answered` at all is given up after FIRST_CONTACT seconds.
    """

    def left(state: RetryCallState) -> float:
        unseen = isinstance(_error(state), httpx.ConnectError | httpx.ConnectTimeout) and not has_answered()
        limit = min(patience, FIRST_CONTACT) if unseen else patience
        return limit - (state.seconds_since_start or 0)

    def pause(state: RetryCallState) -> float:
        error = _error(state)
        asked = error.retry_after if isinstance(error, ServiceError) else None
        return asked if asked is not None else max(min(_backoff(state), left(state)), 0)

    def is_over(state: RetryCallState) -> bool:
        return left(state) <= 0 or state.upcoming_sleep > left(state)

    return kind(
        retry=retry_if_exception(_is_passing), wait=pause, stop=is_over, retry_error_callback=_give_up
    )


def check(answer: httpx.Response) -> None:
    """Raise ServiceError for an error response, with every fault that the server lists."""
    if answer.status_code < httpx.codes.BAD_REQUEST:
        return
    answer.read()
    try:
        problem = answer.json()
        message, code = str(problem.get("detail") or problem["title"]), str(problem.get("code", "refused"))
        faults = [
            Fault(*(str(fault.get(name) or "") for name in ("key", "message", "found", "wanted")))
            for fault in problem.get("errors") or []
        ]
    except (ValueError, KeyError, TypeError, AttributeError):  # not from our gateway
        message, code, faults = f"{answer.url.host} answered {answer.status_code}", "refused", []
    after = answer.headers.get("Retry-After", "")
    raise ServiceError(
        "\n".join(map(str, faults)) or message,
        code,
        answer.status_code,
        float(after) if after.isdecimal() else None,
        faults,
    )


async def check_async(answer: httpx.Response) -> None:
    """`check` for an answer of httpx.AsyncClient."""
    if answer.is_error:
        await answer.aread()
    check(answer)


def unreachable(error: httpx.TransportError) -> ServiceError:
    """A failed connection as a ServiceError."""
    why = str(error) or type(error).__name__  # some have no message
    try:
        url = error.request.url
    except RuntimeError:  # an answer that is no event stream
        return ServiceError(f"The server gave an unexpected answer ({why})")
    address = f"{url.scheme}://{url.netloc.decode()}"
    return ServiceError(f"No answer from {address} ({why}). Is the server running?")


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, httpx.TransportError) or (isinstance(error, ServiceError) and error.is_passing)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _give_up(state: RetryCallState) -> None:
    error = _error(state)
    if isinstance(error, httpx.TransportError):
        raise unreachable(error) from None
    if error is not None:
        raise error

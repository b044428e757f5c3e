"""HTTP protocol with timeouts for slow clients.

uvicorn itself waits indefinitely for request headers and for clients that do not read the response.
"""

import asyncio
import logging
import socket
import time
from typing import TYPE_CHECKING

from service.api.http.headers import HEADERS
from service.api.http.problems import Problem, problem_response
from service.core.settings import Settings

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol as Protocol

log = logging.getLogger(__name__)
# Without this limit the kernel buffers megabytes, and a client that reads slowly but steadily looks stalled.
NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
NOTSENT_BYTES = 2**16
WARNING_INTERVAL = 10.0  # seconds between warnings about too many connections


class HardenedHTTPProtocol(Protocol):
    """uvicorn's protocol with timeouts and a connection limit, both from the settings."""

    _warned_at = -WARNING_INTERVAL
    _header_timer: asyncio.TimerHandle | None = None  # until the headers of the next request are complete
    _write_timer: asyncio.TimerHandle | None = None  # until the client has read enough of the response
    _request_begun = False  # some bytes of the next request have arrived

    @property
    def _settings(self) -> Settings:
        settings: Settings = self.config.app.state.context.settings  # type: ignore[union-attr]  # our FastAPI
        return settings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if NOTSENT_LOWAT is not None:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, NOTSENT_BYTES)
        limit = self._settings.max_connections
        if len(self.connections) <= limit:
            self._update_header_timer()
            return
        if time.monotonic() - HardenedHTTPProtocol._warned_at > WARNING_INTERVAL:
            HardenedHTTPProtocol._warned_at = time.monotonic()
            log.warning("limit of %d connections reached, refusing new ones", limit)
        self._close_with(Problem("too_many_connections"))

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._request_begun = True
        self._update_header_timer()

    def on_response_complete(self) -> None:
        self._request_begun = False
        super().on_response_complete()
        self._update_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._header_timer)
        _cancel(self._write_timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            _cancel(self._write_timer)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._close_with(Problem("bad_request", msg))

    def _update_header_timer(self) -> None:
        """Run the timer while waiting for a request, and stop it while one is processed."""
        if self.transport.is_closing():
            self._start_write_timer()
        elif self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._header_timer)
            self._header_timer = None
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self._settings.header_seconds, self._on_header_timeout)

    def _on_header_timeout(self) -> None:
        detail = f"The request headers were not complete after {self._settings.header_seconds:g} s"
        self._close_with(Problem("too_slow", detail) if self._request_begun else None)

    def _close_with(self, problem: Problem | None) -> None:
        """Close the connection after sending an error response, unless another response has started."""
        responding = (
            self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        )
        if problem is not None and not responding and not self.transport.is_closing():
            self.transport.write(_raw_response(problem))
        self.transport.close()  # after the write buffer is flushed
        self._start_write_timer()

    def _start_write_timer(self) -> None:
        """Abort the connection unless the client reads at least `min_rate` bytes per second."""
        seconds, buffered = self._settings.stall_seconds, self.transport.get_write_buffer_size()
        _cancel(self._write_timer)
        self._write_timer = self.loop.call_later(
            seconds, self._check_write_progress, buffered - self._settings.min_rate * seconds
        )

    def _check_write_progress(self, max_buffered: float) -> None:
        if self.transport.get_write_buffer_size() > max_buffered:
            self.transport.abort()
        else:
            self._start_write_timer()


def _raw_response(problem: Problem) -> bytes:
    """An HTTP/1.1 error response for input that could not be parsed as a request."""
    response = problem_response(problem)
    response.headers.update(HEADERS | {"Connection": "close"})
    fields = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
    return b"HTTP/1.1 %d \r\n%s\r\n%s" % (response.status_code, fields, response.body)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

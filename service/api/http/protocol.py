"""The server's end of a connection: nobody holds one by sending or taking next to nothing.

uvicorn waits for ever for the headers of a request, and for a client to take its answer.
"""

import asyncio
import logging
import socket
import time
from typing import TYPE_CHECKING

from service.api.http.headers import HEADERS
from service.api.http.problems import Problem, answer
from service.core.settings import Settings

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol as Protocol

log = logging.getLogger(__name__)
# Else the kernel takes megabytes at a time, and nothing is seen of who takes them slowly but steadily.
UNSENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
UNSENT_BYTES = 2**16
TOLD_EVERY = 10.0  # seconds, of a flood


class HardenedHTTPProtocol(Protocol):
    """uvicorn's protocol with deadlines and a limit of connections, both from the settings."""

    _told = -TOLD_EVERY
    _deadline: asyncio.TimerHandle | None = None  # for the headers of the next request
    _stall: asyncio.TimerHandle | None = None  # for the other end to take an answer
    _begun = False  # a part of the next request is here

    @property
    def _settings(self) -> Settings:
        settings: Settings = self.config.app.state.context.settings  # type: ignore[union-attr]  # our FastAPI
        return settings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if UNSENT is not None:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, UNSENT, UNSENT_BYTES)
        most = self._settings.max_connections
        if len(self.connections) <= most:
            self._watch()
            return
        if time.monotonic() - HardenedHTTPProtocol._told > TOLD_EVERY:
            HardenedHTTPProtocol._told = time.monotonic()
            log.warning("more than %d connections at once: the others are turned away", most)
        self._end(Problem("too_many_connections"))

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._begun = True
        self._watch()

    def on_response_complete(self) -> None:
        self._begun = False
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._deadline)
        _cancel(self._stall)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_taken()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            _cancel(self._stall)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._end(Problem("bad_request", msg))

    def _watch(self) -> None:
        """Have a deadline while a request is waited for, and none while one is worked on."""
        if self.transport.is_closing():
            self._expect_taken()
        elif self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._deadline)
            self._deadline = None
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._settings.header_seconds, self._too_late)

    def _too_late(self) -> None:
        told = f"The headers were not complete after {self._settings.header_seconds:g} s"
        self._end(Problem("too_slow", told) if self._begun else None)

    def _end(self, problem: Problem | None) -> None:
        """Close the connection, with an answer where one is due; cut it where that is not taken."""
        under_way = (
            self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        )
        if problem is not None and not under_way and not self.transport.is_closing():
            self.transport.write(_raw(problem))
        self.transport.close()  # once what was written is taken
        self._expect_taken()

    def _expect_taken(self) -> None:
        """Cut the connection if the other end takes too little of what is written."""
        seconds, left = self._settings.stall_seconds, self.transport.get_write_buffer_size()
        _cancel(self._stall)
        self._stall = self.loop.call_later(
            seconds, self._look_taken, left - self._settings.min_rate * seconds
        )

    def _look_taken(self, most: float) -> None:
        if self.transport.get_write_buffer_size() > most:
            self.transport.abort()
        else:
            self._expect_taken()


def _raw(problem: Problem) -> bytes:
    """An answer to what never became a request."""
    response = answer(problem)
    response.headers.update(HEADERS | {"Connection": "close"})
    fields = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
    return b"HTTP/1.1 %d \r\n%s\r\n%s" % (response.status_code, fields, response.body)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

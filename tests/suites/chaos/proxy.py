"""A TCP proxy in front of a server, which can cut, stall, slow down or break connections."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from service.local.ports import LOOPBACK

CHUNK = 2**16  # bytes
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, like a broken connection


class Proxy:
    """Forwards `port` to `target`. Only the connection is disturbed, not the server."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.bytes_per_second: float | None = None
        self.broken = 0  # requests affected by `break_requests`
        self._breaks: tuple[bytes, int, bytes | None] | None = None
        self._refusing = False
        self._lines: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")

    def start(self) -> None:
        """Start listening on a free port."""
        self._thread.start()
        self._flowing.set()

        async def listen() -> int:
            server = await asyncio.start_server(self._connect, LOOPBACK, 0)
            port: int = server.sockets[0].getsockname()[1]
            return port

        self.port = self._run(listen())

    def cut(self, *, refuse: bool = False) -> None:
        """Reset every connection; with `refuse`, new ones too until `heal`."""
        self._refusing = refuse
        self._run(self._reset_all())

    def hold(self) -> None:
        """Forward nothing until `heal`: connections stay open but silent, as behind a dead router."""
        self._call(self._flowing.clear)

    def slow(self, bytes_per_second: float) -> None:
        """Limit each connection's bytes per second in both directions until `heal`."""
        self.bytes_per_second = bytes_per_second

    def break_requests(self, pattern: bytes, times: int, response: bytes | None = None) -> None:
        """For the next `times` requests containing `pattern`, send `response` and reset the connection."""
        self.broken = 0
        self._breaks = (pattern, times, response)

    def heal(self) -> None:
        """Forward everything again."""
        self.bytes_per_second = self._breaks = None
        self._refusing = False
        self._call(self._flowing.set)

    def stop(self) -> None:
        self._run(self._end())
        self._call(self._loop.stop)
        self._thread.join(5)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            _reset(writer)
            return
        ends = {writer, far_writer}
        self._lines |= ends
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, back=writer), self._pump(far_reader, writer, back=None)
            )
        except (OSError, asyncio.CancelledError):
            for end in ends:
                _reset(end)
        finally:
            self._lines -= ends
            for end in ends:
                end.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, back: asyncio.StreamWriter | None
    ) -> None:
        """Forward one direction until it ends; `back` leads to the client if the bytes are its requests."""
        while chunk := await source.read(CHUNK):
            await self._flowing.wait()
            if back is not None and self._is_broken(chunk):
                if self._breaks and self._breaks[2]:
                    back.write(self._breaks[2])
                    await back.drain()
                raise ConnectionResetError
            if self.bytes_per_second:
                await asyncio.sleep(len(chunk) / self.bytes_per_second)
            sink.write(chunk)
            await sink.drain()
        with suppress(OSError):
            sink.write_eof()

    def _is_broken(self, chunk: bytes) -> bool:
        if self._breaks is None or self.broken >= self._breaks[1] or self._breaks[0] not in chunk:
            return False
        self.broken += 1
        return True

    async def _reset_all(self) -> None:
        for writer in tuple(self._lines):
            _reset(writer)

    async def _end(self) -> None:
        lines = asyncio.all_tasks() - {asyncio.current_task()}
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    def _call(self, function: Callable[[], Any]) -> None:
        self._loop.call_soon_threadsafe(function)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


def _reset(writer: asyncio.StreamWriter) -> None:
    line: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()

"""Threads for blocking calls, some for each dependency: one that hangs holds up no request without it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from service.api.http.problems import Problem

T = TypeVar("T")
P = ParamSpec("P")


class Lane:
    """At most `size` calls at once. A call that has no result after `seconds` is answered with a 503 problem.

    One that is still waiting for a thread is then dropped. One that is running keeps its thread until it
    ends, so that calls that hang remain bounded; with `patient` it also keeps its request.
    """

    def __init__(self, code: str, name: str, size: int, seconds: float, *, patient: bool = False) -> None:
        self.code = code  # of the problem
        self.name = name  # what did not answer, for people
        self.seconds = seconds
        self.patient = patient
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=code)
        self._share = max(1, size // 2)  # of the threads, for one owner
        self._seats = WeakValueDictionary[str, asyncio.Semaphore]()  # of owners with calls

    async def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of the blocking function. Raises Problem if there is none in time."""
        return await self._answer(self._start(partial(function, *arguments, **named)))

    async def run_for(self, owner: str, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Like `run`, but with half of the threads at most for one owner, so that others find one free."""
        seat = self._seats.setdefault(owner, asyncio.Semaphore(self._share))
        try:
            async with asyncio.timeout(self.seconds):
                await seat.acquire()
        except TimeoutError:
            raise self._late() from None
        call, loop = self._start(partial(function, *arguments, **named)), asyncio.get_running_loop()

        def leave(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(seat.release)

        call.add_done_callback(leave)  # not when the request ends: its thread may still be busy
        return await self._answer(call)

    def _start(self, function: Callable[[], T]) -> Future[T]:
        return self._threads.submit(copy_context().run, function)

    async def _answer(self, call: Future[T]) -> T:
        answer = asyncio.wrap_future(call)
        done, _ = await asyncio.wait([answer], timeout=self.seconds)
        if not done and (call.cancel() or not self.patient):
            answer.add_done_callback(_ignore)
            raise self._late()
        return await answer

    def _late(self) -> Problem:
        return Problem(self.code, f"{self.name} did not answer within {self.seconds:g} s: retry later")

    async def iterate(self, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        """The items of a blocking iterator, each of which may take `seconds`."""
        while (chunk := await self.run(_following, chunks)) is not None:
            yield chunk

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _following(chunks: Iterator[bytes]) -> bytes | None:
    return next(chunks, None)  # StopIteration cannot leave a thread


def _ignore(answer: "asyncio.Future[T]") -> None:
    if not answer.cancelled():
        answer.exception()  # retrieved, or asyncio logs it

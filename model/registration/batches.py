"""Calls of several threads computed together: while one batch runs, the next one gathers."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")


class Batches(Generic[Request, Result]):
    """Call it with a request; it waits for the result.

    `compute` gets up to `most` requests with the same `key`, runs in one thread at a time, and returns their
    results in order. Nothing waits for a batch to fill up. What `compute` raises, all of its callers get.
    """

    def __init__(
        self,
        compute: Callable[[list[Request]], list[Result]],
        key: Callable[[Request], Hashable],
        most: int,
    ) -> None:
        self._compute, self._key, self._most = compute, key, most
        self._queue: list[tuple[Request, Future[Result]]] = []
        self._queueing, self._computing = Lock(), Lock()

    def __call__(self, request: Request) -> Result:
        future: Future[Result] = Future()
        with self._queueing:
            self._queue.append((request, future))
        while not future.done():
            with self._computing:
                if not future.done():
                    self._run()
        return future.result()

    def __len__(self) -> int:
        """How many requests wait."""
        with self._queueing:
            return len(self._queue)

    def _run(self) -> None:
        with self._queueing:
            first = self._key(self._queue[0][0])
            batch = [entry for entry in self._queue if self._key(entry[0]) == first][: self._most]
            taken = {id(future) for _, future in batch}
            self._queue = [entry for entry in self._queue if id(entry[1]) not in taken]
        try:
            results = self._compute([request for request, _ in batch])
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)

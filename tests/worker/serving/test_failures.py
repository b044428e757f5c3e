"""What callers are told of a job that failed."""

import pytest

from worker.serving.failures import _is_out_of_memory


class OutOfMemoryError(RuntimeError):
    """As that of torch for a device."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("something else"), False),
        (OSError("No space left on device"), False),
    ],
)
def test_out_of_memory_is_recognized(error: Exception, told: bool) -> None:
    assert _is_out_of_memory(error) is told

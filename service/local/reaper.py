"""Kills process groups once the process that started them is gone, however it ended (`kill -9` included).

A small program of its own, started by `processes.py` as a plain script. It reads `+GROUP` and `-GROUP` lines:
the groups to watch. When the starter dies the kernel closes our standard input, and that is the sign. This
works alike on Linux and macOS and reaches grandchildren, which Linux's PR_SET_PDEATHSIG does not.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # it must outlive its starter
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        # At once and for all: both servers keep their data through SIGKILL, which the tests hold.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()

"""Kills process groups once the process that started them has ended, even by `kill -9`.

`processes.py` runs this file as a script and sends it `+GROUP` and `-GROUP` lines to add and remove groups.
When the parent dies, the kernel closes the reaper's standard input. Unlike Linux's PR_SET_PDEATHSIG, this
also works on macOS and reaches grandchildren.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the reaper must outlive its parent
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        # Safe for the servers' data: both survive SIGKILL without loss (see test_local_stack.py).
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()

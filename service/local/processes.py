"""Child processes that are started, heard, stopped as a group, and never outlive this process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from service.local.errors import LocalStackError
from service.local.log import MergedLog
from service.local.signals import signals_held

_REAPER_SCRIPT = Path(__file__).with_name("reaper.py")


class _Reaper:
    """The one helper process that kills our children if we are killed; see `reaper.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(_REAPER_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
            text=True,
        )

    def tell(self, message: str) -> None:
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(message + "\n")
        self._process.stdin.flush()


_reaper: _Reaper | None = None
_reaper_lock = threading.Lock()


def _tell_reaper(message: str) -> None:
    global _reaper
    with _reaper_lock:
        if _reaper is None:
            _reaper = _Reaper()
        _reaper.tell(message)


class ManagedProcess:
    """One command in a process group of its own, its output sent line by line to the log.

    `stop` asks with SIGTERM, waits `grace` seconds and kills the whole group; `kill` does not ask. A stopped
    process can be started again, with the same command. Subclasses say in `is_ready` when it can be used.
    """

    grace = 5.0  # seconds

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: MergedLog,
        directory: Path | None = None,
        standard_input: str = "",
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self.environment = dict(environment)
        self._directory = directory
        self._standard_input = standard_input
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self.started_at = 0.0  # time.monotonic()
        self._asked = False  # to stop

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LocalStackError(f"{self.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> str:
        """How the process ended, in words; empty while it runs."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return ""
        return f"exited with code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"

    def start(self) -> None:
        """Start the command; returns at once (see `wait_until_ready`)."""
        if self.is_running:
            return
        with signals_held():
            try:
                process = subprocess.Popen(  # noqa: S603
                    self._command,
                    env=self.environment,
                    cwd=self._directory,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches only us: we stop the parts in order
                )
            except OSError as error:
                raise LocalStackError(f"{self.name} cannot be started: {error}") from error
            self._process = process
            _tell_reaper(f"+{process.pid}")
        self.started_at = time.monotonic()
        self._asked = False
        self._reader = threading.Thread(target=self._forward, args=[process], daemon=True)
        self._reader.start()
        assert process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(self._standard_input.encode())

    def _forward(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101
        with process.stdout as output:
            for raw in output:
                line = raw.decode(errors="replace").rstrip()
                if line:
                    self.log.write(self.name, line, shown=self.is_worth_showing(line))

    def is_worth_showing(self, line: str) -> bool:  # noqa: ARG002
        """Whether a line of its output goes to the merged log; what does not is still in `error`."""
        return True

    def is_ready(self) -> bool:
        return self.is_running

    def wait_until_ready(self, seconds: float = 20.0) -> float:
        """Wait for `is_ready`; returns the seconds waited, raises with the last lines if it never comes."""
        began = time.monotonic()
        while not self.is_ready():
            if not self.is_running:
                raise self.error(f"{self.name} {self.exit_status} before it was ready")
            if time.monotonic() - began > seconds:
                raise self.error(f"{self.name} was not ready after {seconds:g} s")
            time.sleep(0.02)
        return time.monotonic() - began

    def error(self, message: str) -> LocalStackError:
        """The error `message`, with the last lines this process wrote."""
        if self._reader is not None and not self.is_running:
            self._reader.join(1.0)  # the last words may still be in the pipe
        return LocalStackError(message, self.log.tail(self.name) or ["(it wrote nothing)"])

    def ask_to_stop(self) -> None:
        """SIGTERM to the leader alone, which knows how to end its own children; returns at once."""
        if self._process is not None and not self._asked and self._process.poll() is None:
            self._asked = True  # a second SIGTERM would cut short what the first one began
            with suppress(ProcessLookupError, PermissionError):  # it may end this moment
                self.resume()  # a paused process cannot hear it
            self._process.terminate()

    def stop(self) -> None:
        """End the process and everything in its group; does nothing if it never ran."""
        self.ask_to_stop()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.grace)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group, also to what a dead leader left behind."""
        if self._process is None:
            return
        group = self._process.pid
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self._process.wait()
        if self._reader is not None:
            self._reader.join(1.0)
        self._process = None
        with suppress(BrokenPipeError):
            _tell_reaper(f"-{group}")

    def restart(self) -> None:
        """Stop (if it still runs), start again with the same command, and wait until it is ready."""
        self.stop()
        self.start()
        self.wait_until_ready()

    def pause(self) -> None:
        """SIGSTOP: the process keeps its connections but answers nothing, as a hung machine would."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

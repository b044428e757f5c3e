"""Child processes that are logged, stopped as a group, and never outlive this process."""

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
from service.local.signals import signals_deferred

_REAPER_SCRIPT = Path(__file__).with_name("reaper.py")


class _Reaper:
    """The helper process that kills our children if this process dies; see `reaper.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(_REAPER_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # not affected by Ctrl-C in the terminal
            text=True,
        )

    def send(self, message: str) -> None:
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
        _reaper.send(message)


class ManagedProcess:
    """A command in its own process group, with its output forwarded to the log line by line.

    `stop` sends SIGTERM, waits `grace` seconds and kills the whole group; `kill` does so immediately. A
    stopped process can be started again with the same command. Subclasses override `is_ready`.
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
        self._stopping = False

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
        """Description of how the process ended; empty while it is running."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return ""
        return f"exited with code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"

    def start(self) -> None:
        """Start the command without waiting until it is ready."""
        if self.is_running:
            return
        with signals_deferred():
            try:
                process = subprocess.Popen(  # noqa: S603
                    self._command,
                    env=self.environment,
                    cwd=self._directory,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches only us, and we stop the parts in order
                )
            except OSError as error:
                raise LocalStackError(f"Cannot start {self.name}: {error}") from error
            self._process = process
            _tell_reaper(f"+{process.pid}")
        self.started_at = time.monotonic()
        self._stopping = False
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
        """Whether to print an output line in the merged log; hidden lines are still included in errors."""
        return True

    def is_ready(self) -> bool:
        return self.is_running

    def wait_until_ready(self, seconds: float = 20.0) -> float:
        """Wait for `is_ready` and return the seconds waited. Raises LocalStackError on exit or timeout."""
        start = time.monotonic()
        while not self.is_ready():
            if not self.is_running:
                raise self.error(f"{self.name} {self.exit_status} before it was ready")
            if time.monotonic() - start > seconds:
                raise self.error(f"{self.name} was not ready after {seconds:g} s")
            time.sleep(0.02)
        return time.monotonic() - start

    def error(self, message: str) -> LocalStackError:
        """An error with the last lines of this process's output."""
        if self._reader is not None and not self.is_running:
            self._reader.join(1.0)  # the last lines may still be in the pipe
        return LocalStackError(message, self.log.tail(self.name) or ["(no output)"])

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the group leader only, which stops its own children, without waiting."""
        if self._process is not None and not self._stopping and self._process.poll() is None:
            self._stopping = True  # a second SIGTERM would interrupt the graceful shutdown
            with suppress(ProcessLookupError, PermissionError):  # it may exit at this moment
                self.resume()  # a paused process cannot handle signals
            self._process.terminate()

    def stop(self) -> None:
        """Stop the process and everything in its group. Does nothing if it never ran."""
        self.ask_to_stop()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.grace)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the whole group, including children left behind by a dead leader."""
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
        """Stop the process if it is running, start it again, and wait until it is ready."""
        self.stop()
        self.start()
        self.wait_until_ready()

    def pause(self) -> None:
        """Send SIGSTOP: the process keeps its connections but does not respond, like a hung machine."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

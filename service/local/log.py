"""Merged log of several processes."""

import threading
from collections import deque
from typing import TextIO

from rich.console import Console
from rich.text import Text

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
KEPT_LINES = 2_000


class MergedLog:
    """Writes the output of several processes to one stream, prefixing each line with the process name.

    Uses colours if the stream is a terminal. Recent lines are kept for error messages.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._colours: dict[str, str] = {}
        self._lines: deque[tuple[str, str, bool]] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()

    def write(self, name: str, line: str, *, shown: bool = True) -> None:
        """Store the line and, if `shown`, print it."""
        text = Text.from_ansi(line)  # keeps colours, drops all other escape sequences
        with self._lock:
            colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
            self._lines.append((name, text.plain, shown))
            if shown:
                self._console.print(Text.assemble((f"{name:>8} | ", colour), text), soft_wrap=True)

    def tail(self, name: str | None = None, count: int = 15) -> list[str]:
        """The last lines of one process, or the last shown lines of all, prefixed with the process name."""
        with self._lock:
            lines = [
                (source, line) for source, line, shown in self._lines if (source == name if name else shown)
            ]
        return [f"{source:>8} | {line}" for source, line in lines[-count:]]

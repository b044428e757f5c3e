"""One readable log of many processes."""

import threading
from collections import deque
from typing import TextIO

from rich.console import Console
from rich.text import Text

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
KEPT_LINES = 2_000


class MergedLog:
    """Writes the lines of many processes to one stream, each behind the name of its process.

    Colours only where the stream is a terminal. The last lines are kept, for messages about a dead process.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._colours: dict[str, str] = {}
        self._lines: deque[tuple[str, str, bool]] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()

    def write(self, name: str, line: str, *, shown: bool = True) -> None:
        """Keep the line and, if `shown`, print it."""
        text = Text.from_ansi(line)  # keeps the process's own colours, drops every other escape sequence
        with self._lock:
            colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
            self._lines.append((name, text.plain, shown))
            if shown:
                self._console.print(Text.assemble((f"{name:>8} | ", colour), text), soft_wrap=True)

    def tail(self, name: str | None = None, count: int = 15) -> list[str]:
        """The last lines of one process, or the last of all that were shown, each behind its name."""
        with self._lock:
            kept = [(who, line) for who, line, shown in self._lines if (who == name if name else shown)]
        return [f"{who:>8} | {line}" for who, line in kept[-count:]]

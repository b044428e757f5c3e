from collections.abc import Sequence


class LocalStackError(RuntimeError):
    """A part of the local stack is missing, did not start or has died, with a message for the user.

    `lines` are the last lines of the part's output, which are appended to the message.
    """

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *lines]))
        self.lines = list(lines)

from collections.abc import Sequence


class LocalStackError(RuntimeError):
    """A part of the local stack is missing, did not start or was lost; the message is for the person.

    `lines` are the last ones that the part wrote, and are part of the text.
    """

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *lines]))
        self.lines = list(lines)

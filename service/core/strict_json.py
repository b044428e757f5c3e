"""JSON of strangers: what is read can be written again, on any machine."""

import json
from typing import Any

MAX_DEPTH = 32


def read_json(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError saying what is wrong, which also counts what only Python takes for JSON:
    NaN, infinities, half surrogate pairs; and nesting without end."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise ValueError("is not JSON") from None
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise ValueError("holds a number or a character that JSON does not have") from None
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [inner for outer in level for inner in _inside(outer)]:
        depth += 1
    return depth


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []

"""Strict parsing of untrusted JSON."""

import json
from typing import Any

MAX_DEPTH = 32


def read_json(text: str | bytes) -> Any:
    """Parse JSON that any conforming parser accepts.

    Raises ValueError also for what only Python accepts (NaN, infinities, lone surrogates) and for nesting
    deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise ValueError("is not valid JSON") from None
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise ValueError("contains a number or character that is not valid in JSON") from None
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [child for parent in level for child in _children(parent)]:
        depth += 1
    return depth


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []

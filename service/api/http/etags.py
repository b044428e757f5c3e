"""Conditional requests (RFC 9110)."""


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether an `If-None-Match` header matches this `ETag`."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in (
        tag.strip().removeprefix("W/") for tag in if_none_match.split(",")
    )

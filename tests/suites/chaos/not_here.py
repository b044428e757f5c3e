"""Scenarios that cannot run on this machine."""


class NotHere(Exception):  # noqa: N818  # not an error of the service
    """A scenario needs something that this machine does not have."""

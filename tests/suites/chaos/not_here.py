"""What this machine cannot do."""


class NotHere(Exception):  # noqa: N818  # no fault of the service
    """A scenario needs something that is not to be had here."""

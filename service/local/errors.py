class LocalStackError(RuntimeError):
    """A part of the local stack is missing, did not start or was lost; the message is for the person."""

"""Exceptions of the model package.

Every error is a `ModelError`: `code` is stable and meant for programs; the message is meant for people and
says what was found and what is wanted.
"""


class ModelError(Exception):
    """Base class of all errors that this package raises deliberately."""

    code: str = "model_error"


class ConfigError(ModelError):
    """A config file is missing, malformed, or names a key, value or part that does not exist."""

    code = "bad_config"


class CheckpointError(ModelError):
    """A checkpoint is missing, unreadable, or its tensors do not fit the network."""

    code = "bad_checkpoint"


class InputError(ModelError):
    """The input or the options are not what this model reads."""

    code = "unsupported_input"


class EmptySurfaceError(ModelError):
    """The occupancy crosses the threshold nowhere in the box, so there is no surface to extract."""

    code = "empty_surface"


class PoorFitError(ModelError):
    """A surface came out, but it has nothing to do with the points."""

    code = "poor_fit"


class FlowError(ModelError):
    """The velocity field cannot be integrated: its values are not finite or change too fast."""

    code = "flow_failed"


class Canceled(ModelError):  # noqa: N818 - the outcome of a request, not a fault
    """The caller asked to stop."""

    code = "canceled"

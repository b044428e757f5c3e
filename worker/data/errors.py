"""What can be wrong with data on disk."""

from model.errors import ModelError


class DataError(ModelError):
    """A data set is missing, incomplete, or not what the settings say; the message names the file."""

    code = "bad_data"

"""What a key of the service allows."""

from enum import StrEnum


class Scope(StrEnum):
    """Each includes the ones before it."""

    READ = "read"  # look at its jobs and download their files
    SUBMIT = "submit"  # create, cancel and delete jobs
    ADMIN = "admin"  # do so with the jobs of all keys, of which the id must be known

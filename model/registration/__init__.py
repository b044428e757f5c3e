"""Registration: from unordered point clouds to the paths of a template's particles."""

from model.registration.pull import pull
from model.registration.tracking import Options, Tracking, track

__all__ = ["Options", "Tracking", "pull", "track"]

"""Registration: from unordered point clouds to the paths of a template's particles."""

from model.registration.following import Match
from model.registration.options import Options
from model.registration.pull import pull
from model.registration.tracking import Tracking, track

__all__ = ["Match", "Options", "Tracking", "pull", "track"]

"""What the service checks before a job and the model checks in it: neither may import the other."""

from model.reconstruction import checks as model_checks
from model.reconstruction import times
from model.registration.masks import LEAST_POINTS, LEAST_VALID
from service.core.jobs.formats import MAX_FRAMES
from service.core.sequences import checks


def test_the_service_and_the_model_have_the_same_limits() -> None:
    assert (checks.MIN_FRAMES, MAX_FRAMES) == (model_checks.MIN_FRAMES, model_checks.MAX_FRAMES)
    assert (checks.MIN_POINTS, checks.MIN_VALID) == (LEAST_POINTS, LEAST_VALID)
    assert checks.CLOSEST == times.CLOSEST

"""From a keyframe through the sequence, both ways, each frame from the motion before it."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from model.registration.clouds import Cloud
from model.registration.fitting import fit
from model.registration.graph import Motion
from model.registration.kernels import Floats
from model.registration.motions import extrapolate
from model.registration.registering import NEAR, matched, register
from model.registration.template import Template

Match = Callable[[int, int, Floats], tuple[Floats, Floats]]


def follow(
    template: Template,
    clouds: Sequence[Cloud],
    key: int,
    complete: bool,
    match: Match | None,
    report: Callable[[float], None],
) -> list[Motion]:
    """The motion of the template in every frame; it was taken from frame `key`."""
    motions = [template.fine.graph.still()] * len(clouds)
    motions[key] = fit(template.fine, clouds[key], motions[key], NEAR[-1:], complete)
    done = 1
    for frames in (range(key, len(clouds)), range(key, -1, -1)):
        before = motions[key]
        for last, i in pairwise(frames):
            now = motions[last]
            found = None
            if match is not None:
                found = matched(template, now, partial(match, last, i))
            motions[i] = register(template, clouds[i], extrapolate(now, before), complete, found)
            before = now
            done += 1
            report(done / len(clouds))
    return motions

"""A velocity field made of clouds at several times."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from model.flow.ode import advect
from model.flow.runge_kutta import FixedSteps
from model.networks.local_velocity import EncodedFrame, Found, LocalVelocity, Motion
from model.networks.moving_clouds import MovingClouds

TIMES = [0.0, 0.25, 0.5, 0.75, 1.0]
RATE = 1.2  # radians a unit of time


class Turning(LocalVelocity):
    """Knows the motion: everything turns around z, by as much a frame as the frames are apart."""

    def at(self, motion: Motion, queries: Tensor, share: Tensor) -> Found:
        angle, passed = RATE * 0.25, RATE * 0.25 * float(share)
        start, end = (queries @ _turn(-passed), queries @ _turn(angle - passed))
        return Found(end - start, queries.new_zeros(queries.shape[:2]), end - start)


def _turn(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


def clouds(count: int = 40) -> list[Tensor]:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    return [points @ _turn(RATE * time) for time in TIMES]


def test_particles_are_carried_along_a_known_motion() -> None:
    moving = MovingClouds(Turning().eval(), clouds(), TIMES)
    points = torch.tensor([[[0.5, 0.0, 0.1], [0.0, -0.3, 0.2]]])
    asked = torch.tensor([0.5, 1.0])
    # Between two frames particles go about straight: a step of the solver for each is enough.
    paths = advect(moving.velocity, points, asked, FixedSteps("rk4", steps=20)).positions
    for path, moment in zip(paths, asked, strict=True):
        torch.testing.assert_close(path, points @ _turn(RATE * float(moment)), atol=0.01, rtol=0)


def test_displacements_are_those_of_the_network_in_any_order_of_points() -> None:
    torch.manual_seed(0)
    net = LocalVelocity().eval()
    frames = clouds()
    moving = MovingClouds(net, frames, TIMES)
    step, error = moving.displacement(1, 2, frames[1][:10])
    assert step.shape == (10, 3)
    assert error.shape == (10,)
    assert bool((error > 0).all())
    again, _ = moving.displacement(1, 2, frames[1][:10].flip(0))
    torch.testing.assert_close(again.flip(0), step, atol=1e-5, rtol=1e-4)
    assert moving.motion.cache_info().misses == 1


def test_threads_encode_a_frame_once() -> None:
    net, encoded = LocalVelocity().eval(), []
    moving = MovingClouds(net, clouds(), TIMES)

    def encode(cloud: Tensor) -> EncodedFrame:
        encoded.append(cloud)
        time.sleep(0.02)
        return LocalVelocity.encode(net, cloud)

    with patch.object(net, "encode", encode), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(moving.frame, [1, 2, 1, 2]))
    assert len(encoded) == 2
    assert found[0] is found[2]
    assert found[1] is found[3]


def test_the_field_of_times_outside_is_that_of_the_nearest_frames() -> None:
    moving = MovingClouds(LocalVelocity().eval(), clouds(), TIMES)
    points = clouds()[0][None, :5]
    for outside, inside in ((-1.0, 0.0), (2.0, 1.0)):
        field = moving.velocity(torch.tensor(outside), points)
        torch.testing.assert_close(field, moving.velocity(torch.tensor(inside), points))


def test_as_many_times_as_clouds_are_wanted() -> None:
    with pytest.raises(ValueError, match="found 5 clouds and 4 times"):
        MovingClouds(LocalVelocity(), clouds(), TIMES[:-1])

"""Poses beyond the ten motions: mixed, mirrored, quicker or slower, and each joint with a will of its own."""

from dataclasses import replace

import numpy as np

from worker.bodies.curves import sway, sways
from worker.bodies.motions import ACTIONS, stand
from worker.bodies.pose import Pose, Side
from worker.bodies.rig import Floats

ARM = (
    "arm_abduction", "arm_flexion", "arm_twist", "elbow", "pronation", "wrist", "fingers", "shrug",
    "shoulder_forward",
)  # fmt: skip
LEG = ("hip_abduction", "hip_flexion", "hip_twist", "knee", "ankle")
SIDED = ("pelvis_turn", "pelvis_tilt", "spine_turn", "spine_tilt", "head_turn", "head_tilt", "shift_x")
TRUNK = ("pelvis_bend", "pelvis_tilt", "spine_bend", "spine_turn", "spine_tilt")
HEAD = ("head_bend", "head_turn", "head_tilt")


def draw_pose(
    rng: np.random.Generator, seconds: Floats, action: str, variety: float, turn: float = 0.0
) -> Pose:
    """One of `ACTIONS` at the times `seconds` [T], varied; as it is for a variety of 0.

    `turn` is the largest angle, in degrees, by which the whole person is turned from facing +z.
    """
    varying = rng.spawn(1)[0]  # a stream of its own, so that the motion is the same with and without variety
    pose = ACTIONS[action](rng, seconds * np.exp(varying.normal(0, 0.25 * variety)))
    if variety:
        _mix(varying, pose, seconds, variety)
        _stretch(varying, pose, variety)
        _loosen(varying, pose, seconds, variety)
        if varying.uniform() < 0.5:
            pose = mirrored(pose)
    facing = varying.uniform(-turn, turn) + 0.5 * varying.normal(0, turn) * seconds
    pose.pelvis_turn = pose.pelvis_turn + facing
    return pose


def mirrored(pose: Pose) -> Pose:
    """The pose with left and right exchanged."""
    return replace(
        pose,
        left=pose.right,
        right=pose.left,
        **{name: -getattr(pose, name) for name in SIDED},
    )


def _mix(rng: np.random.Generator, pose: Pose, seconds: Floats, variety: float) -> None:
    """Arms of another action, or arms and legs of no action at all."""
    draw = rng.uniform()
    if draw < 0.25 * variety:
        other = ACTIONS[rng.choice(list(ACTIONS))](rng, seconds)
        _take(pose, other, ARM)
        pose.spine_turn = other.spine_turn
    elif draw < 0.5 * variety:
        _take(pose, _free_arms(rng, seconds), ARM)
    if rng.uniform() < 0.15 * variety:
        _take(pose, _free_legs(rng, seconds), LEG)


def _take(pose: Pose, other: Pose, names: tuple[str, ...]) -> None:
    for side, source in zip(pose.sides, other.sides, strict=True):
        for name in names:
            setattr(side, name, getattr(source, name))


def _free_arms(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Each arm anywhere that an arm can go, moving about it."""
    pose = stand(rng, seconds)
    for side in pose.sides:
        aside, ahead = rng.uniform(5, 150), rng.uniform(-25, 120)
        share = rng.uniform()
        side.arm_abduction = 10 + share * aside + sway(rng, 2 * seconds, 15)
        side.arm_flexion = (1 - share) * ahead + sway(rng, 2 * seconds, 15)
        side.arm_twist = rng.uniform(-25, 50) + sway(rng, 2 * seconds, 8)
        side.elbow = rng.uniform(0, 1) * rng.uniform(5, 130) + 10 + sway(rng, 2 * seconds, 10)
        side.pronation, side.wrist = rng.uniform(-30, 60), rng.normal(0, 12)
        side.fingers = rng.uniform(0, 80)
    return pose


def _free_legs(rng: np.random.Generator, seconds: Floats) -> Pose:
    """A stride, a lunge, a squat or a lifted leg."""
    pose = stand(rng, seconds)
    squat = rng.uniform(0, 1) * rng.uniform(0, 60)
    for side in pose.sides:
        side.hip_abduction = rng.uniform(0, 22) + sway(rng, 2 * seconds, 3)
        side.hip_flexion = squat + rng.uniform(-18, 35) + sway(rng, 2 * seconds, 8)
        side.knee = (
            2 * squat + rng.uniform(0, 1) * rng.uniform(0, 60) + 4 + np.abs(sway(rng, 2 * seconds, 10))
        )
        side.ankle = side.hip_flexion - side.knee
        side.hip_twist = rng.uniform(-20, 5)
    return pose


def _stretch(rng: np.random.Generator, pose: Pose, variety: float) -> None:
    """Smaller or larger gestures. All angles of a leg share one factor, which keeps its sole level."""
    arms, legs = 1 + variety * rng.uniform(-0.25, 0.12, 2)
    for side in pose.sides:
        for names, factor in ((ARM, arms), (LEG, legs)):
            for name in names:
                setattr(side, name, factor * getattr(side, name))
    pose.hop = pose.hop * (1 + variety * rng.uniform(-0.4, 0.4))


def _loosen(rng: np.random.Generator, pose: Pose, seconds: Floats, variety: float) -> None:
    """A constant and a slow error of every joint, other on the left than on the right; a wandering root."""
    joints: list[tuple[Pose | Side, str, float]] = []
    for side in pose.sides:
        joints += [(side, name, 5.0) for name in ARM] + [(side, name, 2.0) for name in LEG]
    joints += [(pose, name, 2.5) for name in TRUNK] + [(pose, name, 6.0) for name in HEAD]
    degrees = variety * np.array([size for *_, size in joints])  # [K]
    errors = rng.normal(0, degrees)[:, None] + sways(rng, seconds, 0.5 * degrees)  # [K, T]
    for (holder, name, _), error in zip(joints, errors, strict=True):
        setattr(holder, name, getattr(holder, name) + error)
    for name in ("shift_x", "shift_z"):
        drift = rng.normal(0, 0.08) * seconds + sway(rng, seconds, 0.02)  # metres
        setattr(pose, name, getattr(pose, name) + variety * drift)

"""Ten procedural motions, in the spirit of the actions of the D-FAUST data set.

Each is a function of a random generator and the time stamps [T] in seconds, and returns a `Pose`. Amplitude,
speed, phase and the person's habits are drawn from the generator; equal generators give equal motions.
"""

from collections.abc import Callable

import numpy as np

from worker.bodies.curves import bump, flight, landing, sway, wave
from worker.bodies.pose import Pose, Side
from worker.bodies.rig import Floats
from worker.bodies.rotations import Angle

Motion = Callable[[np.random.Generator, Floats], Pose]


def stand(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Relaxed standing with a person's own habits and a little sway; every action begins from it."""
    pose = Pose(len(seconds))
    abduction, elbow, straddle = rng.uniform(8, 20), rng.uniform(8, 25), rng.uniform(2, 7)
    for side in pose.sides:
        side.arm_abduction = abduction + sway(rng, seconds, 2)
        side.arm_flexion = rng.uniform(-5, 8) + sway(rng, seconds, 2)
        side.elbow = elbow + sway(rng, seconds, 3)
        side.hip_abduction = straddle
        side.fingers = rng.uniform(10, 35)
        side.arm_twist = rng.uniform(-5, 15)
        side.hip_twist = rng.uniform(-8, -2)
    pose.spine_bend = rng.uniform(-2, 5) + sway(rng, seconds, 1)
    pose.spine_turn = sway(rng, seconds, 2)
    pose.head_bend = rng.uniform(-5, 8) + sway(rng, seconds, 1.5)
    pose.head_turn = sway(rng, seconds, 4)
    pose.pelvis_turn = rng.uniform(-6, 6)
    return pose


def jumping_jacks(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Arms and legs thrown out and in again, two jumps a cycle."""
    pose = stand(rng, seconds)
    phase = _phase(rng, seconds, 0.8, 1.25)
    opened = bump(phase, rng.uniform(0.8, 1.2))
    reach, closed = rng.uniform(125, 160), rng.uniform(8, 18)
    elbow = rng.uniform(5, 30) + rng.uniform(0, 30) * opened
    straddle = rng.uniform(16, 26)
    for side in pose.sides:
        side.arm_abduction = closed + (reach - 10) * opened
        side.elbow = elbow
        side.arm_twist = -25 * opened
        side.hip_abduction = 2 + straddle * opened
        side.shrug = 12 * opened
    _crouch(pose, rng.uniform(6, 14) * bump(2 * phase, 1.5))
    _level_soles(pose)
    _jump(pose, flight(2 * phase + 0.75, 0.7), rng.uniform(0.05, 0.12))
    return pose


def punching(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Straight punches, left and right in turn, out of a boxer's stance."""
    pose = stand(rng, seconds)
    phase = _phase(rng, seconds, 0.9, 1.6)
    guard, folded = rng.uniform(20, 40), rng.uniform(115, 135)
    twist, lead = rng.uniform(15, 30), rng.choice([-1, 1])
    for side, delay in zip(pose.sides, (0.0, 0.5), strict=True):
        punch = np.clip(1.6 * bump(phase + delay) - 0.6, 0, 1) ** 1.2
        side.arm_flexion = guard + (rng.uniform(78, 95) - guard) * punch
        side.elbow = folded * (1 - punch) + 10 * punch
        side.arm_abduction = 12 - 10 * punch
        side.arm_twist = 10 + 25 * punch
        side.fingers = 80
        side.pronation = 60 * punch
    pose.spine_turn += twist * np.cos(2 * np.pi * phase)
    pose.pelvis_turn -= lead * rng.uniform(10, 30)
    pose.head_turn = -0.5 * twist * np.cos(2 * np.pi * phase)
    stride = rng.uniform(8, 18)
    pose.left.hip_flexion += lead * stride
    pose.right.hip_flexion -= lead * stride
    _crouch(pose, rng.uniform(5, 14))
    _level_soles(pose)
    pose.shift_z = 0.02 * wave(phase)
    return pose


def knees(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Knees pulled up in turn."""
    pose = stand(rng, seconds)
    phase = _phase(rng, seconds, 0.7, 1.2)
    height, swing = rng.uniform(75, 110), rng.uniform(0, 35)
    for side, delay in zip(pose.sides, (0.0, 0.5), strict=True):
        lift = np.clip(1.7 * bump(phase + delay) - 0.7, 0, 1)
        lift = lift * lift * (3 - 2 * lift)
        side.hip_flexion = height * lift
        side.knee = rng.uniform(80, 110) * lift + 4
        side.arm_flexion += swing * (bump(phase + delay + 0.5) - 0.1)
        side.elbow += rng.uniform(20, 80)
        side.ankle = (1 - lift) * _level_sole(side) + 20 * lift
    pose.pelvis_tilt = rng.uniform(2, 5) * wave(phase)
    pose.spine_tilt = -rng.uniform(2, 5) * wave(phase)
    pose.spine_bend -= 4
    return pose


def running_on_spot(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Running on the spot; the shin trails the thigh by a tenth of a cycle."""
    pose = stand(rng, seconds)
    phase = _phase(rng, seconds, 1.1, 1.7)
    height, elbow, swing = rng.uniform(30, 65), rng.uniform(70, 105), rng.uniform(25, 45)
    for side, delay in zip(pose.sides, (0.0, 0.5), strict=True):
        lift = bump(phase + delay, 1.2)
        side.hip_flexion = height * lift
        side.knee = rng.uniform(60, 100) * bump(phase + delay - 0.1, 1.1) + 10
        side.ankle = (1 - lift) * (_level_sole(side) + 12) + 20 * lift
        stroke = np.cos(2 * np.pi * (phase + delay))
        side.arm_flexion = swing * stroke + 8
        side.elbow = elbow + 12 * stroke
        side.fingers = 60
    pose.spine_turn += rng.uniform(5, 14) * np.sin(2 * np.pi * phase + 1.5)
    pose.hop = rng.uniform(0.02, 0.07) * flight(2 * phase + 0.1, 0.6)
    pose.spine_bend += 5
    return pose


def chicken_wings(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Fists at the chest, elbows flapping."""
    pose = stand(rng, seconds)
    phase = _phase(rng, seconds, 1.2, 2.2)
    low, high = rng.uniform(15, 30), rng.uniform(65, 90)
    elbow, twist, flexion = rng.uniform(128, 142), rng.uniform(30, 50), rng.uniform(-8, 8)
    for side in pose.sides:
        side.arm_abduction = low + (high - low) * bump(phase)
        side.elbow, side.arm_twist, side.arm_flexion = elbow, twist, flexion
        side.fingers, side.wrist = 70, 15
        side.shrug = 8 * bump(phase)
    _crouch(pose, rng.uniform(2, 12) * (1 + 0.4 * wave(0.5 * phase)))
    _level_soles(pose)
    return pose


def shake_arms(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Arms shaken out, at the sides or stretched forwards; the hands trail."""
    pose = stand(rng, seconds)
    speed = rng.uniform(2.2, 3.6)
    flexion, abduction = rng.choice([0, 1]) * rng.uniform(40, 85), rng.uniform(15, 60)
    for side in pose.sides:
        angle = 2 * np.pi * (speed * seconds + rng.uniform())
        side.arm_flexion = flexion + rng.uniform(6, 14) * np.sin(angle)
        side.arm_abduction = abduction + rng.uniform(6, 14) * np.sin(angle + 1)
        side.elbow = rng.uniform(15, 35) + rng.uniform(8, 18) * np.sin(angle - 0.8)
        side.wrist = rng.uniform(15, 30) * np.sin(angle - 1.6)
        side.pronation = 25 * np.sin(angle + 0.4)
    pose.spine_turn += 4 * wave(speed * seconds)
    _level_soles(pose)
    return pose


def shake_shoulders(rng: np.random.Generator, seconds: Floats) -> Pose:
    """One shoulder forwards, the other back, and round again."""
    pose = stand(rng, seconds)
    phase = _phase(rng, seconds, 1.8, 3.0)
    forward = rng.uniform(10, 20) * wave(phase)
    abduction, elbow = rng.uniform(12, 45), rng.uniform(15, 70)
    for side in pose.sides:
        side.shrug = 4 * wave(2 * phase)
        side.arm_abduction, side.elbow = abduction, elbow
    pose.left.shoulder_forward, pose.right.shoulder_forward = forward, -forward
    pose.spine_turn -= rng.uniform(5, 14) * wave(phase)
    _crouch(pose, rng.uniform(2, 12))
    _level_soles(pose)
    return pose


def hips(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Hips circling, hands on them in three people of five."""
    pose = stand(rng, seconds)
    phase = rng.uniform(0.6, 1.1) * rng.choice([-1, 1]) * seconds + rng.uniform()
    radius, tilt = rng.uniform(0.05, 0.10), rng.uniform(8, 15)
    across, along = np.cos(2 * np.pi * phase), wave(phase)
    pose.shift_x, pose.shift_z = radius * across, 0.7 * radius * along
    pose.pelvis_tilt, pose.spine_tilt = 0.8 * tilt * across, -1.3 * tilt * across
    pose.pelvis_bend = -0.6 * tilt * along
    pose.spine_bend += tilt * along
    # The legs lean against the shift of the pelvis, so that the feet stay where they are.
    leg = 0.85  # metres
    lean_x = np.degrees(np.arctan2(pose.shift_x, leg))
    lean_z = np.degrees(np.arctan2(pose.shift_z, leg))
    for side, out in zip(pose.sides, (1, -1), strict=True):
        side.hip_abduction += rng.uniform(3, 7) - out * (lean_x + pose.pelvis_tilt)
        side.hip_flexion = -lean_z + pose.pelvis_bend + 6
        side.knee = 12 + out * 6 * across
        side.ankle = _level_sole(side) - pose.pelvis_bend
    if rng.uniform() < 0.6:
        abduction, elbow, twist, flexion = rng.uniform(35, 45), rng.uniform(80, 95), 60.0, -12.0
        for side in pose.sides:
            side.arm_twist = twist
    else:
        abduction, elbow, flexion = rng.uniform(30, 70), rng.uniform(20, 80), rng.uniform(0, 30)
    for side in pose.sides:
        side.arm_abduction, side.elbow, side.arm_flexion = abduction, elbow, flexion
    return pose


def one_leg_jump(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Jumping on one leg, the other held up."""
    pose = stand(rng, seconds)
    phase = _phase(rng, seconds, 1.2, 1.9)
    order = rng.permutation([0, 1])
    standing, lifted = pose.sides[order[0]], pose.sides[order[1]]
    air, land = flight(phase, 0.6), landing(phase, 0.6)
    crouch = rng.uniform(8, 18) * land + 4
    standing.hip_flexion, standing.knee, standing.hip_abduction = crouch, 2 * crouch, -3
    standing.ankle = -crouch + 35 * air
    lifted.hip_flexion = rng.uniform(0, 45) + 8 * air
    lifted.knee = rng.uniform(60, 100) + 10 * air
    lifted.ankle = 25
    out = 1 if standing is pose.left else -1
    pose.hop = rng.uniform(0.05, 0.14) * air
    pose.spine_tilt, pose.pelvis_tilt = -out * rng.uniform(2, 6), out * rng.uniform(0, 4)
    abduction, elbow = rng.uniform(15, 50) + 8 * air, rng.uniform(15, 70) + 8 * land
    for side in pose.sides:
        side.arm_abduction, side.elbow = abduction, elbow
    return pose


def light_hopping(rng: np.random.Generator, seconds: Floats) -> Pose:
    """Hopping on both feet: loose in three people of five, stiff in the others."""
    pose = stand(rng, seconds)
    phase = _phase(rng, seconds, 1.4, 2.3)
    loose = rng.uniform() < 0.6
    air, land = flight(phase, 0.62), landing(phase, 0.62)
    _crouch(pose, (rng.uniform(8, 16) if loose else 3) * land + 2)
    _level_soles(pose)
    swing = rng.uniform(5, 12) if loose else 2
    _jump(pose, air, rng.uniform(0.03, 0.10))
    abduction = (rng.uniform(10, 30) if loose else 10) + swing * np.sin(2 * np.pi * phase + 0.5)
    elbow = rng.uniform(10, 40) + swing * wave(phase)
    for side in pose.sides:
        side.arm_abduction, side.elbow, side.shrug = abduction, elbow, 0.5 * swing * land
    return pose


ACTIONS: dict[str, Motion] = {
    action.__name__: action
    for action in (
        jumping_jacks,
        punching,
        knees,
        running_on_spot,
        chicken_wings,
        shake_arms,
        shake_shoulders,
        hips,
        one_leg_jump,
        light_hopping,
    )
}


def _phase(rng: np.random.Generator, seconds: Floats, slowest: float, fastest: float) -> Floats:
    """Cycles done by each moment, at a random speed (cycles a second), from a random start."""
    return rng.uniform(slowest, fastest) * seconds + rng.uniform()


def _crouch(pose: Pose, degrees: Angle) -> None:
    for side in pose.sides:
        # No in-place sum here or below: the two sides may share one array.
        side.hip_flexion = side.hip_flexion + degrees
        side.knee = side.knee + 2 * degrees


def _level_sole(side: Side) -> Angle:
    """The plantar flexion that keeps the sole level under this hip and knee."""
    return side.hip_flexion - side.knee


def _level_soles(pose: Pose) -> None:
    for side in pose.sides:
        side.ankle = side.ankle + _level_sole(side)


def _jump(pose: Pose, air: Floats, height: float) -> None:
    """Both feet off the floor, toes pointing down; `air` is 0 on the ground and 1 at the top."""
    pose.hop = height * air
    for side in pose.sides:
        side.ankle = side.ankle + 30 * air

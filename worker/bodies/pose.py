"""Joint angles a person would name (elbow, knee, hip flexion) turned into rotations of the rig's bones."""

from dataclasses import dataclass, field

import numpy as np

from worker.bodies.rig import Body, Floats, Rig
from worker.bodies.rotations import Angle, about, euler, from_vector, inverse, shortest_turn, to_vector

DOWN = np.array([0.0, -1.0, 0.0])


@dataclass(slots=True)
class Side:
    """Angles of one arm and leg, in degrees; all zero is the arm hanging and the leg straight."""

    arm_abduction: Angle = 0.0  # away from the body
    arm_flexion: Angle = 0.0  # forwards
    arm_twist: Angle = 0.0  # medial rotation
    elbow: Angle = 0.0
    pronation: Angle = 0.0
    wrist: Angle = 0.0
    fingers: Angle = 0.0  # curl
    shrug: Angle = 0.0
    shoulder_forward: Angle = 0.0
    hip_abduction: Angle = 0.0
    hip_flexion: Angle = 0.0
    hip_twist: Angle = 0.0
    knee: Angle = 0.0
    ankle: Angle = 0.0  # plantar flexion against the shin


@dataclass(slots=True)
class Pose:
    """Angles of a whole body over T frames, in degrees, and where its root goes, in metres.

    bend is forwards, turn to the left, tilt to the right.
    """

    frames: int
    left: Side = field(default_factory=Side)
    right: Side = field(default_factory=Side)
    pelvis_bend: Angle = 0.0
    pelvis_turn: Angle = 0.0
    pelvis_tilt: Angle = 0.0
    spine_bend: Angle = 0.0
    spine_turn: Angle = 0.0
    spine_tilt: Angle = 0.0
    head_bend: Angle = 0.0
    head_turn: Angle = 0.0
    head_tilt: Angle = 0.0
    shift_x: Angle = 0.0
    shift_z: Angle = 0.0
    hop: Angle = 0.0  # height of the lowest point above the floor

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.left, self.right

    def root(self) -> Floats:
        """Where the body stands and how high it is off the floor: [T, 3]."""
        return np.stack(
            [np.broadcast_to(a, self.frames) for a in (self.shift_x, self.hop, self.shift_z)], axis=-1
        )


def bone_rotations(pose: Pose, rig: Rig, body: Body) -> dict[str, Floats]:
    """Rotation [T, 3, 3] of each bone that moves, for `Rig.skin`.

    The rest pose differs from body to body, so each limb is first brought to hang straight down, by the
    shortest turn that does it; equal angles then look alike on all bodies.
    """
    turns = _trunk(pose)
    for side, name in ((pose.left, "L"), (pose.right, "R")):
        rest = _Skeleton(rig, body, name)
        turns |= _arm(side, rest) | _leg(side, rest)
    shape = (pose.frames, 3, 3)
    return {bone: np.broadcast_to(turn, shape) for bone, turn in turns.items()}


@dataclass(frozen=True)
class _Skeleton:
    """Rest directions on one side of one body."""

    rig: Rig
    body: Body
    side: str  # "L" or "R"

    @property
    def outwards(self) -> float:
        return 1.0 if self.side == "L" else -1.0

    def name(self, bone: str) -> str:
        return f"{bone}.{self.side}"

    def between(self, start: str, end: str) -> Floats:
        """Vector [3] from where one bone begins to where the other does."""
        bones, joints = self.rig.bones, self.body.joints
        vector: Floats = joints[bones[self.name(end)]] - joints[bones[self.name(start)]]
        return vector


def _trunk(pose: Pose) -> dict[str, Floats]:
    turns = {"root": euler("YXZ", pose.pelvis_turn, pose.pelvis_bend, pose.pelvis_tilt)}
    for bone, share in (("05", 0.15), ("04", 0.25), ("03", 0.25), ("02", 0.2), ("01", 0.15)):
        angles = (share * pose.spine_turn, share * pose.spine_bend, share * pose.spine_tilt)
        turns[f"spine{bone}"] = euler("YXZ", *angles)
    neck = euler("YXZ", pose.head_turn / 4, pose.head_bend / 4, pose.head_tilt / 4)
    return turns | dict.fromkeys(("neck01", "neck02", "neck03", "head"), neck)


def _arm(angles: Side, rest: _Skeleton) -> dict[str, Floats]:
    out, name = rest.outwards, rest.name
    upper, fore = rest.between("upperarm01", "lowerarm01"), rest.between("lowerarm01", "wrist")
    knuckles = rest.between("finger2-1", "finger5-1")  # index → little finger
    hang_upper = shortest_turn(upper, DOWN)
    hang_fore = shortest_turn(hang_upper @ fore, DOWN) @ hang_upper

    # The collarbone and the shoulder take a share of every raise, as they do in people.
    raised = (
        euler("ZXY", out * angles.arm_abduction, -angles.arm_flexion, -out * angles.arm_twist) @ hang_upper
    )
    turn = to_vector(raised)
    collar = from_vector(0.12 * turn) @ euler("ZY", out * angles.shrug, -out * angles.shoulder_forward)
    shoulder = from_vector(0.22 * turn)

    # Palms face the thighs at zero: the knuckles point backwards. The twist is spread from forearm to wrist.
    forwards = hang_fore @ knuckles
    yaw = np.arctan2(-forwards[0], -forwards[2])
    twist = (yaw + np.radians(out * angles.pronation))[..., None] * (inverse(hang_fore) @ DOWN)  # [(T,) 3]

    unit = knuckles / np.linalg.norm(knuckles)
    align_hand = from_vector(0.8 * to_vector(shortest_turn(rest.between("wrist", "finger3-1"), fore)))
    turns = {
        name("clavicle"): collar,
        name("shoulder01"): shoulder,
        name("upperarm01"): inverse(collar @ shoulder) @ raised,
        name("lowerarm01"): inverse(hang_upper) @ euler("X", -angles.elbow) @ hang_fore,
        name("lowerarm02"): from_vector(0.6 * twist),
        name("wrist"): from_vector(0.4 * twist) @ align_hand @ about(unit, out * angles.wrist),
    }
    curl = -out * angles.fingers
    turns |= {name(f"finger1-{joint}"): about(unit, share * curl) for joint, share in ((2, 0.5), (3, 0.7))}
    for joint, share in ((1, 1.0), (2, 1.1), (3, 0.7)):
        bend = about(unit, share * curl)
        turns |= {name(f"finger{finger}-{joint}"): bend for finger in (2, 3, 4, 5)}
    return turns


def _leg(angles: Side, rest: _Skeleton) -> dict[str, Floats]:
    out, name = rest.outwards, rest.name
    hang_thigh = shortest_turn(rest.between("upperleg01", "lowerleg01"), DOWN)
    shin = hang_thigh @ rest.between("lowerleg01", "foot")
    hang_shin = shortest_turn(shin, DOWN) @ hang_thigh

    raised = (
        euler("ZXY", out * angles.hip_abduction, -angles.hip_flexion, -out * angles.hip_twist) @ hang_thigh
    )
    turn = to_vector(raised)
    pelvis, upper = (
        from_vector(0.08 * turn),
        from_vector(0.72 * turn),
    )  # spread along the thigh, so that the groin folds softly
    return {
        name("pelvis"): pelvis,
        name("upperleg01"): upper,
        name("upperleg02"): inverse(pelvis @ upper) @ raised,
        name("lowerleg01"): inverse(hang_thigh) @ euler("X", angles.knee) @ hang_shin,
        name("foot"): inverse(hang_shin) @ euler("X", angles.ankle),  # at rest the sole is level
    }

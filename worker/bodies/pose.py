"""Joint angles a person would name (elbow, knee, hip flexion) turned into rotations of the rig's bones."""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from worker.bodies.rig import Body, Floats, Rig

Angle = float | Floats  # one number, or one a frame [T]
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
    turns |= _arm(pose.left, _Skeleton(rig, body, "L", pose.frames))
    turns |= _arm(pose.right, _Skeleton(rig, body, "R", pose.frames))
    turns |= _leg(pose.left, _Skeleton(rig, body, "L", pose.frames))
    turns |= _leg(pose.right, _Skeleton(rig, body, "R", pose.frames))
    return {bone: turn.as_matrix().reshape(-1, 3, 3) for bone, turn in turns.items()}


@dataclass(frozen=True)
class _Skeleton:
    """Rest directions on one side of one body."""

    rig: Rig
    body: Body
    side: str  # "L" or "R"
    frames: int

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

    def euler(self, axes: str, *angles: Angle) -> Rotation:
        return _euler(axes, self.frames, *angles)


def _trunk(pose: Pose) -> dict[str, Rotation]:
    turns = {"root": _euler("YXZ", pose.frames, pose.pelvis_turn, pose.pelvis_bend, pose.pelvis_tilt)}
    for bone, share in (("05", 0.15), ("04", 0.25), ("03", 0.25), ("02", 0.2), ("01", 0.15)):
        angles = (share * pose.spine_turn, share * pose.spine_bend, share * pose.spine_tilt)
        turns[f"spine{bone}"] = _euler("YXZ", pose.frames, *angles)
    for bone in ("neck01", "neck02", "neck03", "head"):
        turns[bone] = _euler("YXZ", pose.frames, pose.head_turn / 4, pose.head_bend / 4, pose.head_tilt / 4)
    return turns


def _arm(angles: Side, rest: _Skeleton) -> dict[str, Rotation]:
    out, name = rest.outwards, rest.name
    upper, fore = rest.between("upperarm01", "lowerarm01"), rest.between("lowerarm01", "wrist")
    knuckles = rest.between("finger2-1", "finger5-1")  # index → little finger
    hang_upper = _shortest_turn(upper, DOWN)
    hang_fore = _shortest_turn(hang_upper.apply(fore), DOWN) * hang_upper

    # The collarbone and the shoulder take a share of every raise, as they do in people.
    raised = (
        rest.euler("ZXY", out * angles.arm_abduction, -angles.arm_flexion, -out * angles.arm_twist)
        * hang_upper
    )
    collar = raised**0.12 * rest.euler("ZY", out * angles.shrug, -out * angles.shoulder_forward)
    shoulder = raised**0.22

    # Palms face the thighs at zero: the knuckles point backwards. The twist is spread from forearm to wrist.
    forwards = hang_fore.apply(knuckles)
    yaw = np.arctan2(-forwards[0], -forwards[2])
    twist = (yaw + np.radians(out * angles.pronation))[..., None] * hang_fore.inv().apply(DOWN)  # [(T,) 3]

    unit = knuckles / np.linalg.norm(knuckles)
    align_hand = _shortest_turn(rest.between("wrist", "finger3-1"), fore) ** 0.8
    turns = {
        name("clavicle"): collar,
        name("shoulder01"): shoulder,
        name("upperarm01"): (collar * shoulder).inv() * raised,
        name("lowerarm01"): hang_upper.inv() * rest.euler("X", -angles.elbow) * hang_fore,
        name("lowerarm02"): Rotation.from_rotvec(0.6 * twist),
        name("wrist"): Rotation.from_rotvec(0.4 * twist) * align_hand * _about(unit, out * angles.wrist),
    }
    curl = -out * angles.fingers
    turns |= {name(f"finger1-{joint}"): _about(unit, share * curl) for joint, share in ((2, 0.5), (3, 0.7))}
    for joint, share in ((1, 1.0), (2, 1.1), (3, 0.7)):
        bend = _about(unit, share * curl)
        turns |= {name(f"finger{finger}-{joint}"): bend for finger in (2, 3, 4, 5)}
    return turns


def _leg(angles: Side, rest: _Skeleton) -> dict[str, Rotation]:
    out, name = rest.outwards, rest.name
    hang_thigh = _shortest_turn(rest.between("upperleg01", "lowerleg01"), DOWN)
    shin = hang_thigh.apply(rest.between("lowerleg01", "foot"))
    hang_shin = _shortest_turn(shin, DOWN) * hang_thigh

    raised = (
        rest.euler("ZXY", out * angles.hip_abduction, -angles.hip_flexion, -out * angles.hip_twist)
        * hang_thigh
    )
    pelvis, upper = raised**0.08, raised**0.72  # spread along the thigh, so that the groin folds softly
    return {
        name("pelvis"): pelvis,
        name("upperleg01"): upper,
        name("upperleg02"): (pelvis * upper).inv() * raised,
        name("lowerleg01"): hang_thigh.inv() * rest.euler("X", angles.knee) * hang_shin,
        name("foot"): hang_shin.inv() * rest.euler("X", angles.ankle),  # at rest the sole is level
    }


def _euler(axes: str, frames: int, *angles: Angle) -> Rotation:
    """T rotations about moving axes, in degrees."""
    columns = np.stack([np.broadcast_to(a, frames) for a in angles], axis=-1)  # [T, len(axes)]
    return Rotation.from_euler(axes.upper(), columns, degrees=True)


def _about(axis: Floats, degrees: Angle) -> Rotation:
    return Rotation.from_rotvec(np.radians(degrees)[..., None] * axis)


def _shortest_turn(start: Floats, end: Floats) -> Rotation:
    """The smallest rotation that takes one direction to the other (which is not its opposite)."""
    axis = np.cross(start, end)
    sine, cosine = np.linalg.norm(axis), np.dot(start, end)
    if sine < 1e-12:
        return Rotation.identity()
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine))

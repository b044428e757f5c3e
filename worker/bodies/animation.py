"""One person doing one thing: a body and a motion put together."""

from dataclasses import replace

import numpy as np

from worker.bodies.motions import ACTIONS
from worker.bodies.pose import Pose, bone_rotations
from worker.bodies.rig import Body, Floats, Rig
from worker.bodies.rotations import Angle

FRAMES_PER_SECOND = 60.0
SOFTNESS = 6.0  # degrees over which the arms come to rest against the torso


def animate(
    rig: Rig,
    body: Body,
    action: str,
    rng: np.random.Generator,
    frames: int = 50,
    frames_per_second: float = FRAMES_PER_SECOND,
) -> Floats:
    """Vertices [T, V, 3] in metres of a body that performs one of `ACTIONS`.

    y is up and the floor is y = 0: the lowest vertex of a frame lies on it, or above it by the hop's height.
    """
    if action not in ACTIONS:
        raise ValueError(f"no action {action!r}; there are {', '.join(ACTIONS)}")
    return pose_body(rig, body, ACTIONS[action](rng, np.arange(frames) / frames_per_second))


def pose_body(rig: Rig, body: Body, pose: Pose) -> Floats:
    """Vertices [T, V, 3] of a body in this pose, its arms kept clear of its torso, its feet on the floor."""
    clearance = arm_clearance(rig, body)
    left, right = (
        replace(side, arm_abduction=_at_least(clearance, side.arm_abduction)) for side in pose.sides
    )
    vertices = rig.skin(body, bone_rotations(replace(pose, left=left, right=right), rig, body))
    root = pose.root()  # [T, 3]
    root[:, 1] -= vertices[..., 1].min(axis=1)
    vertices += root[:, None]
    return vertices


def arm_clearance(rig: Rig, body: Body) -> float:
    """The least abduction, in degrees, that keeps this body's hanging arms out of its torso and hips."""
    shoulder, elbow, wrist = (
        body.joints[rig.bones[f"{name}.L"]] for name in ("upperarm01", "lowerarm01", "wrist")
    )
    arm = np.linalg.norm(elbow - shoulder) + np.linalg.norm(wrist - elbow)
    trunk = [i for name, i in rig.bones.items() if name.startswith(("root", "pelvis", "spine", "upperleg01"))]
    vertices = body.vertices[rig.weights[:, trunk].sum(axis=1) > 0.95]
    drop = shoulder[1] - vertices[:, 1]
    beside_arm = (drop > 0.12) & (drop < arm + 0.1) & (np.abs(vertices[:, 2]) < 0.12)
    half_arm = 0.035  # metres of soft tissue between the bone and the torso
    angles = np.arctan2(vertices[beside_arm, 0] + half_arm - shoulder[0], drop[beside_arm])
    return max(0.0, float(np.degrees(angles.max())))


def _at_least(floor: float, angle: Angle) -> Floats:
    """Smooth maximum, so that an arm slows down before it stops."""
    return floor + SOFTNESS * np.logaddexp(0, (np.asarray(angle) - floor) / SOFTNESS)

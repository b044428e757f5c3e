"""Random jointed things: parts on a tree of joints, drawn from families, as tensors of equal size.

Quadrupeds, bipeds, insects, hands, trees, snakes, birds, robot arms, loose parts and random trees. A part
lies along +y of its own frame, whose origin is the joint to its parent; sizes are such that the longest
side of the whole in its rest pose is 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PARTS = 24  # most parts of one thing; the rest of its rows is padding of no area

Floats = NDArray[np.float64]
UP, DOWN, AHEAD = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)
MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Skeletons:
    """S things of K parts. The first row of each is its root, whose parent is K, which stands for the
    world.
    """

    parent: Tensor  # [S, K], integers; smaller than the row itself, or K
    rotation: Tensor  # [S, K, 3, 3], of a part's frame in its parent's, at rest
    joint: Tensor  # [S, K, 3], where a part's origin is in its parent's frame
    half: Tensor  # [S, K, 3], half the sides of the box around a part; the second is along the part
    rounding: Tensor  # [S, K], 0 a box … 1 a capsule (radius of edges in units of the smallest half side)
    ellipsoid: Tensor  # [S, K], whether it is an ellipsoid instead
    taper: Tensor  # [S, K], the cross-section grows by this share from the middle to the end
    swing: Tensor  # [S, K, 3], how readily a joint turns around each axis
    slide: Tensor  # [S, K], how readily it leaves its place
    skin: Tensor  # [S], width over which the parts' motions blend; 0: rigid parts

    def __len__(self) -> int:
        return len(self.parent)

    def __getitem__(self, rows: Tensor) -> "Skeletons":
        return Skeletons(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device | str) -> "Skeletons":
        return Skeletons(*(getattr(self, field.name).to(device) for field in fields(self)))

    @property
    def middle(self) -> Tensor:
        """Centres of the parts in their own frames: [S, K, 3]."""
        return self.half * self.half.new_tensor(UP)


def draw_skeletons(count: int, seed: int) -> Skeletons:
    """`count` things, each of a family chosen at random; the same ones for the same seed. On the CPU."""
    rng = np.random.default_rng(seed)
    trees = [_draw_tree(rng) for _ in range(count)]
    columns = {name: np.stack([tree[name] for tree in trees]) for name in trees[0]}
    skeletons = Skeletons(**{name: _tensor(column) for name, column in columns.items()})
    return _of_unit_size(skeletons)


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array if array.dtype.kind != "f" else array.astype(np.float32))


def _of_unit_size(skeletons: Skeletons) -> Skeletons:
    rotation, origin = pose(skeletons, skeletons.rotation, skeletons.joint)
    ends = torch.stack([torch.zeros_like(skeletons.half), 2 * skeletons.middle], dim=2)  # [S, K, 2, 3]
    ends = torch.einsum("skij,skej->skei", rotation, ends) + origin[:, :, None]
    radius = skeletons.half[..., [0, 2]].amax(dim=2)[:, :, None, None]  # [S, K, 1, 1]
    high, low = (ends + radius).amax(dim=(1, 2)), (ends - radius).amin(dim=(1, 2))  # [S, 3]
    scale = 1 / (high - low).amax(dim=1)  # [S]
    return replace(
        skeletons,
        joint=skeletons.joint * scale[:, None, None],
        half=skeletons.half * scale[:, None, None],
    )


def pose(skeletons: Skeletons, rotation: Tensor, joint: Tensor) -> tuple[Tensor, Tensor]:
    """Frames of the parts in the world, from those in their parents': rotations [S, K, 3, 3], origins [S,
    K, 3].

    Every part is put together with its parent, then with its parent's parent's parent, and so on: five
    products instead of one after another along the tree.
    """
    count, parts = joint.shape[:2]
    eye = torch.eye(3, device=joint.device, dtype=joint.dtype).expand(count, 1, 3, 3)
    rotation, origin = (
        torch.cat([rotation, eye], dim=1),
        torch.cat([joint, joint.new_zeros(count, 1, 3)], dim=1),
    )
    above = torch.cat([skeletons.parent, skeletons.parent.new_full((count, 1), parts)], dim=1)  # [S, K + 1]
    rows = torch.arange(count, device=joint.device)[:, None]
    for _ in range(PARTS.bit_length()):
        origin = origin[rows, above] + (rotation[rows, above] @ origin[..., None])[..., 0]
        rotation = rotation[rows, above] @ rotation
        above = above[rows, above]
    return rotation[:, :parts], origin[:, :parts]


class _Tree:
    """Parts gathered one by one, in one style of shapes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.roundness = rng.choice(["round", "boxy", "mixed"], p=[0.5, 0.2, 0.3])
        self.skin = 0.0 if rng.uniform() < 0.4 else float(np.exp(rng.uniform(np.log(0.008), np.log(0.05))))
        self.girth = np.exp(rng.normal(0, 0.25))
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        parent: int | None,
        joint: tuple[float, float, float],
        direction: tuple[float, float, float] | Floats,
        sides: tuple[float, float, float],
        swing: tuple[float, float, float] = (1.0, 0.3, 0.5),
        slide: float = 0.0,
        side: int = 1,
    ) -> int:
        """A part of the given width, length and depth; with `side` -1 mirrored to the other side of x = 0."""
        rng, turn = self.rng, _toward(np.asarray(direction, dtype=float))
        place = np.asarray(joint, dtype=float)
        if side < 0:
            turn, place = MIRROR @ turn @ MIRROR, place @ MIRROR
        width, length, depth = (max(0.012, extent) for extent in sides)
        boxy = self.roundness == "boxy" or (self.roundness == "mixed" and rng.uniform() < 0.5)
        self.rows.append(
            {
                "parent": PARTS if parent is None else parent,
                "rotation": turn,
                "joint": place,
                "half": np.array([width * self.girth, length, depth * self.girth]) / 2,
                "rounding": rng.uniform(0.05, 0.4) if boxy else rng.uniform(0.7, 1),
                "ellipsoid": not boxy and rng.uniform() < 0.25,
                "taper": rng.uniform(-0.45, 0.2) if rng.uniform() < 0.6 else 0.0,
                "swing": np.asarray(swing),
                "slide": slide,
            }
        )
        return len(self.rows) - 1

    def chain(
        self,
        parent: int,
        joint: tuple[float, float, float],
        directions: list[tuple[float, float, float]],
        sides: tuple[float, float, float],
        shrink: float = 0.8,
        side: int = 1,
    ) -> None:
        """Parts one at the end of the other, the first in the parent's frame and each `shrink` times the
        last.
        """
        for direction in directions:
            if len(self.rows) == PARTS:
                return
            parent = self.add(parent, joint, direction, sides, side=side)
            joint = (0.0, sides[1], 0.0)
            sides = (sides[0] * shrink, sides[1] * self.rng.uniform(0.7, 1.1), sides[2] * shrink)

    def pair(
        self,
        parent: int,
        joint: tuple[float, float, float],
        directions: list[tuple[float, float, float]],
        sides: tuple[float, float, float],
        shrink: float = 0.8,
    ) -> None:
        """The same chain on both sides, or with sides of its own now and then."""
        state = self.rng.bit_generator.state
        for side in (1, -1):
            if self.rng.uniform() < 0.85:
                self.rng.bit_generator.state = state
            self.chain(parent, joint, directions, sides, shrink, side)

    def padded(self) -> dict[str, NDArray[Any]]:
        empty: dict[str, Any] = {"parent": PARTS, "rotation": np.eye(3), "half": np.zeros(3)}
        columns: dict[str, NDArray[Any]] = {}
        for name, value in self.rows[0].items():
            padding = [empty.get(name, np.zeros_like(np.asarray(value)))] * (PARTS - len(self.rows))
            columns[name] = np.stack([np.asarray(row[name]) for row in self.rows] + padding)
        return columns | {"skin": np.asarray(self.skin)}


def _toward(direction: Floats) -> Floats:
    """A rotation that takes +y to `direction`, with no more of a turn than that takes."""
    x, y, z = direction / np.linalg.norm(direction)
    if y < -0.999:
        return np.diag([1.0, -1.0, -1.0])
    f = 1 / (1 + y)
    return np.array([[1 - x * x * f, x, -x * z * f], [-x, y, -z], [-x * z * f, z, 1 - z * z * f]])


def _draw_tree(rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    tree = _Tree(rng)
    names = list(FAMILIES)
    weights = np.array([FAMILIES[name][1] for name in names])
    FAMILIES[names[rng.choice(len(names), p=weights / weights.sum())]][0](tree, rng)
    return tree.padded()


def _quadruped(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    length, width, depth = u(0.4, 0.9), u(0.12, 0.35), u(0.14, 0.35)
    torso = tree.add(None, (0, 0, 0), (0, 1, u(-0.2, 0.2)), (width, length, depth), (0.3, 0.3, 0.3))
    neck = tree.add(
        torso, (0, 0.95 * length, 0.2 * depth), (0, 1, u(0, 2)), (0.6 * width, u(0.1, 0.4), 0.6 * width)
    )
    reach = float(tree.rows[neck]["half"][1]) * 2
    head = tree.add(neck, (0, 0.9 * reach, 0), (0, 1, u(-2, 0)), (0.7 * width, u(0.12, 0.3), 0.6 * width))
    if u() < 0.4:
        tree.pair(
            head, (0.3 * width, 0.05, 0.2 * width), [(0.3, u(-0.3, 0.3), 1)], (0.05, u(0.05, 0.2), 0.02)
        )
    if u() < 0.8:
        tail = [(0.0, -1.0, u(-0.5, 1))] + [(0.0, 1.0, u(-0.3, 0.3))] * int(rng.integers(0, 4))
        tree.chain(torso, (0, 0.03, 0.2 * depth), tail, (u(0.03, 0.1), u(0.1, 0.25), u(0.03, 0.1)), 0.8)
    reach, thick, knee = u(0.15, 0.4), u(0.05, 0.14), u(0, 0.6)
    for place, bend in ((0.85, knee), (0.12, -knee)):
        steps = [(u(0, 0.15), bend, -1.0), (0.0, 1.0, -1.2 * bend)] + [(0.0, 1.0, u(0.3, 2))] * int(u() < 0.7)
        tree.pair(torso, (0.4 * width, place * length, -0.3 * depth), steps, (thick, reach, thick), 0.75)


def _biped(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    width, depth, trunk = u(0.18, 0.36), u(0.1, 0.25), u(0.3, 0.5)
    pelvis = tree.add(None, (0, 0, 0), UP, (width * u(0.8, 1.1), u(0.1, 0.2), depth), (0.3, 0.5, 0.3))
    torso = tree.add(
        pelvis, (0, 0.08, 0), UP, (width * u(0.9, 1.3), trunk, depth * u(0.8, 1.2)), (0.4, 0.4, 0.3)
    )
    tree.add(torso, (0, trunk * 1.03, 0), (0, 1, u(-0.2, 0.4)), (u(0.12, 0.3), u(0.18, 0.35), u(0.12, 0.3)))
    arm, thick, lift = u(0.2, 0.35), u(0.05, 0.11), u(-1.4, 1.0)
    arms = [(np.cos(lift), np.sin(lift), u(-0.3, 0.5)), (0.0, 1.0, u(0, 1)), (0.0, 1.0, u(-0.2, 0.4))]
    tree.pair(torso, (0.55 * width, 0.9 * trunk, 0), arms[: 2 + int(u() < 0.7)], (thick, arm, thick), 0.8)
    leg, thick = u(0.25, 0.45), u(0.08, 0.16)
    legs = [(u(0, 0.5), -1.0, u(-0.2, 0.6)), (0.0, 1.0, u(0, 0.5)), (0.0, 0.2, -1.0)]
    tree.pair(pelvis, (0.3 * width, 0.02, 0), legs, (thick, leg, thick), 0.75)


def _insect(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    length, width = u(0.2, 0.5), u(0.1, 0.35)
    body = tree.add(None, (0, 0, 0), UP, (width, length, u(0.08, 0.25)), (0.2, 0.2, 0.2))
    tree.add(body, (0, 0.97 * length, 0), UP, (u(0.08, 0.25), u(0.1, 0.25), u(0.08, 0.2)))
    tree.add(body, (0, 0.05, 0), (0, -1, u(-0.4, 0.4)), (u(0.1, 0.4), u(0.15, 0.5), u(0.1, 0.3)))
    reach, thick = u(0.15, 0.4), u(0.02, 0.07)
    for place in np.linspace(0.1, 0.9, int(rng.integers(3, 5))):
        steps = [(1.0, float(place) - 0.5, u(0, 0.8)), (0.0, 1.0, -u(0.3, 2))]
        tree.pair(body, (0.4 * width, float(place) * length, 0), steps, (thick, reach, thick))
    if u() < 0.4:
        tree.pair(
            body,
            (0.2 * width, 0.6 * length, 0.08),
            [(1, u(-0.5, 0.5), u(0, 1))],
            (u(0.1, 0.3), u(0.3, 0.7), 0.02),
        )


def _hand(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    palm_length, width, depth = u(0.3, 0.45), u(0.28, 0.42), u(0.08, 0.15)
    wrist = tree.add(None, (0, 0, 0), UP, (0.6 * width, u(0.1, 0.6), 1.1 * depth), (0.2, 0.1, 0.1))
    length = float(tree.rows[wrist]["half"][1]) * 2
    palm = tree.add(wrist, (0, 0.95 * length, 0), UP, (width, palm_length, depth), (0.6, 0.2, 0.4))
    curl = u(0, 0.8)
    for place in np.linspace(-0.42, 0.42, int(rng.integers(3, 5))):
        steps = [(0.4 * float(place), 1.0, -curl * u(0.5, 1))] + [(0.0, 1.0, -curl * u(0.5, 1.2))] * 2
        tree.chain(palm, (float(place) * width, 0.97 * palm_length, 0), steps, (0.07, u(0.1, 0.2), 0.07), 0.9)
    tree.chain(
        palm,
        (0.45 * width, 0.25 * palm_length, -0.2 * depth),
        [(1, u(0.3, 1.2), -u(0, 1)), (-0.3, 1, 0)],
        (0.08, 0.16, 0.08),
        0.9,
    )


def _plant(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    thick, length = u(0.05, 0.2), u(0.3, 0.6)
    tree.add(None, (0, 0, 0), UP, (thick, length, thick), (0.2, 0.1, 0.2))
    for _ in range(int(rng.integers(3, PARTS - 1))):
        parent = int(rng.integers(len(tree.rows)))
        half = np.asarray(tree.rows[parent]["half"]) * 2
        spread, around = u(0.2, 1.5), u(0, 2 * np.pi)
        tree.add(
            parent,
            (0, half[1] * u(0.4, 1), 0),
            (np.sin(spread) * np.cos(around), np.cos(spread), np.sin(spread) * np.sin(around)),
            (half[0] * u(0.5, 0.9), half[1] * u(0.5, 0.95), half[2] * u(0.5, 0.9)),
            (0.6, 0.3, 0.6),
        )


def _snake(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    thick, flat = u(0.06, 0.25), u(0.5, 1)
    root = tree.add(None, (0, 0, 0), UP, (thick, 0.15, thick * flat), (0.4, 0.3, 0.4))
    steps = [(u(-0.4, 0.4), 1.0, u(-0.4, 0.4)) for _ in range(int(rng.integers(4, PARTS - 1)))]
    tree.chain(root, (0, 0.15, 0), steps, (thick, 0.15, thick * flat), u(0.88, 1.02))


def _bird(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    length, width = u(0.3, 0.6), u(0.12, 0.3)
    body = tree.add(None, (0, 0, 0), UP, (width, length, width * u(0.7, 1.2)), (0.3, 0.3, 0.3))
    tree.chain(
        body, (0, 0.95 * length, 0), [(0, 1, u(0, 1.5)), (0, 1, u(-1.5, 0))], (0.08, u(0.08, 0.3), 0.08), 1.2
    )
    tree.add(body, (0, 0.03, 0), (0, -1, u(-0.3, 0.5)), (u(0.1, 0.3), u(0.1, 0.35), 0.02))
    span, chord, lift = u(0.25, 0.6), u(0.1, 0.35), u(-0.7, 0.7)
    wing = [(1.0, u(-0.4, 0.4), lift), (0.0, 1.0, u(-0.5, 0.3))]
    tree.pair(body, (0.4 * width, 0.6 * length, 0.2 * width), wing, (0.03, span, chord), 0.9)
    tree.pair(
        body,
        (0.3 * width, 0.3 * length, -0.4 * width),
        [(0.1, -0.2, -1), (0, 1, -0.8)],
        (0.04, u(0.08, 0.25), 0.04),
    )


def _arm(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    base = tree.add(None, (0, 0, 0), UP, (u(0.2, 0.6), u(0.08, 0.3), u(0.2, 0.6)), (0.05, 0.1, 0.05))
    joint, parent, thick = (0.0, 0.2, 0.0), base, u(0.08, 0.2)
    for _ in range(int(rng.integers(2, 6))):
        length = u(0.15, 0.5)
        parent = tree.add(parent, joint, (0, 1, u(-1.5, 1.5)), (thick, length, thick), (1, 0.5, 0.1))
        joint, thick = (0.0, length, 0.0), thick * u(0.7, 1)
    for side in (1, -1):
        tree.add(
            parent,
            (0.3 * thick, joint[1], 0),
            (0.3, 1, 0),
            (0.04, u(0.08, 0.2), 0.06),
            (0.1, 0.1, 1),
            0.2,
            side,
        )


def _loose(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    for number in range(int(rng.integers(1, 9))):
        place = (u(-0.5, 0.5), u(-0.5, 0.5), u(-0.5, 0.5)) if number else (0.0, 0.0, 0.0)
        direction = rng.normal(size=3)
        tree.add(
            0 if number else None, place, direction, (u(0.05, 0.5), u(0.1, 0.7), u(0.03, 0.4)), (1, 1, 1), 1.0
        )


def _anything(tree: _Tree, rng: np.random.Generator) -> None:
    u = rng.uniform
    for number in range(int(rng.integers(2, PARTS))):
        parent = int(rng.integers(number)) if number else None
        length = float(np.asarray(tree.rows[parent]["half"])[1]) * 2 if parent is not None else 0.0
        thick = u(0.03, 0.25)
        tree.add(
            parent,
            (0.0, length * (1.0 if u() < 0.5 else u()), 0.0),
            rng.normal(size=3),
            (thick, u(0.1, 0.6), thick if u() < 0.6 else u(0.02, 0.3)),
            (1, 0.5, 1),
            0.2 * float(u() < 0.2),
        )


# Name of a family → what builds one of it, and how often it is drawn.
FAMILIES: dict[str, tuple[Callable[[_Tree, np.random.Generator], None], float]] = {
    "quadruped": (_quadruped, 3),
    "biped": (_biped, 3),
    "insect": (_insect, 1.5),
    "hand": (_hand, 1.5),
    "plant": (_plant, 1),
    "snake": (_snake, 1),
    "bird": (_bird, 1),
    "arm": (_arm, 1),
    "loose": (_loose, 1.5),
    "anything": (_anything, 1.5),
}

"""The moving surface of an animated GLB: nodes, skins and morph targets at any time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import SequenceError, quoted
from service.core.sequences.readers.frame import MAX_FACES, Source, invalid, too_large
from service.core.sequences.readers.gltf import Gltf

Floats = NDArray[np.float64]
Result = TypeVar("Result")
MAX_VERTICES = 2_000_000
_REST = {"translation": (0.0, 0.0, 0.0), "rotation": (0.0, 0.0, 0.0, 1.0), "scale": (1.0, 1.0, 1.0)}


@dataclass(frozen=True)
class _Channel:
    """Values [K, …] of one property of a node at times [K]."""

    times: Floats
    values: Floats
    interpolation: str

    def at(self, time: float) -> Floats:
        """The value at a time; before the first and after the last it stays."""
        if self.interpolation == "CUBICSPLINE":
            return self._cubic(time)
        right = int(np.searchsorted(self.times, time, side="right"))
        before, after = max(right - 1, 0), min(right, len(self.times) - 1)
        if before == after or self.interpolation == "STEP":
            value: Floats = self.values[before]
            return value
        share = (time - self.times[before]) / (self.times[after] - self.times[before])
        a, b = self.values[before], self.values[after]
        if a.shape == (4,) and a @ b < 0:
            b = -b  # the shorter way between two rotations
        between: Floats = a + min(max(share, 0.0), 1.0) * (b - a)
        return between

    def _cubic(self, time: float) -> Floats:
        values: Floats = self.values.reshape(len(self.times), 3, -1)  # [K, 3, …], the value in the middle
        before = int(np.clip(np.searchsorted(self.times, time, side="right") - 1, 0, len(self.times) - 1))
        after = min(before + 1, len(self.times) - 1)
        step = self.times[after] - self.times[before]
        if step <= 0:
            still: Floats = values[before, 1]
            return still
        s = min(max((time - self.times[before]) / step, 0.0), 1.0)
        out: Floats = (
            (2 * s**3 - 3 * s**2 + 1) * values[before, 1]
            + step * (s**3 - 2 * s**2 + s) * values[before, 2]
            + (3 * s**2 - 2 * s**3) * values[after, 1]
            + step * (s**3 - s**2) * values[after, 0]
        )
        return out


class Animation:
    """The first animation of a GLB: `times` [K] of all keys, `faces` [F, 3] of all meshes, their vertices.

    Raises SequenceError.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._gltf = Gltf(source)
        self._guarded(self._read)

    def vertices(self, time: float) -> Floats:
        """Vertices [V, 3] of all meshes at a time in seconds, in the coordinates of the scene."""
        return self._guarded(lambda: self._vertices(time))

    @property
    def work(self) -> int:
        """Vertices that are moved for one frame, counted for each morph target and for each bone of four."""
        skins = ("skin" in self._nodes[part[0]] for part in self._parts)
        return sum(
            len(base) * (1 + len(primitive.get("targets", [])) + 16 * skinned)
            for (_, primitive, base, _), skinned in zip(self._parts, skins, strict=True)
        )

    def _guarded(self, read: Callable[[], Result]) -> Result:
        """What `read` returns; a document that it cannot follow is refused."""
        try:
            return read()
        except SequenceError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            found = quoted(f"{type(error).__name__}: {error}")
            raise invalid(self._source, "is not a valid glTF document", found, "an animated GLB") from None

    def _read(self) -> None:
        document = self._gltf.document
        self._nodes: list[Any] = document.get("nodes", [])
        if not (animations := document.get("animations")):
            message = "holds no animation, and a still mesh is not a sequence"
            raise invalid(self._source, message, "no animation", "a GLB with an animation")
        self._channels: dict[tuple[int, str], _Channel] = {}
        for channel in animations[0]["channels"]:
            sampler = animations[0]["samplers"][channel["sampler"]]
            times = self._gltf.array(sampler["input"]).astype(np.float64)
            values = self._gltf.array(sampler["output"]).astype(np.float64)
            path, kind = channel["target"]["path"], sampler.get("interpolation", "LINEAR")
            rows = len(times) * (3 if kind == "CUBICSPLINE" else 1)
            if not len(times) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
                raise invalid(self._source, "has invalid key times", f"{len(times)} keys", "increasing times")
            values = values.reshape(rows, -1)
            self._channels[channel["target"].get("node", -1), path] = _Channel(times, values, kind)
        self.times = np.unique(np.concatenate([c.times for c in self._channels.values()]))
        self._parents = {child: n for n, node in enumerate(self._nodes) for child in node.get("children", [])}
        self._parts = list(self._primitives(document))
        if not self._parts:
            raise invalid(self._source, "holds no surface", "no triangles", "a mesh of triangles")
        starts = np.cumsum([0, *(len(base) for _, _, base, _ in self._parts)])
        faces = [f + start for (_, _, _, f), start in zip(self._parts, starts, strict=False)]
        self.faces = np.concatenate(faces).astype(np.int32)

    def _primitives(self, document: Any) -> Iterator[tuple[int, Any, Floats, NDArray[np.int64]]]:
        """Node, primitive, vertices [V, 3] and faces [F, 3] of everything that is drawn as triangles."""
        vertices = triangles = 0
        for number, node in enumerate(self._nodes):
            if "mesh" not in node:
                continue
            for primitive in document["meshes"][node["mesh"]]["primitives"]:
                if primitive.get("mode", 4) != 4:
                    continue
                base = self._gltf.array(primitive["attributes"]["POSITION"]).astype(np.float64)
                indices = primitive.get("indices")
                corners = (
                    np.arange(len(base)) if indices is None else self._gltf.array(indices).astype(np.int64)
                )
                faces = corners[: len(corners) // 3 * 3].reshape(-1, 3)
                vertices, triangles = vertices + len(base), triangles + len(faces)
                if vertices > MAX_VERTICES or triangles > MAX_FACES:
                    found = f"{vertices:,} vertices and {triangles:,} faces"
                    raise too_large(self._source, found, f"at most {MAX_VERTICES:,} and {MAX_FACES:,}")
                if faces.size and faces.max() >= len(base):
                    found = f"corner {faces.max()} of {len(base):,} vertices"
                    raise invalid(self._source, "has a face with a missing vertex", found, "its vertices")
                if len(faces):
                    yield number, primitive, base, faces

    def _vertices(self, time: float) -> Floats:
        self._placed: dict[int, Floats] = {}
        self._time = time
        return np.concatenate([self._moved(*part[:3]) for part in self._parts])

    def _moved(self, number: int, primitive: Any, base: Floats) -> Floats:
        node = self._nodes[number]
        points = self._morphed(number, primitive, base)
        if "skin" not in node or "JOINTS_0" not in primitive["attributes"]:
            return _apply(self._world(number), points)
        skin = self._gltf.document["skins"][node["skin"]]
        matrices = np.stack([self._world(joint) for joint in skin["joints"]])  # [J, 4, 4]
        if "inverseBindMatrices" in skin:
            inverse = self._gltf.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4)  # column by column
            matrices = matrices @ inverse[: len(matrices)].transpose(0, 2, 1)
        moved, total = np.zeros_like(points), np.zeros((len(points), 1))
        for names in ("0", "1"):
            if f"JOINTS_{names}" not in primitive["attributes"]:
                break
            joints = self._gltf.array(primitive["attributes"][f"JOINTS_{names}"])  # [V, 4]
            weights = self._gltf.array(primitive["attributes"][f"WEIGHTS_{names}"]).astype(np.float64)
            for corner in range(4):
                weight = weights[:, corner : corner + 1]  # [V, 1]
                bones = matrices[joints[:, corner]]  # [V, 4, 4]
                moved += weight * (np.einsum("vij,vj->vi", bones[:, :3, :3], points) + bones[:, :3, 3])
                total += weight
        return moved / np.where(total > 0, total, 1)

    def _morphed(self, number: int, primitive: Any, base: Floats) -> Floats:
        targets = primitive.get("targets", [])
        channel = self._channels.get((number, "weights"))
        node = self._nodes[number]
        rest = node.get("weights", self._gltf.document["meshes"][node["mesh"]].get("weights", []))
        weights = channel.at(self._time) if channel else np.array(rest, np.float64)
        points = base
        for target, weight in zip(targets, weights.tolist(), strict=False):
            if weight and "POSITION" in target:
                points = points + weight * self._gltf.array(target["POSITION"])
        return points

    def _world(self, number: int) -> Floats:
        """The matrix [4, 4] from a node to the scene."""
        chain, node = [number], number
        while node in self._parents and node not in self._placed:
            node = self._parents[node]
            chain.append(node)
            if len(chain) > len(self._nodes):
                raise invalid(self._source, "has a node below itself", f"node {number}", "a tree of nodes")
        for node in reversed(chain):
            if node not in self._placed:
                above = self._placed[self._parents[node]] if node in self._parents else np.eye(4)
                self._placed[node] = above @ self._local(node)
        return self._placed[number]

    def _local(self, number: int) -> Floats:
        node = self._nodes[number]
        if "matrix" in node:
            return np.array(node["matrix"], np.float64).reshape(4, 4).T
        values = {}
        for path, rest in _REST.items():
            channel = self._channels.get((number, path))
            values[path] = channel.at(self._time) if channel else np.array(node.get(path, rest), np.float64)
        matrix = np.eye(4)
        matrix[:3, :3] = _rotation(values["rotation"]) * values["scale"]
        matrix[:3, 3] = values["translation"]
        return matrix


def _apply(matrix: Floats, points: Floats) -> Floats:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _rotation(quaternion: Floats) -> Floats:
    x, y, z, w = quaternion / max(float(np.linalg.norm(quaternion)), 1e-12)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )

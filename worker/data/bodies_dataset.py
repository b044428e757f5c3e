"""Moving bodies drawn while training: no files, no end, and the same items again for the same seeds."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from model.config.schema import Config
from model.errors import ConfigError
from model.meshes.sampling import Surface
from model.methods import METHODS, needed_fields
from worker.bodies import ACTIONS
from worker.bodies.scenes import EASING, HELD_OUT_ADULTS, TRAINING_ADULTS, Scenes
from worker.data.images import as_inputs, check_settings
from worker.data.inside import inside
from worker.rendering.films import View, render

Array = NDArray[Any]
Floats = NDArray[np.float64]
Item = dict[str, Array]
Split = Literal["train", "val", "test"]

# Name of a split → (a number that keeps its random streams apart from all others, the people in it).
# As in the published data, `test` is unseen motions of seen people, `test_new_individual` unseen people.
SPLITS: dict[str, tuple[int, tuple[int, ...]]] = {
    "train": (1, TRAINING_ADULTS),
    "val": (2, TRAINING_ADULTS),
    "test": (3, TRAINING_ADULTS),
    "val_new_individual": (4, HELD_OUT_ADULTS),
    "test_new_individual": (5, HELD_OUT_ADULTS),
}
BOX = 1.1  # side of the cube in which occupancy is known, in longest sides of the frame's bounding box
STRIDE = 12  # frames from one window of a scene to the next, a fifth of a second
SCENE = 0  # ends the seed of a scene, to tell it from that of a window
EPOCH = 10_000  # items; only a way of counting, since training data has no end


class BodiesDataset(Dataset[Item]):
    """Items of `data.dataset: bodies`; the settings are `data.bodies` and the sizes of `data`.

    `data.train_split`, `val_split` and `test_split` name one of `SPLITS`. The held-out ones go through the
    ten actions in turn, with uniform occupancy points in all frames, and Gaussian noise alone on the inputs;
    images of them are taken by a camera at one place, in training from anywhere around.
    Training items hold what the losses of the config read: for `training.parts: shape`, one frame. Items of
    `test` hold the end meshes where a task moves given ones. Without `data.input_type` there are no inputs.
    """

    def __init__(self, config: Config, split: Split) -> None:
        name = {
            "train": config.data.train_split,
            "val": config.data.val_split,
            "test": config.data.test_split,
        }
        if (chosen := name[split]) not in SPLITS:
            raise ConfigError(f"data.{split}_split: found {chosen}, wanted one of {', '.join(SPLITS)}")
        if config.data.input_type not in ("pcl_seq", "end_pointclouds", "img_seq", None):
            raise ConfigError(
                f"data.input_type: found {config.data.input_type}, wanted pcl_seq, end_pointclouds, img_seq "
                "or null: drawn bodies are no numbered sequences"
            )
        if config.data.input_type == "img_seq":
            check_settings(config)
        self._data, self._bodies = config.data, config.data.bodies
        self._evaluated_points = config.training.n_eval_points
        self._stream, adults = SPLITS[chosen]
        self._training = split == "train"
        generation = config.generation
        self._with_meshes = split == "test" and (generation.interpolate or generation.correspondence)
        # To tell what lies inside takes longer than all the rest.
        measured = split != "test" or config.test.eval_mesh_iou
        self._with_occupancy = METHODS[config.method].gives == "meshes" and measured
        self._scenes = Scenes(adults, self._bodies.variety, self._bodies.turn)
        self._fields = set(needed_fields(config)) if self._training else set()
        # If the first frame has points of its own, points_t are those of the later ones.
        self._first_of_any = 1 if "points" in self._fields else 0
        self._times = np.linspace(0, 1, self._data.length_sequence, dtype=np.float32)  # [T]
        self._drawn_frames = len(self._times)
        if self._training and config.training.parts == "shape":
            self._times = self._times[:1]
            if config.data.input_type != "img_seq":  # whose camera holds the whole window
                # As many as the first frame depends on; drawing takes most of the time of such a training.
                self._drawn_frames = 1 + EASING
        self._recent: dict[int, tuple[tuple[int, ...], Floats]] = {}  # row of the batch → its scene

    def __len__(self) -> int:
        return EPOCH if self._training else self._bodies.held_out_windows

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        return self.sample((index,))

    def sample(self, seed: tuple[int, ...]) -> Item:
        """The window that belongs to this seed, with all that is drawn in it."""
        rng = self._generator(seed)
        if self._training:
            vertices = self._training_window(seed)
        else:
            action = list(ACTIONS)[seed[-1] % len(ACTIONS)]
            vertices = self._scenes.draw(rng, self._drawn_frames, action).vertices  # [T, V, 3]
        window = vertices[: self._drawn_frames]
        vertices = _in_unit_box_of_first(vertices[: len(self._times)])
        first = Surface(vertices[0], self._scenes.rig.faces)
        draw_fields = self._training_fields if self._training else self._held_out_fields
        item: Item = {}
        if self._data.input_type is not None:
            images = self._data.input_type == "img_seq"
            inputs = self._draw_images(rng, window) if images else self._draw_inputs(rng, vertices, first)
            item = {"inputs": inputs, "inputs.time": self._times}
        item |= draw_fields(rng, vertices, first)
        item |= {"mesh.vertices": vertices[[0, -1]]} if self._with_meshes else {}
        item = {key: np.asarray(array, dtype=np.float32) for key, array in item.items()}
        item |= {"mesh.faces": first.faces} if self._with_meshes else {}
        return item | {"idx": np.asarray(seed[-1], dtype=np.int64)}

    def _generator(self, seed: tuple[int, ...]) -> np.random.Generator:
        return np.random.default_rng([self._stream, len(seed), *seed])

    def _training_window(self, seed: tuple[int, ...]) -> Floats:
        """Vertices [T or more, V, 3]: for the seed (…, step, row), one of the windows of the row's scene.

        A row keeps its scene for `windows_per_scene` steps, and the rows change theirs at different steps.
        """
        *others, step, row = (0, *seed)
        scene_number, window = divmod(step + row, self._bodies.windows_per_scene)
        scene_seed = (*others, scene_number, row)
        known, vertices = self._recent.get(row, ((), np.empty(0)))
        if known != scene_seed:
            frames = self._drawn_frames + STRIDE * (self._bodies.windows_per_scene - 1)
            rng = self._generator((*scene_seed, SCENE))
            vertices = self._scenes.draw_milder(rng, frames).vertices
            self._recent[row] = scene_seed, vertices
        return vertices[STRIDE * window :]

    def _draw_inputs(self, rng: np.random.Generator, vertices: Floats, first: Surface) -> Floats:
        """Points [T, N, 3] on the surface, noisy; or [2, N, 3] of its first and last frame, which are not."""
        count, faces = self._data.input_pointcloud_n, first.faces
        ends = self._data.input_type == "end_pointclouds"
        if ends:
            vertices = vertices[[0, -1]]
        if self._training and rng.uniform() < self._bodies.partial_view_share:
            faces = faces[_facing(first.normals, rng)]
            first = Surface(vertices[0], faces)
        if self._data.input_pointcloud_corresponding:
            points = first.draw(count, rng).on(vertices)
        else:
            points = np.stack([Surface(frame, faces).draw(count, rng).on(frame) for frame in vertices])
        if ends:
            return points
        if self._training:
            points = points + _scan_noise(rng, points.shape, self._bodies.scan_noise)
        noisy: Floats = points + rng.normal(0, self._data.input_pointcloud_noise, points.shape)
        return noisy

    def _draw_images(self, rng: np.random.Generator, window: Floats) -> Array:
        """Images [T, 3, S, S] of the frames asked for, by a camera that sees the whole window [T, V, 3].

        In training it stands anywhere around the body.
        """
        size, faces = self._data.img_size, self._scenes.rig.faces
        view = View.draw(window, rng, fixed=not self._training)
        images = [Image.fromarray(render(frame, faces, view, size)) for frame in window[: len(self._times)]]
        return as_inputs(images, size, rng if self._training and self._data.img_augment else None)

    def _training_fields(self, rng: np.random.Generator, vertices: Floats, first: Surface) -> Item:
        item: Item = {}
        if "points" in self._fields:
            item |= self._occupancy_fields(rng, "points", vertices, 0, first)
        if "points_t" in self._fields:
            frame = int(rng.integers(self._first_of_any, len(vertices)))
            surface = Surface(vertices[frame], first.faces)
            item |= self._occupancy_fields(rng, "points_t", vertices, frame, surface)
        for key in ("pointcloud", "points_mesh"):
            if key in self._fields:
                particles = first.draw(self._data.n_training_pcl_points, rng)
                item |= {key: particles.on(vertices), f"{key}.time": self._times}
        return item

    def _occupancy_fields(
        self, rng: np.random.Generator, key: str, vertices: Floats, frame: int, surface: Surface
    ) -> Item:
        points = self._draw_occupancy_points(rng, vertices[frame], surface)
        occupied = inside(vertices[frame], surface.faces, points)
        return {key: points, f"{key}.occ": occupied, f"{key}.time": self._times[frame]}

    def _held_out_fields(self, rng: np.random.Generator, vertices: Floats, first: Surface) -> Item:
        count = self._evaluated_points
        # Drawn in any case, so that all models are measured by the same particles.
        points = np.stack([_draw_in_box(rng, frame, count) for frame in vertices])  # [T, P, 3]
        item: Item = {}
        if self._with_occupancy:
            occupied = [inside(frame, first.faces, p) for frame, p in zip(vertices, points, strict=True)]
            item = {"points": points, "points.occ": np.stack(occupied), "points.time": self._times}
        return item | {"points_mesh": first.draw(count, rng).on(vertices), "points_mesh.time": self._times}

    def _draw_occupancy_points(self, rng: np.random.Generator, vertices: Floats, surface: Surface) -> Floats:
        """Points [P, 3] around one frame: a share of them near the surface, the others anywhere in its box.

        A body fills 1 to 2 % of the box, so few of the uniform ones say where the surface is.
        """
        count = self._data.n_training_points
        near = round(count * self._bodies.near_surface_share)
        close = surface.draw(near, rng).on(vertices)
        close += rng.normal(0, self._bodies.near_surface_offset, close.shape)
        return np.concatenate([close, _draw_in_box(rng, vertices, count - near)])


def _in_unit_box_of_first(vertices: Floats) -> Floats:
    """Vertices [T, V, 3] moved and scaled so that the first frame's bounding box has a longest side of 1."""
    low, high = vertices[0].min(axis=0), vertices[0].max(axis=0)
    scaled: Floats = (vertices - (low + high) / 2) / (high - low).max()
    return scaled


def _draw_in_box(rng: np.random.Generator, vertices: Floats, count: int) -> Floats:
    """Points [count, 3], uniform in the padded cube around one frame, as on disk."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    points: Floats = (low + high) / 2 + BOX * (high - low).max() * rng.uniform(-0.5, 0.5, (count, 3))
    return points


def _facing(normals: Floats, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which faces [F] are turned to a viewer who stands anywhere around the body, at eye level or so."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.4)
    flat = np.cos(elevation)
    turned: NDArray[np.bool_] = (
        normals @ [flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)] > 0
    )
    return turned


def _scan_noise(rng: np.random.Generator, shape: tuple[int, ...], largest: float) -> Floats:
    """What a scanner and a tracker add to points [T, N, 3]: jitter in time, and particles that sit wrongly.

    Each window has its own level of both, up to `largest` (standard deviations, in longest sides of the box).
    """
    jitter, misplaced = rng.uniform(0, largest, 2)
    noise: Floats = rng.normal(0, jitter, shape) + rng.normal(0, misplaced, (1, *shape[1:]))
    return noise

"""Pictures of a reconstruction, drawn by numpy and Pillow: they need no display and no graphics driver.

camera = Camera.framing(vertices)                       # one camera for all frames: [T, V, 3]
image = draw_mesh(vertices[0], faces, None, camera, (400, 400))
contact_sheet(points, vertices, faces, title="punching").save("sheet.png")
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from worker.rendering.rasterizer import Floats, doubled_area, rasterise, vertex_normals

Pixels = NDArray[np.uint8]  # [H, W, 3]

PAPER = (250, 250, 248)
INK, FAINT = (38, 42, 48), (128, 134, 142)
CLAY = (214, 196, 178)  # a mesh without colours of its own
NEAR, FAR = (24, 78, 140), (176, 200, 226)  # points
GAMMA = 2.2
SHADOW = 70  # of 255, at its darkest
SUPERSAMPLING = 3
NEAREST = 0.3  # of the distance of the camera from what it looks at: nearer points are not drawn
# Towards the light, in view space (x right, y up, z to the viewer), and its strength.
LIGHTS = (((-0.55, 0.7, 0.6), 0.72), ((0.85, 0.1, 0.4), 0.22))


@dataclass(frozen=True)
class Camera:
    """A perspective three-quarter view; y is up."""

    rotation: Floats  # [3, 3], world → view: x right, y up, z to the viewer
    centre: Floats  # [3], what it looks at
    distance: float
    floor: float  # the lowest y
    aspect: float  # width over height
    focal: float = 4.0  # distance over half the height of what is seen: 28 degrees

    @classmethod
    def framing(
        cls,
        points: ArrayLike,
        azimuth: float = 30.0,
        elevation: float = 10.0,
        aspect: float | None = None,
        centre: ArrayLike | None = None,
    ) -> "Camera":
        """The view that just holds all `points` [..., 3], seen from `azimuth` degrees right of +z.

        `aspect` is width over height; by default the one that fits the points, between 0.5 and 2.
        `centre` [3] is the place to look at; by default the one that lets the camera be nearest.
        """
        flat = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        a, e = np.radians([azimuth, elevation])
        turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
        rise = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
        rotation = rise @ turn
        seen = flat @ rotation.T
        middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
        if centre is not None:
            middle = rotation @ np.asarray(centre, dtype=np.float64)
        if aspect is None:
            extent = np.abs(seen - middle).max(axis=0)
            aspect = float(np.clip(extent[0] / max(extent[1], 1e-9), 0.5, 2.0))
        reach = cls.focal / 0.9  # a twentieth of the height stays free above and below
        # What is near looks larger, so the middle of the box is not the middle of the view.
        for correction in range(6):
            x, y, z = (seen - middle).T
            distance = max((np.abs(y) * reach + z).max(), (np.abs(x) * reach / aspect + z).max(), 1e-6)
            if centre is not None or correction == 5:
                break
            across = np.stack([x, y]) / (distance - z)
            middle[:2] += distance * (across.max(axis=1) + across.min(axis=1)) / 2
        return cls(rotation, middle @ rotation, float(distance), float(flat[:, 1].min()), aspect)

    def project(self, points: Floats, size: tuple[int, int]) -> Floats:
        """Pixel position and distance from the viewer, [M, 3], of points [M, 3]; size is (width, height)."""
        width, height = size
        view = (points - self.centre) @ self.rotation.T
        depth = self.distance - view[:, 2]
        scale = self.focal * min(height, width / self.aspect) / 2 / depth  # all fits, whatever the size
        return np.stack([width / 2 + scale * view[:, 0], height / 2 - scale * view[:, 1], depth], axis=1)


def draw_mesh(
    vertices: Floats,
    faces: NDArray[np.integer],
    colors: NDArray[np.generic] | None,
    camera: Camera,
    size: tuple[int, int],
    supersampling: int = SUPERSAMPLING,
) -> Pixels:
    """A smooth-shaded picture [H, W, 3] of vertices [V, 3] and faces [F, 3], in an image of (width, height).

    `colors` [V, 3] are uint8 or 0..1. Faces are seen from both sides.
    """
    large = (size[0] * supersampling, size[1] * supersampling)
    screen = camera.project(np.asarray(vertices, dtype=np.float64), large)
    covered, face, weights = rasterise(screen, faces, large)  # [P], [P], [P, 3]
    corners = faces[face]  # [P, 3]

    normals = vertex_normals(vertices, faces) @ camera.rotation.T  # [V, 3] in view space
    normal = np.einsum("pkx,pk->px", normals[corners], weights)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    turned_away = doubled_area(screen, faces) > 0  # counter-clockwise outside, but pixels count downwards
    normal[turned_away[face]] *= -1

    if colors is None:
        albedo = np.broadcast_to(_from_srgb(np.array(CLAY, dtype=np.uint8)), (len(face), 3))
    else:
        albedo = np.einsum("pkx,pk->px", _from_srgb(colors)[corners], weights)
    image = _from_srgb(np.asarray(_ground(vertices, camera, size).resize(large))).reshape(-1, 3)
    image[covered] = albedo * _light(normal)[:, None]
    blocks = image.reshape(size[1], supersampling, size[0], supersampling, 3)
    return _to_srgb(blocks.mean(axis=(1, 3)))


def draw_points(points: Floats, camera: Camera, size: tuple[int, int]) -> Pixels:
    """Round dots [H, W, 3], pale and small where points [N, 3] are far; fewer points make larger dots.

    Points behind the camera, or so near that a dot would hide the rest, are left out: those of a room, say.
    """
    points = np.asarray(points, dtype=np.float64)
    points = points[camera.project(points, size)[:, 2] > NEAREST * camera.distance]
    if not len(points):
        return np.full((size[1], size[0], 3), PAPER, np.uint8)
    scale = 4
    image = _ground(points, camera, size).resize((size[0] * scale, size[1] * scale))
    draw = ImageDraw.Draw(image)
    screen = camera.project(points, image.size)
    screen = screen[np.argsort(-screen[:, 2])]  # far to near
    near, far = screen[-1, 2], screen[0, 2]
    closeness = ((far - screen[:, 2]) / max(far - near, 1e-9))[:, None]
    shades = np.round(np.array(FAR) + closeness * (np.array(NEAR) - np.array(FAR))).astype(int).tolist()
    radius = image.size[1] * np.clip(0.16 / np.sqrt(len(points)), 0.002, 0.012)
    rim = 2 if radius > 12 else 0  # a pale rim keeps large dots apart
    radii = radius * camera.distance / screen[:, 2]
    for (x, y, _), r, shade in zip(screen.tolist(), radii.tolist(), shades, strict=True):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(shade), outline=PAPER, width=rim)
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def contact_sheet(
    points: Sequence[Floats],
    vertices: Floats,
    faces: NDArray[np.integer],
    colors: NDArray[np.generic] | None = None,
    *,
    times: ArrayLike | None = None,
    mesh_times: ArrayLike | None = None,
    title: str = "",
    caption: str = "",
    height: int = 420,
) -> Image.Image:
    """Input points (T arrays [N, 3]) above, mesh (vertices [K, V, 3]) below; at first, middle and last frame.

    All panels share one camera. `colors` as in `draw_mesh`. The `times` of the input, in seconds, are written
    under the panels; the mesh shown is the one nearest in time by `mesh_times` (by default spread evenly).
    """
    if not len(points) or not len(vertices):
        raise ValueError(
            f"a contact sheet of {len(points)} input and {len(vertices)} output frames has nothing to show"
        )
    camera = Camera.framing(np.concatenate([np.reshape(a, (-1, 3)) for a in (*points, vertices)]))
    panel = (round(height * camera.aspect), height)
    shown = [0, (len(points) - 1) // 2, len(points) - 1]
    clock = np.linspace(0, 1, len(points)) if times is None else np.asarray(times)
    mesh_clock = (
        np.linspace(clock[0], clock[-1], len(vertices)) if mesh_times is None else np.asarray(mesh_times)
    )

    margin, gap, label = 36, 18, 30
    top = margin + (52 if title else 0)
    left = margin + label
    width = left + 3 * panel[0] + 2 * gap + margin
    lines = textwrap.wrap(caption, (width - 2 * margin) // 7)
    bottom = top + 2 * height + gap + label
    sheet = Image.new("RGB", (width, bottom + margin + 20 * len(lines)), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((margin, margin - 8), title, fill=INK, font=ImageFont.load_default(24))
    for row, text in enumerate(("input points", "mesh")):
        y = top + row * (height + gap)
        _vertical_text(sheet, (margin, y + height // 2), text)
        draw.line((margin + label - 6, y + 8, margin + label - 6, y + height - 8), fill=(222, 224, 226))
    for column, i in enumerate(shown):
        x = left + column * (panel[0] + gap)
        k = int(np.argmin(np.abs(mesh_clock - clock[i])))
        sheet.paste(Image.fromarray(draw_points(points[i], camera, panel)), (x, top))
        sheet.paste(
            Image.fromarray(draw_mesh(vertices[k], faces, colors, camera, panel)), (x, top + height + gap)
        )
        text = f"frame {i + 1} of {len(points)}" + ("" if times is None else f"  ·  {clock[i]:.2f} s")
        centre = (x + panel[0] // 2, top + 2 * height + gap + 10)
        draw.text(centre, text, fill=INK, font=ImageFont.load_default(15), anchor="ma")
    for i, line in enumerate(lines):
        draw.text((margin, bottom + 16 + 20 * i), line, fill=FAINT, font=ImageFont.load_default(14))
    return sheet


def _light(normal: Floats) -> Floats:
    """Brightness [P] of unit normals [P, 3] in view space: sky, a key and a fill light, darker rims."""
    light = 0.26 + 0.1 * normal[:, 1]
    for towards, strength in LIGHTS:
        direction = np.array(towards) / np.linalg.norm(towards)
        light += strength * np.maximum((normal @ direction + 0.2) / 1.2, 0)  # wraps around: a soft lamp
    shaded: Floats = light * (0.75 + 0.25 * np.clip(normal[:, 2], 0, 1))
    return shaded


def _ground(points: Floats, camera: Camera, size: tuple[int, int]) -> Image.Image:
    """Paper with the soft shadow that points [M, 3] near the floor throw straight down."""
    height = np.abs(points[:, 1] - camera.floor)  # of a room, some are below
    foot = np.stack([points[:, 0], np.full(len(points), camera.floor), points[:, 2]], axis=1)
    small = (size[0] // 4, size[1] // 4)
    x, y = np.clip(camera.project(foot, small)[:, :2].astype(int), 0, np.array(small) - 1).T
    reach = 0.15 * camera.distance / camera.focal  # how high a point may be and still darken the floor
    dark = np.bincount(y * small[0] + x, np.exp(-height / reach), minlength=small[0] * small[1])
    spots = Image.fromarray(
        np.round(255 * dark / max(dark.max(), 1e-300)).astype(np.uint8).reshape(small[::-1])
    )
    soft = np.asarray(
        spots.filter(ImageFilter.GaussianBlur((small[1] / 45, small[1] / 90))), dtype=np.float64
    )
    strength = SHADOW * np.exp(-height.min() / reach) * soft / max(soft.max(), 1)
    mask = Image.fromarray(np.round(strength).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", size, INK), Image.new("RGB", size, PAPER), mask)


def _from_srgb(colors: NDArray[np.generic]) -> Floats:
    values = np.asarray(colors)
    if values.dtype == np.uint8:
        table: Floats = np.linspace(0, 1, 256) ** GAMMA
        return table[values]
    return np.clip(values.astype(np.float64), 0, 1) ** GAMMA


def _to_srgb(linear: Floats) -> Pixels:
    return np.round(np.clip(linear, 0, 1) ** (1 / GAMMA) * 255).astype(np.uint8)


def _vertical_text(sheet: Image.Image, middle_left: tuple[int, int], text: str) -> None:
    font = ImageFont.load_default(15)
    left, top, right, bottom = font.getbbox(text)
    tag = Image.new("RGB", (int(right - left) + 4, int(bottom - top) + 6), PAPER)
    ImageDraw.Draw(tag).text((2 - left, 2 - top), text, fill=FAINT, font=font)
    tag = tag.rotate(90, expand=True)
    sheet.paste(tag, (middle_left[0], middle_left[1] - tag.height // 2))

"""Vertex colors that make corresponding parts of a moving surface recognizable."""

import numpy as np
from numpy.typing import NDArray

LIGHTNESS, CHROMA = 0.76, 0.115  # Oklab; bright enough for shading, moderately saturated
SWEEP = np.radians([255.0, 150.0])  # hue across the longest and the second axis
START = np.radians(25.0)


def correspondence_colors(vertices: NDArray[np.floating]) -> NDArray[np.uint8]:
    """sRGB colors [V, 3] from vertex positions [V, 3] at t = 0, to be used in every frame.

    Hue varies along the longest and the second side of the bounding box, so that left and right limbs differ;
    lightness varies along the third. Oklab is perceptually uniform.
    """
    # By position instead of by face index as in the published figures: indices follow the order of marching
    # cubes, so their colors form bands along one axis and are discontinuous after simplification.
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    sides = high - low
    place = (vertices - (low + high) / 2) / max(float(sides.max()), np.finfo(float).tiny)  # [V, 3] in ±0.5
    first, second, third = place[:, np.argsort(-sides, kind="stable")].T
    hue = START + SWEEP[0] * (first + 0.5) + SWEEP[1] * second
    lightness = LIGHTNESS + 0.2 * third
    return _oklab_to_srgb(np.stack([lightness, CHROMA * np.cos(hue), CHROMA * np.sin(hue)], axis=1))


def _oklab_to_srgb(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Oklab [V, 3] → sRGB bytes [V, 3] (matrices of https://bottosson.github.io/posts/oklab/)."""
    cones = lab @ np.array(
        [
            [1, 1, 1],
            [0.3963377774, -0.1055613458, -0.0894841775],
            [0.2158037573, -0.0638541728, -1.2914855480],
        ]
    )
    linear = cones**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    linear = np.clip(linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * srgb), np.uint8)

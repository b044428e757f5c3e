"""The latent space in the plane: neighbours among the codes of shape, and among those of motion.

t-SNE (van der Maaten and Hinton, JMLR 2008) keeps neighbours together; distances between groups mean nothing.
"""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE  # type: ignore[import-untyped]

from worker.data.errors import DataError
from worker.tasks.latent_space import LatentSpace

PERPLEXITY = 50.0  # as published; of few windows less
LEAST = 10  # windows: of fewer, there are no groups to see
LEGEND = 20  # entries, beyond which a legend is longer than the picture


def plot_latent_space(space: LatentSpace, path: Path, seed: int = 0, most: int | None = None) -> None:
    """Draw the means as a PNG: shape coloured by person, motion by what is done, after the names of the
    sequences, <person>_<motion>. Of more than `most` windows, so many are drawn. Raises DataError for fewer
    than ten.
    """
    if len(space.windows) < LEAST:
        raise DataError(f"found {len(space.windows)} windows; t-SNE needs {LEAST} or more")
    rows = np.sort(np.random.default_rng(seed).permutation(len(space.windows))[:most])
    names = [space.windows[row].name.partition("_") for row in rows]
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    shape, motion = figure.subplots(1, 2)
    _scatter(
        shape, _embed(space.codes["loc_z"][rows], seed), [person for person, _, _ in names], "codes of shape"
    )
    doing = [action or person for person, _, action in names]
    _scatter(motion, _embed(space.codes["loc_z_t"][rows], seed), doing, "codes of motion")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _embed(codes: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Codes [K, z_dim] in the plane [K, 2]."""
    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    embedded: NDArray[np.float32] = TSNE(perplexity=perplexity, random_state=seed).fit_transform(codes)
    return embedded


def _scatter(axes: Axes, points: NDArray[np.float32], groups: list[str], title: str) -> None:
    known, group = np.unique(groups, return_inverse=True)
    if len(known) <= LEGEND:
        colors = colormaps["tab10" if len(known) <= 10 else "tab20"](np.arange(len(known)))
    else:
        colors = colormaps["turbo"](np.linspace(0, 1, len(known)))
    for color, (number, name) in zip(colors, enumerate(known), strict=True):
        x, y = points[group == number].T
        axes.scatter(x, y, s=7, color=color, label=name.replace("_", " "))
    axes.set(title=title, xticks=[], yticks=[])
    if 1 < len(known) <= LEGEND:
        axes.legend(
            loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small", markerscale=2, frameon=False
        )

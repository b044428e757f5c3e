"""A draft of a thing that moves: less work, and still the thing."""

import numpy as np

from model import Reconstructor
from model.config.schema import load_config
from model.reconstruction.settings import Settings
from model.reconstruction.surface import GridLevels
from tests.model.registration.solids import bend, draw, solid


def test_a_draft_has_fewer_vertices_and_still_fits() -> None:
    vertices, faces = solid()
    rng = np.random.default_rng(0)
    clouds = [draw(bend(vertices, phase), faces, 1500, rng) for phase in np.linspace(0, 1, 4)]
    model = Reconstructor.from_config("local_oflow")
    draft, balanced = (model(clouds, corresponding=False, quality=q) for q in ("draft", "balanced"))
    assert draft.vertices.shape[1] < 0.7 * balanced.vertices.shape[1]
    assert draft.fit is not None
    assert draft.fit.mean.max() < 0.005  # of a thing about one long


def test_a_wanted_resolution_is_kept_in_a_draft() -> None:
    config = load_config("local_oflow")
    given = Settings.of(config, "cpu", "draft", 96, None, None)
    assert given.template_grid(80) == given.grid == GridLevels.from_resolution(96)
    own = GridLevels.from_config(config)
    usual = Settings.of(config, "cpu", "draft", None, None, None).template_grid()
    assert usual == GridLevels(24, 1)
    assert usual.resolution < own.resolution
    assert Settings.of(config, "cpu", "balanced", None, None, None).template_grid() == own


def test_few_points_get_a_coarser_grid_but_no_finer_one_than_usual() -> None:
    config = load_config("local_oflow")
    balanced, draft = (Settings.of(config, "cpu", q, None, None, None) for q in ("balanced", "draft"))
    assert balanced.template_grid(80) == GridLevels(40, 1)
    assert draft.template_grid(80) == draft.template_grid() == GridLevels(24, 1)

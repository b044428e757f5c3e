"""A picture of generated data: people down, what they do across."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worker.bodies import ACTIONS
from worker.bodies.rig import Floats
from worker.data.body_sequences import BodySequence
from worker.rendering.pictures import FAINT, INK, PAPER, Camera, draw_mesh

PANEL = 150  # pixels high
LEFT, TOP = 70, 44


def draw_sheet(sequences: Sequence[BodySequence], people: int = 8) -> Image.Image:
    """The middle frame of each sequence of the first and the last `people` / 2 people, all at one scale."""
    numbers = sorted({sequence.person for sequence in sequences})
    if len(numbers) > people:
        numbers = numbers[: people // 2] + numbers[len(numbers) - (people - people // 2) :]
    shown = [sequence for sequence in sequences if sequence.person in numbers]
    actions = [action for action in ACTIONS if any(sequence.action == action for sequence in shown)]
    middles = {(s.person, s.action): _on_the_spot(s.vertices(s.frames // 2)) for s in shown}

    camera = Camera.framing(np.stack(list(middles.values())), azimuth=20, elevation=6, aspect=0.8)
    panel = (round(PANEL * camera.aspect), PANEL)
    sheet = Image.new("RGB", (LEFT + panel[0] * len(actions), TOP + PANEL * len(numbers)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, action in enumerate(actions):
        middle = LEFT + panel[0] * column + panel[0] // 2
        draw.text(
            (middle, TOP // 2),
            "\n".join(action.replace("_", " ").rsplit(" ", 1)),
            INK,
            font,
            anchor="mm",
            align="center",
        )
    for row, person in enumerate(numbers):
        of_person = [sequence for sequence in shown if sequence.person == person]
        label = of_person[0].name.partition("_")[0] + ("\nheld out" if of_person[0].held_out else "")
        draw.text((LEFT // 2, TOP + PANEL * row + PANEL // 2), label, FAINT, font, anchor="mm")
        for sequence in of_person:
            vertices = middles[person, sequence.action]
            picture = draw_mesh(vertices, sequence.faces, None, camera, panel)
            place = (LEFT + panel[0] * actions.index(sequence.action), TOP + PANEL * row)
            sheet.paste(Image.fromarray(picture), place)
    return sheet


def _on_the_spot(vertices: Floats) -> Floats:
    """Vertices [V, 3] with the body's middle over the origin."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    moved: Floats = vertices - (low + high) / 2 * [1, 0, 1]
    return moved

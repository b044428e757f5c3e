"""A contact sheet of moving meshes: one a row, time across."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.frames import even_frames
from model.meshes.sequence import MeshSequence
from worker.rendering.pictures import FAINT, INK, PAPER, Camera, draw_mesh

PANEL = 200  # pixels high
LEFT, TOP = 96, 34
COLUMNS, ROWS = 6, 12  # at most; shown are evenly spaced ones


def draw_rows(rows: Sequence[MeshSequence], labels: Sequence[str]) -> Image.Image:
    """Frames of each sequence, all at one scale, the labels at the left."""
    chosen = even_frames(len(rows), ROWS)
    rows, labels = [rows[i] for i in chosen], [labels[i] for i in chosen]
    frames = even_frames(min(len(row.times) for row in rows), COLUMNS)
    camera = Camera.framing(np.concatenate([row.vertices[frames].reshape(-1, 3) for row in rows]))
    panel = (round(PANEL * camera.aspect), PANEL)
    sheet = Image.new("RGB", (LEFT + panel[0] * len(frames), TOP + PANEL * len(rows)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, frame in enumerate(frames):
        middle = LEFT + panel[0] * column + panel[0] // 2
        draw.text((middle, TOP // 2), f"t = {rows[0].times[frame]:.2f}", INK, font, anchor="mm")
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        place = (LEFT // 2, TOP + PANEL * number + PANEL // 2)
        draw.text(place, label, FAINT, font, anchor="mm", align="center")
        for column, frame in enumerate(frames):
            picture = draw_mesh(row.vertices[frame], row.faces, row.colors, camera, panel)
            sheet.paste(Image.fromarray(picture), (LEFT + panel[0] * column, TOP + PANEL * number))
    return sheet

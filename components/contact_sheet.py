"""A contact sheet: some samples of a data set side by side, with their labels and boundaries drawn in."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from inverseform.overlay import Colour, paint

WIDTH = 320
"""Of a picture on the sheet, in pixels."""
COLUMNS = 3
"""Samples side by side."""
_STRENGTH = 0.6
"""Of the classes' colours over the photograph."""
_GAP = 8
_TEXT = 16
"""Height of a line."""
_LINE = (255, 255, 255)
"""Colour of boundaries: no class of a common palette is white."""


class Cell(NamedTuple):
    """A sample on the sheet."""

    title: str
    image: UInt8[np.ndarray, "height width 3"]
    labels: UInt8[np.ndarray, "height width"]
    boundary: Bool[np.ndarray, "height width"]


def contact_sheet(cells: Sequence[Cell], classes: Sequence[str], colours: Sequence[Colour]) -> Image.Image:
    """Each sample as its photograph and, beside it, with the colours of its labels and white boundaries; a legend.

    Ignored pixels are hatched in grey.
    """
    pictures = [(cell.title, _pair(cell, colours)) for cell in cells]
    rows = [pictures[first : first + COLUMNS] for first in range(0, len(pictures), COLUMNS)]
    wide = 2 * WIDTH + 2 * _GAP
    width = COLUMNS * wide + _GAP
    heights = [max(picture.height for _, picture in row) + _TEXT + _GAP for row in rows]
    legend = _legend(classes, colours, width)
    sheet = Image.new("RGB", (width, sum(heights) + legend.height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, (title, picture) in enumerate(row):
            left = _GAP + column * wide
            draw.text((left, top), _shortened(title, picture.width), fill="black", font=_font())
            sheet.paste(picture, (left, top + _TEXT))
        top += height
    sheet.paste(legend, (0, top))
    return sheet


def _pair(cell: Cell, colours: Sequence[Colour]) -> Image.Image:
    """The photograph, and the same with its labels and boundaries."""
    height, width = cell.labels.shape
    size = (WIDTH, max(1, round(height * WIDTH / width)))
    photo = np.asarray(Image.fromarray(cell.image).resize(size, Image.Resampling.BOX))
    # Ids must not blend, and hatching is drawn at the size at which it is seen.
    labels = np.asarray(Image.fromarray(cell.labels).resize(size, Image.Resampling.NEAREST))
    painted = paint(torch.from_numpy(labels.copy()), colours=colours)
    mixed = (photo * (1 - _STRENGTH) + painted * _STRENGTH).astype(np.uint8)
    # A line of two pixels would be lost in a picture six times smaller: any share of it counts.
    lines = Image.fromarray(cell.boundary.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    mixed[np.asarray(lines) > _faintest(width)] = _LINE
    gap = np.full((size[1], _GAP // 2, 3), 255, dtype=np.uint8)
    return Image.fromarray(np.concatenate([photo, gap, mixed], axis=1))


def _faintest(width: int) -> float:
    """The grey from which a shrunk boundary is drawn: half of what a line of two pixels leaves."""
    return 255 * min(0.5, 0.5 * 2 * WIDTH / width)


def _legend(classes: Sequence[str], colours: Sequence[Colour], width: int) -> Image.Image:
    """A patch of colour and a name for each class, and one for void."""
    names = [f"{number} {name}" for number, name in enumerate(classes)]
    font = _font()
    step = min(width // 2, max(int(font.getlength(name)) for name in [*names, "void"]) + 3 * _TEXT)
    across = max(1, (width - _GAP) // step)
    lines = -(-(len(names) + 1) // across)
    legend = Image.new("RGB", (width, lines * (_TEXT + 4) + _GAP), "white")
    draw = ImageDraw.Draw(legend)
    void = paint(torch.full((_TEXT - 4, 2 * _TEXT - 8), 255, dtype=torch.uint8), colours=colours)
    for number, name in enumerate([*names, "void"]):
        left, top = _GAP + number % across * step, number // across * (_TEXT + 4)
        patch = Image.new("RGB", (void.shape[1], void.shape[0]), colours[number]) if number < len(names) else void
        legend.paste(patch if isinstance(patch, Image.Image) else Image.fromarray(patch), (left, top))
        draw.text((left + 2 * _TEXT, top - 2), _shortened(name, step - 2 * _TEXT), fill="black", font=font)
    return legend


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(12)


def _shortened(text: str, width: int) -> str:
    """Without its middle, if it is wider than that; the end of a name tells files apart."""
    font = _font()
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 2 and font.getlength(f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}") > width:
        kept -= 1
    return f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"

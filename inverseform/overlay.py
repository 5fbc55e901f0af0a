"""Pictures of a prediction: the image, its true classes, those predicted, and where the two differ."""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from inverseform.metrics.boundary import disc, near_boundary
from inverseform.sample import IGNORE_INDEX, Sample

BAND = 3
"""Pixels from a true boundary within which the error panel shows right and wrong."""
RIGHT = (88, 141, 196)
"""Colour of a pixel beside a boundary that is right; these three stay apart for colour-blind readers and in print."""
WRONG = (204, 51, 17)
"""Colour of a pixel beside a boundary that is wrong."""
WRONG_INSIDE = (240, 178, 60)
"""Colour of a wrong pixel farther from any boundary."""

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


class Panels(NamedTuple):
    """Four pictures of one sample, of one size."""

    image: UInt8[np.ndarray, "height width 3"]
    truth: UInt8[np.ndarray, "height width 3"]
    prediction: UInt8[np.ndarray, "height width 3"]
    error: UInt8[np.ndarray, "height width 3"]


class Drawn(NamedTuple):
    """A sample as the report shows it."""

    name: str
    mba: float | None
    """Its mean boundary accuracy, or None if it has no boundary."""
    accuracy: float | None
    """Share of its known pixels that are right, or None if there are none."""
    panels: Panels


def panels(
    image: UInt8[Tensor, "3 height width"],
    labels: UInt8[Tensor, "height width"],
    predicted: UInt8[Tensor, "height width"],
    *,
    colours: Sequence[Colour],
    longest: int = 640,
) -> Panels:
    """Draw a sample, made smaller if its longer side is over `longest` pixels."""
    pixels = image.permute(1, 2, 0).numpy()
    size = _size(*labels.shape, longest=longest)
    # Ids must not blend: the mean of two classes' colours may be a third's.
    smooth, hard = Image.Resampling.BOX, Image.Resampling.NEAREST
    return Panels(
        image=_resize(pixels, size, smooth),
        truth=_resize(paint(labels, colours=colours), size, hard),
        prediction=_resize(paint(predicted, colours=colours), size, hard),
        error=_resize(error(image, labels, predicted), size, smooth),
    )


def paint(labels: UInt8[Tensor, "height width"], *, colours: Sequence[Colour]) -> UInt8[np.ndarray, "height width 3"]:
    """Labels in the colours of their classes; ignored pixels are hatched in grey, which no class can be."""
    # Room for every id: one past the classes is drawn in black and not an error of this room.
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(colours)] = np.array(colours, dtype=np.uint8).reshape(-1, 3)
    return _hatch(table[labels.numpy()], labels)


def error(
    image: UInt8[Tensor, "3 height width"],
    labels: UInt8[Tensor, "height width"],
    predicted: UInt8[Tensor, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """The image in pale grey; on it what is right and wrong within BAND pixels of a boundary, and wrong elsewhere."""
    # 150 to 252: light enough for the three colours to stand out, dark enough to find one's way.
    grey = image.float().mean(0).mul(0.4).add(150).byte()
    picture = grey[..., None].repeat(1, 1, 3)
    [band] = near_boundary(labels, windows=[disc(BAND)])
    wrong = predicted != labels
    # The later colour wins, so the order is from the general to the particular.
    for region, colour in ((wrong, WRONG_INSIDE), (band, RIGHT), (band & wrong, WRONG)):
        picture[region] = torch.tensor(colour, dtype=torch.uint8)
    return _hatch(picture.numpy(), labels)


def worst(scores: Sequence[float | None], names: Sequence[str], *, most: int) -> list[int]:
    """Which samples have the least scores, the worst first; those without a score come last.

    >>> worst([0.5, None, 0.25], ["a", "b", "c"], most=2)
    [2, 0]
    """
    order = sorted(range(len(scores)), key=lambda index: (_last(scores[index]), names[index]))
    return order[:most]


def middle(scores: Sequence[float | None], names: Sequence[str], *, most: int, beside: Sequence[int]) -> list[int]:
    """Which samples are the nearest to the median score, the worse first; not those in `beside`.

    >>> middle([0.1, 0.2, 0.3, 0.4, 0.5], "abcde", most=1, beside=[0])
    [2]
    """
    order = sorted(
        (index for index, score in enumerate(scores) if score is not None),
        key=lambda index: (_last(scores[index]), names[index]),
    )
    rank = {index: place for place, index in enumerate(order) if index not in beside}
    nearest = sorted(rank, key=lambda index: (abs(2 * rank[index] - len(order) + 1), rank[index]))[:most]
    return sorted(nearest, key=lambda index: rank[index])


def draw(
    sample: Sample, predicted: UInt8[Tensor, "height width"], *, mba: float | None, colours: Sequence[Colour]
) -> Drawn:
    """A sample as the report shows it."""
    known = int((sample.labels != IGNORE_INDEX).sum())
    accuracy = int((predicted == sample.labels).sum()) / known if known else None
    return Drawn(sample.name, mba, accuracy, panels(sample.image, sample.labels, predicted, colours=colours))


def strip(panels: Panels) -> Image.Image:
    """The four side by side, a white gap between them."""
    gap = np.full((len(panels.image), 6, 3), 255, dtype=np.uint8)
    parts = [part for panel in panels for part in (panel, gap)]
    return Image.fromarray(np.concatenate(parts[:-1], axis=1))


def png(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """A picture of few colours, exactly."""
    return _encoded(Image.fromarray(picture), format="PNG", optimize=True)


def jpeg(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """A photograph, nearly."""
    return _encoded(Image.fromarray(picture), format="JPEG", quality=85, optimize=True)


def _encoded(picture: Image.Image, **options: str | int | bool) -> bytes:
    file = io.BytesIO()
    picture.save(file, **options)  # pyright: ignore[reportArgumentType] (each format has options of its own)
    return file.getvalue()


def _last(score: float | None) -> float:
    return math.inf if score is None else score


def _size(height: int, width: int, *, longest: int) -> tuple[int, int]:
    """Width and height after shrinking, as Pillow orders them."""
    share = min(1.0, longest / max(height, width))
    return max(1, round(width * share)), max(1, round(height * share))


def _resize(
    picture: UInt8[np.ndarray, "height width 3"], size: tuple[int, int], method: Image.Resampling
) -> UInt8[np.ndarray, "rows columns 3"]:
    return np.asarray(Image.fromarray(picture).resize(size, method))


def _hatch(
    picture: UInt8[np.ndarray, "height width 3"], labels: UInt8[Tensor, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw diagonal stripes over the ignored pixels."""
    rows, columns = np.indices(labels.shape, sparse=True)
    # Four pixels wide: narrower stripes become plain grey when a picture is made smaller.
    stripes = np.where((rows + columns) // 4 % 2, 205, 235).astype(np.uint8)
    return np.where((labels.numpy() == IGNORE_INDEX)[..., None], stripes[..., None], picture)

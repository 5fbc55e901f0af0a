"""One draw applied to an image and its labels alike.

The boundary has no part in it: it is made anew from the labels that come out, so that it is never resampled.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from pydantic import Field, PositiveInt
from torch import Tensor

from inverseform.sample import IGNORE_INDEX, Sample
from inverseform.settings import ScaleRange, Settings


class AugmentParams(Settings):
    """What training samples go through: scale, brightness, crop, flip, in this order."""

    scale: ScaleRange
    """Smallest and largest factor by which a sample is resized."""
    crop: tuple[PositiveInt, PositiveInt]
    """Height and width of what is cut out at random, in pixels; smaller samples are padded with ignored pixels."""
    flip: bool
    """Mirror left and right, half of the time."""
    brightness: float = Field(ge=0, lt=1)
    """Largest relative change of brightness, and of contrast."""


class Focus(NamedTuple):
    """What a window is to show."""

    klass: int
    """A pixel of this class,"""
    place: float
    """and which of them, in the order of their rows: 0 to below 1."""


def augment(
    sample: Sample, params: AugmentParams, *, generator: torch.Generator, focus: Focus | None = None
) -> tuple[UInt8[Tensor, "3 rows columns"], UInt8[Tensor, "rows columns"]]:
    """Image and labels of a sample at the size of the crop.

    Args:
        sample: Any.
        params: What it goes through.
        generator: Six numbers are drawn from it, with a focus too.
        focus: What the window shows, at a random place in it; where resizing left no pixel of the class, and without a
            focus, the window may lie anywhere.
    """
    # All are drawn at once, also those that are not used: one setting does not shift the draws of another.
    unit = torch.rand(6, generator=generator).tolist()
    low, high = params.scale
    image, labels = _resize(sample.image, sample.labels, low + (high - low) * unit[0])
    # Light before the crop: what is padded stays black, and a mean over the whole image does not jump with the window.
    image = _light(image, *(1 + params.brightness * (2 * u - 1) for u in unit[4:]))
    pixel = None if focus is None else _pixel(labels, focus)
    image, labels = _crop(image, labels, params.crop, unit[1], unit[2], pixel)
    if params.flip and unit[3] < 0.5:
        image, labels = image.flip(-1), labels.flip(-1)
    return image, labels


def _resize(
    image: UInt8[Tensor, "3 height width"], labels: UInt8[Tensor, "height width"], factor: float
) -> tuple[UInt8[Tensor, "3 rows columns"], UInt8[Tensor, "rows columns"]]:
    size = [max(1, round(side * factor)) for side in labels.shape]
    if size == list(labels.shape):
        return image, labels
    resized = F.interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    # nearest-exact samples at pixel centres, as the image does; plain nearest would move labels by half a pixel.
    nearest = F.interpolate(labels[None, None].float(), size=size, mode="nearest-exact")
    return resized[0].round().to(torch.uint8), nearest[0, 0].to(torch.uint8)


def _pixel(labels: UInt8[Tensor, "height width"], focus: Focus) -> tuple[int, int] | None:
    """Row and column of the pixel that a focus names, if there is one."""
    found = (labels.flatten() == focus.klass).nonzero()
    if not len(found):
        return None
    row, column = divmod(int(found[int(focus.place * len(found))]), labels.shape[1])
    return row, column


def _crop(
    image: UInt8[Tensor, "3 height width"],
    labels: UInt8[Tensor, "height width"],
    size: tuple[int, int],
    down: float,
    right: float,
    pixel: tuple[int, int] | None,
) -> tuple[UInt8[Tensor, "3 rows columns"], UInt8[Tensor, "rows columns"]]:
    """A window of the given size at a relative place; what is beyond the sample is black and ignored.

    Of all windows, or of those that have a pixel in them.
    """
    height, width = labels.shape
    padding = (0, max(0, size[1] - width), 0, max(0, size[0] - height))
    image, labels = F.pad(image, padding), F.pad(labels, padding, value=IGNORE_INDEX)
    start = []
    for axis, place in enumerate((down, right)):
        last = labels.shape[axis] - size[axis]
        first = 0 if pixel is None else max(0, pixel[axis] - size[axis] + 1)
        last = last if pixel is None else min(last, pixel[axis])
        start.append(first + int(place * (last - first + 1)))
    window = (slice(start[0], start[0] + size[0]), slice(start[1], start[1] + size[1]))
    return image[:, *window], labels[window]


def _light(
    image: UInt8[Tensor, "3 height width"], brightness: float, contrast: float
) -> UInt8[Tensor, "3 height width"]:
    """Contrast about the mean, then brightness."""
    values: Float[Tensor, "3 height width"] = image.float()
    middle = values.mean()
    return (((values - middle) * contrast + middle) * brightness).clamp(0, 255).round().to(torch.uint8)

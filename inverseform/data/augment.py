"""One draw applied to an image and its labels alike.

The boundary has no part in it: it is made anew from the labels that come out, so that it is never resampled.
"""

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


def augment(
    sample: Sample, params: AugmentParams, *, generator: torch.Generator
) -> tuple[UInt8[Tensor, "3 rows columns"], UInt8[Tensor, "rows columns"]]:
    """Image and labels of a sample at the size of the crop."""
    # All are drawn at once, also those that are not used: one setting does not shift the draws of another.
    unit = torch.rand(6, generator=generator).tolist()
    low, high = params.scale
    image, labels = _resize(sample.image, sample.labels, low + (high - low) * unit[0])
    # Light before the crop: what is padded stays black, and a mean over the whole image does not jump with the window.
    image = _light(image, *(1 + params.brightness * (2 * u - 1) for u in unit[4:]))
    image, labels = _crop(image, labels, params.crop, unit[1], unit[2])
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


def _crop(
    image: UInt8[Tensor, "3 height width"],
    labels: UInt8[Tensor, "height width"],
    size: tuple[int, int],
    down: float,
    right: float,
) -> tuple[UInt8[Tensor, "3 rows columns"], UInt8[Tensor, "rows columns"]]:
    """A window of the given size at a relative place; what is beyond the sample is black and ignored."""
    height, width = labels.shape
    padding = (0, max(0, size[1] - width), 0, max(0, size[0] - height))
    image, labels = F.pad(image, padding), F.pad(labels, padding, value=IGNORE_INDEX)
    top = int(down * (labels.shape[0] - size[0] + 1))
    left = int(right * (labels.shape[1] - size[1] + 1))
    window = (slice(top, top + size[0]), slice(left, left + size[1]))
    return image[:, *window], labels[window]


def _light(
    image: UInt8[Tensor, "3 height width"], brightness: float, contrast: float
) -> UInt8[Tensor, "3 height width"]:
    """Contrast about the mean, then brightness."""
    values: Float[Tensor, "3 height width"] = image.float()
    middle = values.mean()
    return (((values - middle) * contrast + middle) * brightness).clamp(0, 255).round().to(torch.uint8)

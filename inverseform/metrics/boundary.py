"""Scores beside the boundaries: mean boundary accuracy (mBA) and accuracy within so many pixels.

mBA is that of CascadePSP (Cheng et al. 2020, sec. 4.1) for several classes: for each of five radii, the share of
the pixels near a true boundary that have the right class; the mean over the radii, then over the images.

A pixel is near a boundary if the window around it holds two or more known classes. That is the union over the
classes of dilation minus erosion, taken all at once: the window's largest id is not its smallest. The window is cut
at the frame of the image, which therefore is no boundary.

Where this is not CascadePSP's program: there, a border between a known class and "void" is a boundary of the known
class; here ignored pixels have no class, make no boundary, and are never counted. There, an image without a boundary
makes the mean NaN; here it is left out and counted apart. Radii are at least 1, where an image under 300 pixels
(height and width together) would give 0 there.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from torch import Tensor

from inverseform.metrics.score import check_alike
from inverseform.sample import IGNORE_INDEX

DISTANCES = (1, 2, 3, 5)
"""Pixels from a boundary within which the accuracy is reported."""

STRIP = 256
"""Rows that are counted at a time on a CPU."""

Window = tuple[int, ...]
"""Half-widths of a window's rows: of the middle row first, then of those 1, 2, ... above and below it. They never
grow; a row of half-width w holds 2 w + 1 pixels."""


class BoundaryScores(NamedTuple):
    """What was counted beside the boundaries of a set."""

    mba: float | None
    """Mean boundary accuracy over the images that have a boundary."""
    within: tuple[float | None, ...]
    """Share of right pixels within each of DISTANCES of a boundary, pooled over the set."""
    images: int
    """Images that have a boundary."""
    undefined: int
    """Images that have none, and no part in any score."""


def radii(height: int, width: int) -> tuple[int, ...]:
    """The five radii of an image: 1 + int(((w + h) / 300 - 1) / 5 * i).

    >>> radii(1024, 2048)
    (1, 2, 4, 6, 8)
    """
    return tuple(max(1, 1 + int(((height + width) / 300 - 1) / 5 * step)) for step in range(5))


def ellipse(radius: int) -> Window:
    """The elliptic kernel of 2 radius + 1 pixels across, pixel for pixel as OpenCV draws it.

    >>> ellipse(2)
    (2, 2, 0)
    """
    return tuple(round(math.sqrt(radius**2 - row**2)) for row in range(radius + 1))


def disc(radius: int) -> Window:
    """All pixels whose centre is at most a radius away.

    >>> disc(2)
    (2, 1, 0)
    """
    return tuple(math.isqrt(radius**2 - row**2) for row in range(radius + 1))


def near_boundary(
    labels: UInt8[Tensor, "height width"], *, windows: Sequence[Window]
) -> list[Bool[Tensor, "height width"]]:
    """For each window, the pixels around which it holds two or more known classes."""
    spans = _space(labels, windows, rows=len(labels))
    return [region.clone() for region in _regions(labels, windows, spans, first=0, rows=len(labels))]


def count(
    predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"], *, windows: Sequence[Window]
) -> Int64[Tensor, "windows 2"]:
    """For each window, the known pixels near a boundary: those with the right class, and all."""
    check_alike(predicted=predicted.shape, labels=labels.shape)
    # On small images several radii are 1, and the smallest ellipse is the smallest disc: each window is done once.
    different = list(dict.fromkeys(windows))
    # A byte has a bit for each of eight windows.
    groups = [different[first : first + 8] for first in range(0, len(different), 8)]
    found = torch.cat([_count(predicted, labels, group) for group in groups])
    return found[[different.index(window) for window in windows]]


def mask_accuracy(
    predicted: Bool[Tensor, "height width"],
    mask: Bool[Tensor, "height width"],
    *,
    known: Bool[Tensor, "height width"] | None = None,
) -> float | None:
    """The mBA of a foreground mask, as CascadePSP has it; None where the mask has no boundary.

    Masks are images of two classes: for a whole set hand `foreground(mask)` to `BoundaryAccuracy`.

    Args:
        predicted: True where the foreground is thought to be.
        mask: True where it is.
        known: False where that is not known; None: known everywhere.
    """
    return BoundaryAccuracy().update(predicted.byte(), foreground(mask, known=known))


def foreground(
    mask: Bool[Tensor, "height width"], *, known: Bool[Tensor, "height width"] | None = None
) -> UInt8[Tensor, "height width"]:
    """A mask as labels: 1 in it, 0 around it, IGNORE_INDEX where it is not known."""
    return mask.byte() if known is None else mask.byte().where(known, IGNORE_INDEX)


def mean_accuracy(counts: Int64[Tensor, "windows 2"]) -> float | None:
    """Mean over the windows of the share of right pixels: the mBA of one image, or None if no window holds a pixel."""
    # Where only ignored pixels part two classes, a small window may see one of them and a large one both.
    shares = [right / whole for right, whole in counts.tolist() if whole]
    return sum(shares) / len(shares) if shares else None


class BoundaryAccuracy:
    """The scores of a whole set, image by image."""

    def __init__(self) -> None:
        self.images: Float64[Tensor, " 3"] = torch.zeros(3, dtype=torch.float64)
        """Sum of the images' mBA, images with a boundary, images without; adds across processes."""
        self.within: Int64[Tensor, "distances 2"] = torch.zeros(len(DISTANCES), 2, dtype=torch.int64)
        """Right pixels and all pixels within each of DISTANCES; adds across processes."""

    def update(self, predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"]) -> float | None:
        """Add an image; gives its mBA, or None if it has no boundary."""
        ellipses = [ellipse(radius) for radius in radii(*labels.shape)]
        counts = count(predicted, labels, windows=[*ellipses, *map(disc, DISTANCES)]).cpu()
        score = mean_accuracy(counts[: len(ellipses)])
        defined = score is not None
        self.images += torch.tensor([score or 0.0, defined, not defined], dtype=torch.float64)
        self.within += counts[len(ellipses) :]
        return score

    def scores(self) -> BoundaryScores:
        """Scores of all that was added."""
        total, images, undefined = self.images.tolist()
        return BoundaryScores(
            mba=total / images if images else None,
            within=tuple(right / whole if whole else None for right, whole in self.within.tolist()),
            images=int(images),
            undefined=int(undefined),
        )


def _count(
    predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"], windows: Sequence[Window]
) -> Int64[Tensor, "windows 2"]:
    """At most eight windows: each pixel is a number with a bit for each, and numbers are counted in one pass."""
    height, width = labels.shape
    # Strips of an image fit the cache of a CPU, and the memory of one is used for the next.
    step = height if labels.is_cuda else min(height, STRIP)
    spans = _space(labels, windows, rows=step)
    numbers = labels.new_empty(step, width, dtype=torch.int16)
    table = torch.zeros(512, dtype=torch.int64, device=labels.device)
    for first in range(0, height, step):
        here = slice(first, first + step)
        rows = len(labels[here])
        code = torch.zeros_like(labels[here])
        for bit, region in enumerate(_regions(labels, windows, spans, first=first, rows=rows)):
            code.add_(region.view(torch.uint8), alpha=1 << bit)
        # What is not known is near nothing: without this a prediction of 255 would be right there.
        code.mul_((labels[here] != IGNORE_INDEX).view(torch.uint8))
        number = numbers[:rows].copy_(predicted[here] == labels[here]).mul_(256).add_(code)
        table += torch.bincount(number.flatten(), minlength=512)
    bits = (torch.arange(256, device=table.device) >> torch.arange(len(windows), device=table.device)[:, None]) & 1
    wrong, right = table.view(2, 256)
    return torch.stack([(bits * right).sum(dim=1), (bits * (right + wrong)).sum(dim=1)], dim=1)


def _space(
    labels: UInt8[Tensor, "height width"], windows: Sequence[Window], *, rows: int
) -> UInt8[Tensor, "spans 2 padded_rows padded_columns"]:
    """Memory for the spans of a strip of so many rows; what is in it has no meaning."""
    reach = max(len(window) for window in windows) - 1
    return labels.new_empty(reach + 1, 2, rows + 2 * reach, labels.shape[1] + 2 * reach)


def _regions(
    labels: UInt8[Tensor, "height width"],
    windows: Sequence[Window],
    spans: UInt8[Tensor, "spans 2 _ _"],
    *,
    first: int,
    rows: int,
) -> Iterator[Bool[Tensor, "{rows} width"]]:
    """`near_boundary` for a strip of rows; all regions are in the same memory, which the next one overwrites."""
    width, reach = labels.shape[1], len(spans) - 1
    spans = spans[:, :, : rows + 2 * reach]
    _fill(spans, labels, first=first)
    extremes = labels.new_empty(2, rows, width)
    region = torch.empty_like(extremes[0], dtype=torch.bool)
    for window in windows:
        columns = [spans[half][..., reach - half :][..., :width] for half in window]
        extremes.copy_(columns[0][:, reach : reach + rows])
        for row, column in enumerate(columns[1:], start=1):
            torch.maximum(extremes, column[:, reach - row :][:, :rows], out=extremes)
            torch.maximum(extremes, column[:, reach + row :][:, :rows], out=extremes)
        # These are max + 1 and 255 - min: the second's negative is min + 1 in 8 bits, and 0 where no class is known.
        yield torch.gt(extremes[0], extremes[1].neg_(), out=region)


def _fill(spans: UInt8[Tensor, "spans 2 _ _"], labels: UInt8[Tensor, "height width"], *, first: int) -> None:
    """The largest number over 1, 3, 5, ... pixels of a row; each span is 2 columns narrower than the last.

    One pass gives the largest id and, as the largest of 255 - id, the smallest: 0 is neutral for both, and so stands
    for pixels outside the image. With 1 added to the id, which takes 255 to 0, it stands for ignored ones as well.
    """
    height, width = labels.shape
    reach = len(spans) - 1
    single = spans[0].zero_()
    top, bottom = max(0, first - reach), min(height, first - reach + single.shape[1])
    inside = single[:, top - first + reach : bottom - first + reach, reach : reach + width]
    torch.add(labels[top:bottom], 1, out=inside[0])
    torch.bitwise_not(labels[top:bottom], out=inside[1])
    for half in range(1, reach + 1):
        columns = width + 2 * (reach - half)
        wider = spans[half][..., :columns]
        torch.maximum(spans[half - 1][..., :columns], spans[half - 1][..., 2 : columns + 2], out=wider)
        # Two spans of the last width overlap or touch but for the first, whose middle pixel is left to be added.
        if half == 1:
            torch.maximum(wider, single[..., 1:-1], out=wider)

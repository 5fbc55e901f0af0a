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
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from torch import Tensor

from inverseform.sample import IGNORE_INDEX

DISTANCES = (1, 2, 3, 5)
"""Pixels from a boundary within which the accuracy is reported."""

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
    height, width = labels.shape
    reach = max(len(window) for window in windows) - 1
    # One pass gives the largest and, as the largest of 254 - id, the smallest id; 0 is neutral for both, and so
    # stands for ignored pixels and for those outside the image.
    known = labels != IGNORE_INDEX
    ids = torch.stack([labels * known, (IGNORE_INDEX - 1 - labels) * known])
    spans = _spans(torch.nn.functional.pad(ids, (reach, reach, reach, reach)), reach)
    regions = []
    for window in windows:
        top = spans[window[0]][:, reach : reach + height, reach - window[0] :][..., :width].clone()
        for row, half in enumerate(window[1:], start=1):
            columns = spans[half][..., reach - half :][..., :width]
            torch.maximum(top, columns[:, reach - row :][:, :height], out=top)
            torch.maximum(top, columns[:, reach + row :][:, :height], out=top)
        regions.append(top[0] > IGNORE_INDEX - 1 - top[1])
    return regions


def count(
    predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"], *, windows: Sequence[Window]
) -> Int64[Tensor, "windows 2"]:
    """For each window, the known pixels near a boundary: those with the right class, and all."""
    known = labels != IGNORE_INDEX
    # Without `known`, a prediction of 255 would be right where the label is not known.
    right = (predicted == labels) & known
    # On small images several radii are 1, and the smallest ellipse is the smallest disc: each window is done once.
    different = list(dict.fromkeys(windows))
    found = {
        window: torch.stack([torch.count_nonzero(region & right), torch.count_nonzero(region & known)])
        for window, region in zip(different, near_boundary(labels, windows=different), strict=True)
    }
    return torch.stack([found[window] for window in windows])


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


def _spans(ids: UInt8[Tensor, "extremes rows columns"], reach: int) -> list[UInt8[Tensor, "extremes rows _"]]:
    """The largest id over 1, 3, 5, ... pixels of a row, up to 2 reach + 1; each is 2 columns narrower than the last."""
    spans = [ids]
    for half in range(1, reach + 1):
        wider = torch.maximum(spans[-1][..., :-2], spans[-1][..., 2:])
        # Two spans of the last width overlap or touch but for the first, whose middle pixel is left to be added.
        spans.append(torch.maximum(wider, ids[..., 1:-1], out=wider) if half == 1 else wider)
    return spans

"""Boundary IoU (Cheng et al. 2021): intersection over union of the bands inside the outlines of two masks.

The band of a class is its pixels that have a known pixel of another class at most d rows and d columns away; d is 0.02
of the image's diagonal, rounded, and at least 1. Counts are pooled over the set, the mean is over the classes.

Where this is not the official program: there the frame of the image is an outline too, which `frame=True` brings back;
it knows no ignored pixels, here they belong to no class, make no outline, and are never counted. It is for one mask,
which here is class 1 of two. Its distance, too, is that of a square window, and not Euclidean.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from inverseform.metrics.boundary import foreground
from inverseform.metrics.score import Score, check_alike, mean, ratio
from inverseform.metrics.segmentation import check_ids
from inverseform.sample import IGNORE_INDEX

FRACTION = 0.02
"""Of the diagonal: how far the bands reach inwards."""


class BoundaryIouScores(NamedTuple):
    """What was counted in the bands of a set."""

    mean: Score
    """Of the defined entries of `iou`."""
    iou: tuple[Score, ...]
    """Of each class; undefined where it has no band, neither in the labels nor in the predictions."""


def reach(height: int, width: int, *, fraction: float = FRACTION) -> int:
    """The distance d of an image, in pixels.

    >>> reach(1024, 2048)
    46
    """
    return max(1, round(fraction * math.hypot(height, width)))


def bands(labels: UInt8[Tensor, "height width"], *, distance: int, frame: bool = False) -> Bool[Tensor, "height width"]:
    """Known pixels within a distance of another known class, or, if asked, of the frame."""
    known = labels != IGNORE_INDEX
    # The largest id + 1 and the largest 255 - id; both are 0 for an ignored pixel and outside the image.
    extremes = torch.stack([labels + 1, ~labels])
    largest = _largest(_largest(extremes, distance, dim=1), distance, dim=2)
    band = largest[0] > ~largest[1] + 1
    if frame:
        band[:distance], band[:, :distance] = True, True
        band[-distance:], band[:, -distance:] = True, True
    return band & known


def count(
    predicted: UInt8[Tensor, "height width"],
    labels: UInt8[Tensor, "height width"],
    *,
    num_classes: int,
    fraction: float = FRACTION,
    frame: bool = False,
) -> Int64[Tensor, "3 classes"]:
    """Pixels of each class in both bands, in the predicted one, in the true one.

    Raises:
        InputError: The two differ in shape, or have no pixels.
        ValueError: A class id is not below `num_classes`.
    """
    check_alike(predicted=predicted.shape, labels=labels.shape)
    check_ids(predicted, labels, num_classes)
    predicted = predicted.where(labels != IGNORE_INDEX, IGNORE_INDEX)
    distance = reach(*labels.shape, fraction=fraction)
    near = [bands(each, distance=distance, frame=frame) for each in (predicted, labels)]
    chosen = [(labels, near[0] & near[1] & (predicted == labels)), (predicted, near[0]), (labels, near[1])]
    # No pixel of a band is ignored: that id takes those outside out of the way.
    tables = [torch.bincount(ids.where(band, IGNORE_INDEX).flatten(), minlength=256) for ids, band in chosen]
    return torch.stack(tables)[:, :num_classes]


def boundary_iou(
    predicted: Bool[Tensor, "height width"],
    mask: Bool[Tensor, "height width"],
    *,
    known: Bool[Tensor, "height width"] | None = None,
    fraction: float = FRACTION,
    frame: bool = False,
) -> Score:
    """Of one foreground mask; `known` is False where the mask is not known."""
    scores = BoundaryIou(2, fraction=fraction, frame=frame, device=mask.device)
    scores.update(predicted.byte(), foreground(mask, known=known))
    return scores.scores().iou[1]


class BoundaryIou:
    """The scores of a whole set, image by image."""

    def __init__(
        self,
        num_classes: int,
        *,
        fraction: float = FRACTION,
        frame: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.fraction, self.frame = fraction, frame
        self.counts: Int64[Tensor, "3 classes"] = torch.zeros(3, num_classes, dtype=torch.int64, device=device)
        """Pixels of each class in both bands, in the predicted one, in the true one; adds across processes."""

    def update(self, predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"]) -> None:
        """Add an image."""
        num_classes = self.counts.shape[1]
        found = count(predicted, labels, num_classes=num_classes, fraction=self.fraction, frame=self.frame)
        self.counts += found.to(self.counts.device)

    def scores(self) -> BoundaryIouScores:
        """Scores of all that was added."""
        iou = tuple(
            ratio(both, one + other - both, reason="the class has no boundary, true or predicted")
            for both, one, other in zip(*self.counts.tolist(), strict=True)
        )
        return BoundaryIouScores(mean(iou, reason="no class has a boundary"), iou)


def _largest(values: UInt8[Tensor, "2 _ _"], distance: int, *, dim: int) -> UInt8[Tensor, "2 _ _"]:
    """The largest value at most a distance away along an axis; each step doubles the width that is looked over."""
    around = (distance, distance) if dim == 2 else (0, 0, distance, distance)
    values = torch.nn.functional.pad(values, around)
    wanted, width = 2 * distance + 1, 1
    while width < wanted:
        step = min(width, wanted - width)
        length = values.shape[dim] - step
        values = torch.maximum(values.narrow(dim, 0, length), values.narrow(dim, step, length))
        width += step
    return values

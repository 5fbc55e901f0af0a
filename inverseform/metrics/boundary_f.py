"""Boundary F score: how much of each class's predicted contour lies on the true one, and the other way round.

For each class, its contour is its pixels with another known class among their eight neighbours. Precision is the share
of predicted contour pixels that have a true one of the same class at most d pixels away (Euclidean), recall the share
of true ones that have a predicted one, F their harmonic mean. A contour pixel with an ignored pixel at most d away is
not counted: what it should be compared with may be hidden there. F is given in two ways: of counts that are pooled over
the set, and per image, as the mean over the images in which the class has a contour (GSCNN, Takikawa et al. 2019;
Csurka et al. 2013 take images first, too, but means over an image's classes before that over images). Either is then
meaned over classes.

`like_gscnn=True` reads as GSCNN's program does: a contour is one pixel wide, at pixels whose lower, right or lower
right neighbour differs in belonging to the class; ignored pixels belong to no class, so that their outline is a
contour; a class that an image neither has nor is predicted to have scores 1 there, which raises the mean per image.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64, Shaped, UInt8
from torch import Tensor

from inverseform.boundary import boundaries
from inverseform.metrics.boundary import disc
from inverseform.metrics.score import Score, check_alike, mean, ratio
from inverseform.metrics.segmentation import check_ids
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

FRACTIONS = (0.0005, 0.001875, 0.00375, 0.005)
"""GSCNN's tolerances: shares of the diagonal, rounded up to whole pixels."""
PIXELS = (1, 2, 3)
"""Tolerances that do not grow with the image."""
MOST_CLASSES = 63
"""A set of classes is a number of 64 bits, of which one is the sign."""

_NO_CONTOUR = "no class has a contour, true or predicted"


class BoundaryFScores(NamedTuple):
    """For each tolerance, the mean over the classes that have an F."""

    pooled: tuple[Score, ...]
    """F of the counts of all images."""
    per_image: tuple[Score, ...]
    """Mean of the images' F."""


def pixels(tolerance: float, height: int, width: int) -> int:
    """A tolerance in pixels: from 1 on it is that already, below it is a share of the diagonal.

    >>> [pixels(fraction, 1024, 2048) for fraction in FRACTIONS]
    [2, 5, 9, 12]
    """
    return int(tolerance) if tolerance >= 1 else math.ceil(tolerance * math.hypot(height, width))


def count(
    predicted: UInt8[Tensor, "height width"],
    labels: UInt8[Tensor, "height width"],
    *,
    num_classes: int,
    tolerances: Sequence[float] = FRACTIONS,
    like_gscnn: bool = False,
) -> Float64[Tensor, "tolerances 4 classes"]:
    """Predicted contour pixels that are met, all of them, true ones that are met, all of them.

    Raises:
        InputError: The two differ in shape or have no pixels, there are too many classes, or a tolerance is none.
        ValueError: A class id is not below `num_classes`.
    """
    _check(num_classes, tolerances)
    check_alike(predicted=predicted.shape, labels=labels.shape)
    check_ids(predicted, labels, num_classes)
    known = labels != IGNORE_INDEX
    maps = (predicted.where(known, IGNORE_INDEX), labels)
    contours = [(_offset if like_gscnn else _inner)(each, num_classes) for each in maps]
    distances = [pixels(tolerance, *labels.shape) for tolerance in tolerances]
    near_predicted, near_true = (_grown(each, distances) for each in contours)
    hidden = [torch.zeros_like(known)] * len(distances) if like_gscnn else _grown(~known, distances)
    rows = []
    for beside_predicted, beside_true, unsure in zip(near_predicted, near_true, hidden, strict=True):
        row = []
        for own, other in zip(contours, (beside_true, beside_predicted), strict=True):
            chosen = (own != 0) & ~unsure
            sets = own[chosen]
            row += [_members(sets & other[chosen], num_classes), _members(sets, num_classes)]
        rows.append(torch.stack(row))
    return torch.stack(rows).double()


class BoundaryF:
    """The scores of a set, image by image."""

    def __init__(
        self,
        num_classes: int,
        *,
        tolerances: Sequence[float] = FRACTIONS,
        like_gscnn: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        _check(num_classes, tolerances)
        self.num_classes, self.tolerances, self.like_gscnn = num_classes, tuple(tolerances), like_gscnn
        self.counts: Float64[Tensor, "tolerances 6 classes"] = torch.zeros(
            len(tolerances), 6, num_classes, dtype=torch.float64, device=device
        )
        """What `count` gives, the sum of the images' F, and the images that have one; adds across processes."""

    def update(self, predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"]) -> None:
        """Add an image."""
        found = count(
            predicted, labels, num_classes=self.num_classes, tolerances=self.tolerances, like_gscnn=self.like_gscnn
        )
        met_predicted, all_predicted, met_true, all_true = found.unbind(dim=1)
        nothing = (all_predicted == 0) & (all_true == 0)
        precision, recall = met_predicted / all_predicted.clamp(min=1), met_true / all_true.clamp(min=1)
        # Both are 0 for a class with a contour in one of the two maps alone, and so is F.
        f = 2 * precision * recall / (precision + recall).where(precision + recall > 0, 1)
        if self.like_gscnn:
            f, nothing = f.where(~nothing, 1), torch.zeros_like(nothing)
        self.counts += torch.cat([found, f[:, None], (~nothing).double()[:, None]], dim=1).to(self.counts.device)

    def scores(self) -> BoundaryFScores:
        """Scores of all that was added."""
        counts = self.counts.tolist()
        pooled = [[_f(*row) for row in zip(*some[:4], strict=True)] for some in counts]
        single = [[ratio(*row, reason=_NO_CONTOUR) for row in zip(*some[4:], strict=True)] for some in counts]
        return BoundaryFScores(*(tuple(mean(each, reason=_NO_CONTOUR) for each in f) for f in (pooled, single)))


def _check(num_classes: int, tolerances: Sequence[float]) -> None:
    if num_classes > MOST_CLASSES:
        raise InputError(f"there are {num_classes} classes: at most {MOST_CLASSES}; leave the F score out")
    for tolerance in tolerances:
        # In this form nan does not pass.
        if not 0 < tolerance < math.inf or (tolerance > 1 and tolerance != int(tolerance)):
            raise InputError(
                f"tolerances hold {tolerance}: write whole pixels from 1 on, or a share of the diagonal between 0 and 1"
            )


def _f(met_predicted: float, predicted: float, met_true: float, true: float) -> Score:
    """Harmonic mean of precision and recall; 0 for a class with a contour in one of the two maps alone."""
    if not predicted and not true:
        return Score(None, _NO_CONTOUR)
    precision, recall = met_predicted / max(1, predicted), met_true / max(1, true)
    return Score(2 * precision * recall / (precision + recall) if precision + recall else 0.0)


def _members(sets: Shaped[Tensor, " places"], num_classes: int) -> Shaped[Tensor, " classes"]:
    """How many of the sets hold each class."""
    return torch.stack([((sets >> name) & 1).sum() for name in range(num_classes)])


def _sets(labels: UInt8[Tensor, "height width"], num_classes: int) -> Shaped[Tensor, "height width"]:
    """The class of each pixel as a set of one, in a number with a bit for each class; ignored ones: the empty set."""
    sizes = ((7, torch.int8), (15, torch.int16), (31, torch.int32), (MOST_CLASSES, torch.int64))
    dtype = next(dtype for most, dtype in sizes if num_classes <= most)
    known = labels != IGNORE_INDEX
    return (1 << labels.where(known, 0).to(dtype)) * known


def _inner(labels: UInt8[Tensor, "height width"], num_classes: int) -> Shaped[Tensor, "height width"]:
    """The class of each contour pixel, as a set of one; elsewhere the empty set."""
    edge: Bool[Tensor, "height width"] = (
        boundaries(labels[None], num_classes=num_classes, operator="inequality")[0][0, 0] > 0
    )
    return _sets(labels, num_classes) * edge


def _offset(labels: UInt8[Tensor, "height width"], num_classes: int) -> Shaped[Tensor, "height width"]:
    """At each pixel the set of the classes whose contour it is on, by GSCNN's program."""
    sets = _sets(labels, num_classes)
    contours = torch.zeros_like(sets)
    # In the last row only the right neighbour is looked at, in the last column only the lower one.
    contours[:, :-1] |= sets[:, :-1] ^ sets[:, 1:]
    contours[:-1] |= sets[:-1] ^ sets[1:]
    contours[:-1, :-1] |= sets[:-1, :-1] ^ sets[1:, 1:]
    return contours


def _grown(sets: Shaped[Tensor, "height width"], distances: Sequence[int]) -> list[Shaped[Tensor, "height width"]]:
    """For each distance, the union of the sets of all pixels that are as near: a dilation of all classes at once."""
    height, width = sets.shape
    reach = max(distances)
    windows = [disc(distance) for distance in distances]
    found = [torch.zeros_like(sets) for _ in distances]
    padded = torch.nn.functional.pad(sets, (reach, reach, reach, reach))
    # The union over 1, 3, 5, ... pixels of a row; it is used where a disc has a row of that width.
    span = padded
    for half in range(reach + 1):
        if half:
            columns = width + 2 * (reach - half)
            span = span[:, :columns] | padded[:, half : half + columns] | span[:, 2 : columns + 2]
        inside = span[:, reach - half :][:, :width]
        for total, window in zip(found, windows, strict=True):
            for row in (row for row, its_half in enumerate(window) if its_half == half):
                total |= inside[reach - row :][:height]
                total |= inside[reach + row :][:height]
    return found

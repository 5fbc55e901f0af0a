"""Boundary F score: how much of each class's predicted contour lies on the true one, and the other way round.

For each class, its contour is its pixels with another known class among their eight neighbours. Precision is the share
of predicted contour pixels that have a true one of the same class at most d pixels away, recall the share of true ones
that have a predicted one; counts are pooled over the set, F is their harmonic mean, and the score its mean over classes
(Csurka et al. 2013, who mean over images). A contour pixel with an ignored pixel at most d away is not counted: what
it should be compared with may be hidden there.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from inverseform.boundary import boundaries
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

TOLERANCES = (1, 2, 3)
"""Pixels, Euclidean."""
MOST_CLASSES = 63
"""A set of classes is a number of 64 bits."""


class BoundaryF:
    """The scores of a set, image by image."""

    def __init__(self, num_classes: int) -> None:
        if num_classes > MOST_CLASSES:
            raise InputError(f"there are {num_classes} classes: at most {MOST_CLASSES}; leave the F score out")
        self.num_classes = num_classes
        self.counts: Int64[Tensor, "tolerances 4 classes"] = torch.zeros(
            len(TOLERANCES), 4, num_classes, dtype=torch.int64
        )
        """Predicted contour pixels that are met, all of them, true ones that are met, all of them; counts add."""

    def update(self, predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"]) -> None:
        """Add an image."""
        known = labels != IGNORE_INDEX
        maps = [predicted.where(known, IGNORE_INDEX), labels]
        edges = [_edge(each, self.num_classes) for each in maps]
        sets = [_sets(each, edge) for each, edge in zip(maps, edges, strict=True)]
        hidden = (~known).long()
        for index, (near_predicted, near_true, near_ignored) in enumerate(
            zip(*map(_grown, (*sets, hidden)), strict=True)
        ):
            for own, (other, place) in enumerate(((near_true, 0), (near_predicted, 2))):
                counted = edges[own] & (near_ignored == 0)
                ids = maps[own][counted].long()
                met = (other[counted] >> ids) & 1
                self.counts[index, place] += torch.bincount(ids, met.double(), minlength=self.num_classes).long()
                self.counts[index, place + 1] += torch.bincount(ids, minlength=self.num_classes)

    def scores(self) -> tuple[float | None, ...]:
        """For each tolerance the mean over the classes with a contour, predicted or true; None if there is none."""
        return tuple(_mean_f(counts.tolist()) for counts in self.counts)


def _mean_f(counts: list[list[int]]) -> float | None:
    scores = [_f(*row) for row in zip(*counts, strict=True) if row[1] or row[3]]
    return sum(scores) / len(scores) if scores else None


def _f(met_predicted: int, predicted: int, met_true: int, true: int) -> float:
    """Harmonic mean of precision and recall; 0 for a class with a contour in one of the two maps alone."""
    precision, recall = met_predicted / max(1, predicted), met_true / max(1, true)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _edge(labels: UInt8[Tensor, "height width"], num_classes: int) -> Bool[Tensor, "height width"]:
    return boundaries(labels[None], num_classes=num_classes, operator="inequality")[0][0, 0] > 0


def _sets(labels: UInt8[Tensor, "height width"], edge: Bool[Tensor, "height width"]) -> Int64[Tensor, "height width"]:
    """At each contour pixel the set of its class, as a bit; elsewhere the empty set."""
    return (1 << labels.long().where(edge, 0)) * edge


def _grown(sets: Int64[Tensor, "height width"]) -> Iterator[Int64[Tensor, "height width"]]:
    """For each tolerance, the union of the sets of all pixels that are as near: a dilation of all classes at once."""
    height, width = sets.shape
    reach = max(TOLERANCES)
    padded = torch.nn.functional.pad(sets, (reach, reach, reach, reach))
    offsets = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    total, inner = torch.zeros_like(sets), -1
    for tolerance in TOLERANCES:
        for y, x in offsets:
            if inner < y * y + x * x <= tolerance**2:
                total = total | padded[reach + y :, reach + x :][:height, :width]
        inner = tolerance**2
        yield total

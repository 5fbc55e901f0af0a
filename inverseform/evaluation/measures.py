"""One image: its row of counts. The rows of any images add up to that of all of them together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor

from inverseform.metrics import boundary, boundary_f, boundary_iou, calibration, segmentation
from inverseform.settings import InputError

DISTANCES = tuple(range(1, 11))
"""Pixels from a boundary within which right pixels are counted."""
TOLERANCES = (3,)
"""Of the boundary F score, in pixels; each costs as much as all other figures beside boundaries together."""


@dataclass(frozen=True)
class Columns:
    """What is counted of an image, and in which order."""

    classes: tuple[str, ...]

    @property
    def tolerances(self) -> tuple[int, ...]:
        """Of the boundary F score, which is defined for some number of classes alone."""
        return TOLERANCES if len(self.classes) <= boundary_f.MOST_CLASSES else ()

    @cached_property
    def groups(self) -> dict[str, slice]:
        """Where each group of columns stands."""
        found, start = {}, 0
        for name, items in self._items().items():
            found[name] = slice(start, start + len(items))
            start += len(items)
        return found

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of each column: its group, and its class, distance or bin."""
        return tuple(f"{name} {item}" for name, items in self._items().items() for item in items)

    def _items(self) -> dict[str, Sequence[object]]:
        """In the order in which `measure` counts them."""
        found = ("met_predicted", "all_predicted", "met_true", "all_true")
        by_class = [
            "intersection", "labelled", "predicted", "band_intersection", "band_predicted", "band_labelled",
            *(f"{name}_{tolerance}_px" for tolerance in self.tolerances for name in found),
        ]  # fmt: skip
        bins = range(1, calibration.BINS + 1)
        return {
            **dict.fromkeys(by_class, self.classes),
            "right_within": DISTANCES, "known_within": DISTANCES,
            "bin_pixels": bins, "bin_confidence": bins, "bin_right": bins,
            "mba": ("sum", "images"),
        }  # fmt: skip


class Measured(NamedTuple):
    """What was counted of an image."""

    row: Float64[Tensor, " columns"]
    """By `Columns`, on the CPU."""
    confusion: Int64[Tensor, "classes classes"]
    """(actual, predicted), where the labels are."""
    mba: float | None
    """Mean boundary accuracy, or None if it has no boundary."""


def measure(
    predicted: UInt8[Tensor, "height width"],
    probabilities: Float32[Tensor, "classes height width"],
    labels: UInt8[Tensor, "height width"],
    columns: Columns,
) -> Measured:
    """Count what is right in an image.

    Args:
        predicted: Class ids.
        probabilities: Of the classes.
        labels: Class ids, 255 where the class is not known.
        columns: What to count.
    """
    classes = len(columns.classes)
    nothing = torch.zeros(classes, classes, dtype=torch.int64, device=labels.device)
    confusion = segmentation.update(nothing, predicted, labels)
    ellipses = [boundary.ellipse(radius) for radius in boundary.radii(*labels.shape)]
    near = boundary.count(predicted, labels, windows=[*ellipses, *map(boundary.disc, DISTANCES)])
    parts = [confusion.diagonal(), confusion.sum(1), confusion.sum(0)]
    parts.append(boundary_iou.count(predicted, labels, num_classes=classes))
    if columns.tolerances:
        parts.append(boundary_f.count(predicted, labels, num_classes=classes, tolerances=columns.tolerances))
    parts.append(near[len(ellipses) :].T)
    parts.append(calibration.count(probabilities[None], labels[None], bins=calibration.BINS))
    # One wait for a GPU instead of one for each.
    found = torch.cat([part.flatten().double() for part in (*parts, near[: len(ellipses)])]).cpu()
    # Of a GPU nobody has looked at the probabilities yet.
    if not found.isfinite().all():
        raise InputError("probabilities hold nan, as of a network whose training has diverged; train it again")
    row, around = found.split([len(columns.names) - 2, 2 * len(ellipses)])
    mba = boundary.mean_accuracy(around.view(-1, 2).long())
    scored = torch.tensor([mba or 0.0, mba is not None], dtype=torch.float64)
    return Measured(torch.cat([row, scored]), confusion, mba)

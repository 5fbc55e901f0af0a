"""From counts to figures, their intervals, and their differences between two networks.

Intervals are percentiles of the bootstrap over images: the images of a split are drawn again, as many as there are, and
the figure taken of those drawn (Efron 1979). They say how far a figure hangs on the images that happened to be in the
split, and nothing of another training with another seed. Between two networks the same images are drawn for both, which
takes out of their difference what makes an image hard for either.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from inverseform.evaluation.images import Images
from inverseform.evaluation.measures import DISTANCES, Columns
from inverseform.metrics.bootstrap import draws

RESAMPLES = 2000
"""Sets of images that are drawn: the ends of an interval then vary by a hundredth part of its width or two."""
SHARE = 0.95
"""Of the resamples that lie in an interval."""
BY_CLASS = ("iou", "boundary_iou")
"""Figures of each class, named `iou <class>` and so on."""
_SEED = 0
_AT_ONCE = 1 << 20
"""Images that are drawn at once, over all resamples: what is held in memory does not grow with the split."""


class Estimate(NamedTuple):
    """A figure with its interval; None where there is no value."""

    value: float | None
    low: float | None = None
    """None as well where there is one image, of which nothing can be said."""
    high: float | None = None


class Difference(NamedTuple):
    """A figure of two networks on the same images."""

    now: float | None
    earlier: float | None
    change: Estimate
    """How much more it is now."""


def names(columns: Columns) -> tuple[str, ...]:
    """What `figures` gives, in this order."""
    f = [f"boundary_f_{tolerance}_px" for tolerance in columns.tolerances]
    within = [f"accuracy_within_{distance}_px" for distance in DISTANCES]
    by_class = [f"{figure} {name}" for figure in BY_CLASS for name in columns.classes]
    return ("miou", "mba", "pixel_accuracy", "boundary_iou", *f, "calibration_error", *within, *by_class)


def figures(sums: Float64[Tensor, "*sets columns"], columns: Columns) -> Float64[Tensor, "*sets figures"]:
    """Figures of sets of images from the sums of their rows, as `metrics` defines them; NaN where one has no value.

    Counts are pooled over a set before anything is divided; mean boundary accuracy is a mean over its images.
    """
    part = {name: sums[..., place] for name, place in columns.groups.items()}
    iou = part["intersection"] / (part["labelled"] + part["predicted"] - part["intersection"])
    both = part["band_intersection"]
    band_iou = both / (part["band_predicted"] + part["band_labelled"] - both)
    f = [_f(part, tolerance).nanmean(-1) for tolerance in columns.tolerances]
    mba, images = part["mba"].unbind(-1)
    right = part["intersection"].sum(-1) / part["labelled"].sum(-1)
    off = (part["bin_confidence"] - part["bin_right"]).abs().sum(-1) / part["bin_pixels"].sum(-1)
    whole = torch.stack([iou.nanmean(-1), mba / images, right, band_iou.nanmean(-1), *f, off], dim=-1)
    return torch.cat([whole, part["right_within"] / part["known_within"], iou, band_iou], dim=-1)


def resampled(counts: Float64[Tensor, "images columns"]) -> Float64[Tensor, "resamples columns"]:
    """Sums over images drawn with replacement; tables of as many images are drawn alike."""
    drawn = draws(len(counts), resamples=RESAMPLES, seed=_SEED, at_once=max(1, _AT_ONCE // len(counts)))
    return torch.cat([times @ counts for times in drawn])


def estimates(images: Images) -> dict[str, Estimate]:
    """The figures of a split by name, with their intervals."""
    values = figures(images.counts.sum(0), images.columns)
    drawn = figures(resampled(images.counts), images.columns)
    found = _estimates(values, drawn, images=len(images.names))
    return dict(zip(names(images.columns), found, strict=True))


def differences(now: Images, earlier: Images) -> dict[str, Difference]:
    """The figures of two networks on the same images in the same order, by name."""
    values = [figures(each.counts.sum(0), each.columns) for each in (now, earlier)]
    drawn = [figures(resampled(each.counts), each.columns) for each in (now, earlier)]
    changes = _estimates(values[0] - values[1], drawn[0] - drawn[1], images=len(now.names))
    pairs = zip(*(map(_defined, each.tolist()) for each in values), changes, strict=True)
    return dict(zip(names(now.columns), (Difference(*pair) for pair in pairs), strict=True))


def by_image(images: Images, name: str) -> list[float | None]:
    """One figure of each image."""
    place = names(images.columns).index(name)
    return [_defined(value) for value in figures(images.counts, images.columns)[:, place].tolist()]


def _f(part: Mapping[str, Float64[Tensor, "*sets classes"]], tolerance: int) -> Float64[Tensor, "*sets classes"]:
    """F of each class: 0 with a contour in one of the two maps alone, NaN with none."""
    names = ("met_predicted", "all_predicted", "met_true", "all_true")
    met_predicted, all_predicted, met_true, all_true = (part[f"{name}_{tolerance}_px"] for name in names)
    precision, recall = met_predicted / all_predicted.clamp(min=1), met_true / all_true.clamp(min=1)
    mean = 2 * precision * recall / (precision + recall).where(precision + recall > 0, 1)
    return mean.where(all_predicted + all_true > 0, torch.nan)


def _estimates(
    values: Float64[Tensor, " figures"], drawn: Float64[Tensor, "resamples figures"], *, images: int
) -> list[Estimate]:
    ends = torch.tensor([(1 - SHARE) / 2, (1 + SHARE) / 2], dtype=torch.float64)
    # A class may be in none of the images that are drawn: such a draw says nothing of it.
    found = drawn.nanquantile(ends, dim=0).T.tolist()
    return [
        Estimate(_defined(value), *(map(_defined, pair) if images > 1 else (None, None)))
        for value, pair in zip(values.tolist(), found, strict=True)
    ]


def _defined(value: float) -> float | None:
    return None if value != value else value

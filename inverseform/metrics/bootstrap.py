"""How sure a score of a set of images is: percentile intervals of the bootstrap (Efron 1979) over the images.

A resample draws as many images as there are, with replacement; as the scores here are made of counts that add, its
counts are weights times counts, the weights being how often each image was drawn. So a score that is pooled over the
set, as mIoU is, is resampled as a whole: one product of matrices for all resamples. Pixels of an image depend on each
other, so that they are not what is drawn. With few images (under 20 or so) such intervals are too narrow.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from inverseform.settings import InputError

_AT_ONCE = 1 << 24
"""Numbers that are held at a time."""


class Interval(NamedTuple):
    """Where a score would lie, were the images others of the same kind."""

    value: float | None
    """The score of the images themselves; None where it is undefined."""
    low: float | None
    high: float | None
    """Percentiles over the resamples in which the score is defined; None where it is defined in none."""
    undefined: int
    """Resamples in which it is not."""


def interval(
    counts: Shaped[Tensor, " images *counts"],
    score: Callable[[Float64[Tensor, " resamples *counts"]], Float[Tensor, " resamples"]],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a score that is computed from the sum of the images' counts.

    Args:
        counts: Of each image; they add.
        score: From sums of counts, many at once, to scores; NaN where one is undefined. `miou` and `mean` are two.
        level: Share of the resamples within the interval.
        resamples: How many; the ends are steady to about 1 / 20 of the interval's length at 2000.
        seed: Of the draw.

    Raises:
        InputError: There is no image, or the level is not between 0 and 1.
    """
    if not len(counts) or not 0 < level < 1 or resamples < 1:
        raise InputError(
            f"{len(counts)} images, level {level}, {resamples} resamples: give an image or more, a level between 0 "
            "and 1 such as 0.95, and a resample or more"
        )
    table = counts.double().flatten(start_dim=1)
    weights = draws(len(table), resamples=resamples, seed=seed, at_once=max(1, _AT_ONCE // max(table.shape)))
    found = torch.cat([score((some.to(table) @ table).view(-1, *counts.shape[1:])) for some in weights]).double()
    whole = float(score(table.sum(dim=0).view(1, *counts.shape[1:])))
    defined = found[~found.isnan()]
    ends: list[float | None] = [None, None]
    if len(defined):
        tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=defined.device)
        ends = [*torch.quantile(defined, tails).tolist()]
    # NaN is not equal to itself.
    return Interval(whole if whole == whole else None, ends[0], ends[1], resamples - len(defined))


def of_scores(scores: Sequence[float | None], *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Interval of the mean of the images' scores; an image without one takes part, and counts for nothing."""
    counts = [(score or 0.0, float(score is not None)) for score in scores]
    table = torch.tensor(counts, dtype=torch.float64).view(-1, 2)
    return interval(table, mean, level=level, resamples=resamples, seed=seed)


def mean(counts: Float64[Tensor, "resamples 2"]) -> Float64[Tensor, " resamples"]:
    """Of sums and how many were summed; NaN where none was."""
    return counts[:, 0] / counts[:, 1]


def miou(counts: Float64[Tensor, "resamples classes classes"]) -> Float64[Tensor, " resamples"]:
    """`segmentation.scores(...).miou` of many tables of counts; NaN where no class has an IoU."""
    hits = counts.diagonal(dim1=1, dim2=2)
    return (hits / (counts.sum(dim=1) + counts.sum(dim=2) - hits)).nanmean(dim=1)


def draws(images: int, *, resamples: int, seed: int, at_once: int) -> Iterator[Float64[Tensor, "_ {images}"]]:
    """How often each resample has each image; so many resamples at a time. The same draws for any `at_once`."""
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, resamples, at_once):
        rows = min(at_once, resamples - first)
        drawn = torch.randint(images, (rows, images), generator=generator)
        weights = torch.zeros(rows, images, dtype=torch.float64)
        yield weights.scatter_add_(1, drawn, torch.ones(1, 1, dtype=torch.float64).expand(rows, images))

"""By which angle predicted surface normals miss the true ones, over all pixels of a set.

The angle is atan2(|p x t|, p . t) in degrees, 0 to 180: it does not ask for unit vectors, and does not lose the digits
of small angles as the arc cosine of p . t does. Mean, root mean square and shares are exact. The median is that of a
histogram of bins of 0.01 degrees, so that no pixel is kept: it is at most 0.005 degrees from the true one. A true
normal that is zero or not finite is not valid; a valid pixel whose predicted one is has no angle, and is counted apart.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from inverseform.metrics.score import Score, check_alike, ratio

WITHIN = (11.25, 22.5, 30.0)
"""Degrees."""
BINS = 18_000
"""Of the histogram, from 0 to 180 degrees."""
MEDIAN_ERROR = 180 / BINS / 2
"""Most degrees between the median that is given and the true one."""

_FIELDS = 4 + len(WITHIN)


class NormalScores(NamedTuple):
    """What the angles of a set amount to; in degrees, lower is better, but for `within`."""

    mean: Score
    median: Score
    """Within MEDIAN_ERROR."""
    rmse: Score
    """Root of the mean square."""
    within: tuple[Score, ...]
    """Shares of angles smaller than each of WITHIN, 0 to 1."""
    pixels: int
    """Those with an angle."""
    undirected: int
    """Valid pixels whose predicted normal is zero or not finite; they have no part in any score."""


def angles(
    predicted: Float[Tensor, "3 height width"], normals: Float[Tensor, "3 height width"]
) -> Float64[Tensor, "height width"]:
    """Degrees between two vectors of any length; 0 if one of them is zero."""
    one, other = predicted.double(), normals.double()
    across = torch.linalg.vector_norm(torch.linalg.cross(one, other, dim=0), dim=0)
    return torch.rad2deg(torch.atan2(across, (one * other).sum(dim=0)))


def count(
    predicted: Float[Tensor, "3 height width"],
    normals: Float[Tensor, "3 height width"],
    *,
    valid: Bool[Tensor, "height width"] | None = None,
) -> Float64[Tensor, " fields"]:
    """Angles, pixels without one, sum, sum of squares, angles below each of WITHIN, histogram; they add."""
    check_alike(
        predicted=predicted.shape, normals=normals.shape, valid=normals.shape if valid is None else (3, *valid.shape)
    )
    known = _directed(normals) if valid is None else _directed(normals) & valid
    compared = known & _directed(predicted)
    angle = angles(predicted, normals).where(compared, 0.0)
    pixels = compared.sum()
    sums = [pixels, known.sum() - pixels, angle.sum(), angle.square().sum()]
    sums += [((angle < degrees) & compared).sum() for degrees in WITHIN]
    # An angle of 180 degrees belongs to the last bin; one bin more takes the pixels without an angle.
    bins = (angle * (BINS / 180)).long().clamp(max=BINS - 1).where(compared, BINS)
    histogram = torch.bincount(bins.flatten(), minlength=BINS + 1)[:BINS]
    return torch.cat([torch.stack([each.double() for each in sums]), histogram.double()])


class NormalErrors:
    """The scores of a whole set, image by image."""

    def __init__(self, *, device: torch.device | str = "cpu") -> None:
        self.counts: Float64[Tensor, " fields"] = torch.zeros(_FIELDS + BINS, dtype=torch.float64, device=device)
        """What `count` gives; adds across processes."""

    def update(
        self,
        predicted: Float[Tensor, "3 height width"],
        normals: Float[Tensor, "3 height width"],
        *,
        valid: Bool[Tensor, "height width"] | None = None,
    ) -> None:
        """Add an image."""
        self.counts += count(predicted, normals, valid=valid).to(self.counts.device)

    def scores(self) -> NormalScores:
        """Scores of all that was added."""
        pixels, undirected, total, squares, *within = self.counts[:_FIELDS].tolist()
        nothing = "no pixel has both a true and a predicted normal"
        mean_square = ratio(squares, pixels, reason=nothing)
        return NormalScores(
            mean=ratio(total, pixels, reason=nothing),
            median=Score(_median(self.counts[_FIELDS:])) if pixels else Score(None, nothing),
            rmse=Score(mean_square.value**0.5) if mean_square.value is not None else mean_square,
            within=tuple(ratio(each, pixels, reason=nothing) for each in within),
            pixels=int(pixels),
            undirected=int(undirected),
        )


def _directed(vectors: Float[Tensor, "3 height width"]) -> Bool[Tensor, "height width"]:
    return torch.isfinite(vectors).all(dim=0) & (vectors != 0).any(dim=0)


def _median(histogram: Float64[Tensor, " bins"]) -> float:
    """The middle of the bin that holds the middle angle, or between those of the two middle ones."""
    up_to = histogram.cumsum(dim=0)
    pixels = int(up_to[-1])
    middle = torch.tensor([(pixels - 1) // 2, pixels // 2], dtype=torch.float64, device=histogram.device)
    # The angle with so many before it lies in the first bin up to which there are more.
    bins = torch.searchsorted(up_to, middle, right=True)
    return float((bins + 0.5).mean()) * 180 / BINS

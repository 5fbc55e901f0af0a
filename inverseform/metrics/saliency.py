"""Saliency: largest F and largest mean Jaccard index over the thresholds of a probability map.

At each threshold, a pixel whose probability is above it is salient. Jaccard index, precision and recall are those of
the salient pixels of one image; they are meaned over the images. mIoU is the largest mean Jaccard index, maxF the
largest (1 + b) P R / (b P + R) of the mean precision P and recall R, with b = 0.3 (Achanta et al. 2009, there
written beta^2). The programs of ASTMT and MTI-Net have this mIoU over the same 15 thresholds; what they print as maxF
is at b = 1, `beta_squared=1`.

Where nothing is predicted as salient and something is, precision is 0, as there. Where nothing is salient, recall is
undefined: such an image is left out of all means and counted apart. There, its precision and recall are 0, and its
Jaccard index 1 if nothing is predicted, else 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from inverseform.metrics.score import Score, check_alike
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

THRESHOLDS = tuple((20 + 5 * step) / 100 for step in range(15))
"""0.2, 0.25, ... 0.9."""


class SaliencyScores(NamedTuple):
    """The best over the thresholds."""

    miou: Score
    """Largest mean Jaccard index, 0 to 1."""
    max_f: Score
    """Largest F, 0 to 1."""
    images: int
    """Images that have a salient pixel."""
    skipped: int
    """Images that have none, and no part in any score."""


def count(
    predicted: Float[Tensor, "height width"],
    labels: UInt8[Tensor, "height width"],
    *,
    thresholds: Float64[Tensor, " _"],
) -> Float64[Tensor, " sums"]:
    """Of an image: whether it has a salient pixel, whether not; Jaccard index, precision, recall by threshold.

    Args:
        predicted: Probability that a pixel is salient, 0 to 1.
        labels: 1 where it is, 0 where it is not, IGNORE_INDEX where that is not known.
        thresholds: They rise.

    Raises:
        InputError: A probability is not in 0 to 1, or a label is none of these.
    """
    check_alike(predicted=predicted.shape, labels=labels.shape)
    _check(predicted, labels)
    # How many thresholds a probability is above; one row more takes the pixels that are not known.
    above = torch.bucketize(predicted.contiguous(), thresholds.to(predicted.dtype))
    cells = 2 * (len(thresholds) + 1)
    place = (2 * above + labels).where(labels != IGNORE_INDEX, cells)
    table = torch.bincount(place.flatten(), minlength=cells + 1)[:cells].view(-1, 2).double()
    # Summed from the highest threshold down, and without those above none: what is predicted at each of them.
    wrong, right = table.flip(0).cumsum(0).flip(0)[1:].T
    salient = table[:, 1].sum()
    some = (salient > 0).double()
    jaccard = right / (wrong + salient).clamp(min=1)
    precision, recall = right / (right + wrong).clamp(min=1), right / salient.clamp(min=1)
    return torch.cat([torch.stack([some, 1 - some]), some * jaccard, some * precision, some * recall])


class Saliency:
    """The scores of a whole set, image by image."""

    def __init__(
        self,
        *,
        thresholds: Sequence[float] = THRESHOLDS,
        beta_squared: float = 0.3,
        device: torch.device | str = "cpu",
    ) -> None:
        self.thresholds = torch.tensor(sorted(thresholds), dtype=torch.float64, device=device)
        self.beta_squared = beta_squared
        self.counts: Float64[Tensor, " sums"] = torch.zeros(2 + 3 * len(thresholds), dtype=torch.float64, device=device)
        """The sum of what `count` gives; adds across processes."""

    def update(self, predicted: Float[Tensor, "height width"], labels: UInt8[Tensor, "height width"]) -> None:
        """Add an image."""
        found = count(predicted, labels, thresholds=self.thresholds.to(predicted.device))
        self.counts += found.to(self.counts.device)

    def scores(self) -> SaliencyScores:
        """Scores of all that was added."""
        images, skipped = (int(number) for number in self.counts[:2].tolist())
        if not images:
            nothing = Score(None, f"none of {skipped} images has a salient pixel")
            return SaliencyScores(nothing, nothing, images, skipped)
        jaccard, precision, recall = (self.counts[2:] / images).view(3, -1)
        weighted = self.beta_squared * precision + recall
        f = (1 + self.beta_squared) * precision * recall / weighted.where(weighted > 0, 1.0)
        return SaliencyScores(Score(float(jaccard.max())), Score(float(f.max())), images, skipped)


def _check(predicted: Tensor, labels: Tensor) -> None:
    wrong = ~((predicted >= 0) & (predicted <= 1))
    if wrong.any():
        raise InputError(
            f"predicted holds {float(predicted[wrong][0])}: probabilities go from 0 to 1; put logits through a sigmoid"
        )
    other = (labels > 1) & (labels != IGNORE_INDEX)
    if other.any():
        raise InputError(
            f"labels hold {int(labels[other][0])}: 1 is salient, 0 is not, {IGNORE_INDEX} is not known; threshold them"
        )

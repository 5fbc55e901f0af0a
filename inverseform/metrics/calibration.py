"""Expected calibration error: how far a network's confidence is from its accuracy (Guo et al. 2017, eq. 3).

The confidence of a pixel is the probability of its most probable class. With the pixels in bins of equal width by
confidence, ECE is the sum over the bins of |accuracy - mean confidence|, weighted by their share of the pixels. A bin
holds its upper edge and not its lower one, but for the first, which holds both. torchmetrics gives an edge to the bin
above it, and a confidence of exactly 1, common in half precision, to a bin of its own.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from inverseform.metrics.score import Score, ratio
from inverseform.metrics.segmentation import check_ids
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

BINS = 15
"""Those of Guo et al."""


class Bin(NamedTuple):
    """One row of the reliability table."""

    above: float
    """Its confidences are above this, but in the first bin, where they may be 0."""
    up_to: float
    pixels: int
    confidence: Score
    """Mean; undefined in an empty bin."""
    accuracy: Score
    """Share of pixels whose class was found; undefined in an empty bin."""


def count(
    probabilities: Float[Tensor, "batch classes height width"],
    labels: UInt8[Tensor, "batch height width"],
    *,
    bins: int,
) -> Float64[Tensor, "3 bins"]:
    """For each bin: known pixels, sum of their confidences, those whose class was found.

    Raises:
        InputError: A probability is not in 0 to 1.
        ValueError: A label is of no class, or labels have another shape.

    On a GPU, where to look would cost a synchronisation, both make the counts nan, and the error undefined.
    """
    confidence, predicted = probabilities.max(dim=1)
    known = labels != IGNORE_INDEX
    if not probabilities.is_cuda:
        _check(confidence)
        check_ids(predicted.byte(), labels, probabilities.shape[1])
    confidence = _marked(confidence, labels, probabilities.shape[1])
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=labels.device)[1:-1]
    confidence = confidence.double().where(known, 0.0).flatten()
    place = torch.bucketize(confidence, edges)
    found = ((predicted == labels) & known).double().flatten()
    rows = [known.double().flatten(), confidence, found]
    table = torch.zeros(3, bins, dtype=torch.float64, device=labels.device)
    return table.index_add(1, place, torch.stack(rows))


class Calibration:
    """The error of a whole set, batch by batch."""

    def __init__(self, *, bins: int = BINS, device: torch.device | str = "cpu") -> None:
        self.counts: Float64[Tensor, "3 bins"] = torch.zeros(3, bins, dtype=torch.float64, device=device)
        """For each bin: known pixels, sum of their confidences, those whose class was found; adds across processes."""

    def update(
        self, probabilities: Float[Tensor, "batch classes height width"], labels: UInt8[Tensor, "batch height width"]
    ) -> None:
        """Add a batch."""
        self.counts += count(probabilities, labels, bins=self.counts.shape[1]).to(self.counts.device)

    def error(self) -> Score:
        """ECE, 0 to 1; lower is better."""
        pixels, confidence, found = self.counts
        if not self.counts.isfinite().all():
            return Score(None, "a probability is not in 0 to 1 (nan, say), or a label is of no class")
        return ratio(float((found - confidence).abs().sum()), float(pixels.sum()), reason="no pixel is known")

    def table(self) -> tuple[Bin, ...]:
        """Confidence and accuracy of each bin, for a reliability diagram."""
        bins, empty = self.counts.shape[1], "no pixel is as confident"
        return tuple(
            Bin(
                number / bins, (number + 1) / bins, int(pixels),
                ratio(confidence, pixels, reason=empty), ratio(found, pixels, reason=empty),
            )
            for number, (pixels, confidence, found) in enumerate(zip(*self.counts.tolist(), strict=True))
        )  # fmt: skip


def _marked(
    confidence: Float[Tensor, "batch height width"], labels: UInt8[Tensor, "batch height width"], classes: int
) -> Float[Tensor, "batch height width"]:
    """Confidences, nan where there is no counting: it stays nan in any sum, and nobody has to wait for it."""
    return confidence.where((confidence >= 0) & (confidence <= 1) & (labels < classes), torch.nan)


def _check(confidence: Tensor) -> None:
    wrong = ~((confidence >= 0) & (confidence <= 1))
    if wrong.any():
        raise InputError(
            f"probabilities hold {float(confidence[wrong][0])}: they go from 0 to 1; put logits through a softmax, and "
            f"train a network that gives nan again: it has diverged"
        )

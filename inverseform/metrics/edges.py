"""Scores of edge detectors as in the BSDS benchmark: odsF, oisF and average precision (AP).

At each threshold the map of probabilities becomes lines (pixels at or above it, thinned to one pixel), which are
matched to those of each annotator (`metrics.edge_matching`), at most a share of the image's diagonal apart. Then

    recall    = annotated pixels that are matched, summed over the annotators, of all annotated ones
    precision = predicted pixels matched to any annotator, of all predicted ones
    F         = 2 precision recall / (precision + recall)

with counts pooled over the images. odsF (optimal dataset scale) is the F of the best threshold for the set, oisF
(optimal image scale) that of the counts of each image at its own best one, AP the area under precision over recall
(Arbelaez, Maire, Fowlkes and Malik, Contour detection and hierarchical image segmentation, IEEE TPAMI 33(5), 2011).

As in the benchmark's program: odsF is the best also between neighbouring thresholds, where recall and precision are
interpolated; precision where nothing is predicted is 0; AP sums the precision interpolated at recalls of 0, .01, ...,
1, which is 0 beyond the least and the greatest recall reached. docs/metrics-edges.md tells where it does otherwise.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from inverseform.metrics.edge_matching import match
from inverseform.metrics.score import check_alike
from inverseform.metrics.thinning import thin
from inverseform.settings import InputError

THRESHOLDS = tuple(step / 100 for step in range(1, 100))
"""Of the benchmark. A probability at the threshold is above it."""

TOLERANCE = 0.0075
"""Greatest distance of a matched pair, of the image's diagonal."""

FRACTIONS = 100
"""Points between two thresholds at which F is looked at, both ends included."""


class EdgeResult(NamedTuple):
    """What was counted at the edges of a set."""

    ods: float | None
    """F at the best threshold of the set."""
    threshold: float | None
    """That threshold."""
    ois: float | None
    """F with the best threshold of each image."""
    ap: float | None
    """Average precision."""
    images: int
    """Images with annotated edges."""
    empty: int
    """Images without, where every predicted pixel is a false one."""
    undefined: str | None
    """Why there is no score, or no AP."""


def count(
    probability: Float[Tensor, "height width"],
    annotators: Bool[Tensor, "annotators height width"],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    tolerance: float = TOLERANCE,
    valid: Bool[Tensor, "height width"] | None = None,
) -> Int64[Tensor, "thresholds 4"]:
    """For each threshold: annotated pixels matched, annotated pixels, predicted pixels matched, predicted pixels.

    Annotated pixels are summed over the annotators, who must have drawn lines one pixel wide; predicted pixels count
    once. Pixels that are not valid are taken out of both after thinning, so that a line is not thinned at their border.

    Raises:
        InputError: Probabilities are outside of 0 to 1, thresholds do not rise from above 0, or nobody has annotated.
    """
    check_alike(
        probability=probability.shape, annotators=annotators.shape[1:],
        valid=probability.shape if valid is None else valid.shape,
    )  # fmt: skip
    _check(probability, annotators)
    levels = _levels(thresholds).to(probability)
    radius = tolerance * math.hypot(*probability.shape)
    lines = thin(probability >= levels[:, None, None])
    if valid is not None:
        lines, annotators = lines & valid, annotators & valid
    lines = lines.cpu()
    anybody = torch.zeros_like(lines)
    hits = torch.zeros(len(lines), dtype=torch.int64)
    for annotated in annotators.cpu():
        found = match(lines, annotated, radius=radius)
        hits += found.sum((1, 2))
        anybody |= found
    drawn = torch.full_like(hits, int(annotators.sum()))
    return torch.stack([hits, drawn, anybody.sum((1, 2)), lines.sum((1, 2))], dim=1)


class EdgeScores:
    """The scores of a whole set, image by image."""

    def __init__(self, *, thresholds: Sequence[float] = THRESHOLDS, tolerance: float = TOLERANCE) -> None:
        self.thresholds = _levels(thresholds)
        self.tolerance = tolerance
        self.counts: Int64[Tensor, "thresholds 4"] = torch.zeros(len(thresholds), 4, dtype=torch.int64)
        """Those of `count`, summed over the images; adds across processes."""
        self.best: Int64[Tensor, " 4"] = torch.zeros(4, dtype=torch.int64)
        """The same of each image at its own best threshold; adds across processes."""
        self.images: Int64[Tensor, " 2"] = torch.zeros(2, dtype=torch.int64)
        """Images with annotated edges and without; adds across processes."""

    def update(
        self,
        probability: Float[Tensor, "height width"],
        annotators: Bool[Tensor, "annotators height width"],
        *,
        valid: Bool[Tensor, "height width"] | None = None,
    ) -> float | None:
        """Add an image; gives the F at its best threshold, or None if nobody has drawn an edge."""
        thresholds = self.thresholds.tolist()
        counts = count(probability, annotators, thresholds=thresholds, tolerance=self.tolerance, valid=valid)
        drawn = bool(counts[0, 1])
        recall, precision = rates(counts)
        scores = f_measure(recall, precision)
        # Of thresholds with the same F the lowest. Without edges all have none, and the fewest false pixels are best.
        at = int(scores.argmax() if drawn else counts[:, 3].argmin())
        self.counts += counts
        self.best += counts[at]
        self.images += torch.tensor([drawn, not drawn])
        return float(scores[at]) if drawn else None

    def scores(self) -> EdgeResult:
        """Scores of all that was added."""
        images, empty = self.images.tolist()
        if images == 0:
            reason = f"no edge is annotated in {empty} images, so there is no recall"
            return EdgeResult(None, None, None, None, images, empty, reason)
        recall, precision = rates(self.counts)
        ods, threshold = _best(self.thresholds, recall, precision)
        ap = average_precision(recall, precision)
        reason = "all thresholds have the same recall, and a point has no area under it" if ap is None else None
        return EdgeResult(ods, threshold, float(f_measure(*rates(self.best))), ap, images, empty, reason)


def rates(
    counts: Int64[Tensor, "*thresholds 4"],
) -> tuple[Float64[Tensor, "*thresholds"], Float64[Tensor, "*thresholds"]]:
    """Recall and precision; each is 0 where it has nothing to divide by."""
    found, drawn, right, predicted = counts.double().unbind(-1)
    return found / drawn.clamp(min=1), right / predicted.clamp(min=1)


def f_measure(recall: Float64[Tensor, "*shape"], precision: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """Harmonic mean of the two; 0 where both are."""
    both = recall + precision
    return 2 * recall * precision / torch.where(both > 0, both, 1.0)


def average_precision(
    recall: Float64[Tensor, " thresholds"], precision: Float64[Tensor, " thresholds"]
) -> float | None:
    """Area under precision over recall, or None if the recalls are all the same.

    Of thresholds with the same recall the lowest has a say, as in the benchmark's program.
    """
    points = dict(zip(recall.flip(0).tolist(), precision.flip(0).tolist(), strict=True))
    if len(points) < 2:
        return None
    reached = torch.tensor(sorted(points), dtype=torch.float64)
    height = torch.tensor([points[at] for at in sorted(points)], dtype=torch.float64)
    at = torch.arange(101, dtype=torch.float64) / 100
    right = torch.searchsorted(reached, at).clamp(1, len(reached) - 1)
    share = (at - reached[right - 1]) / (reached[right] - reached[right - 1])
    between = torch.lerp(height[right - 1], height[right], share)
    return float(between[(share >= 0) & (share <= 1)].sum()) / 100


def _best(
    thresholds: Float64[Tensor, " thresholds"],
    recall: Float64[Tensor, " thresholds"],
    precision: Float64[Tensor, " thresholds"],
) -> tuple[float, float]:
    """The greatest F, and its threshold, also between two thresholds."""
    curve = torch.stack([thresholds, recall, precision])
    if curve.shape[1] > 1:
        share = torch.linspace(0, 1, FRACTIONS, dtype=torch.float64)
        curve = torch.lerp(curve[:, :-1, None], curve[:, 1:, None], share).flatten(1)
    scores = f_measure(curve[1], curve[2])
    at = scores.argmax()
    return float(scores[at]), float(curve[0, at])


def _levels(thresholds: Sequence[float]) -> Float64[Tensor, " thresholds"]:
    levels = torch.tensor(thresholds, dtype=torch.float64)
    if len(levels) == 0 or levels[0] <= 0 or bool((levels.diff() <= 0).any()):
        raise InputError(f"thresholds {list(thresholds)}: they rise, and are above 0, which would make every pixel an"
                         " edge; leave them out for .01, .02, ..., .99")  # fmt: skip
    return levels


def _check(probability: Float[Tensor, "height width"], annotators: Bool[Tensor, "annotators height width"]) -> None:
    if annotators.dtype != torch.bool:
        raise InputError(f"annotators are of {annotators.dtype}: they are true on an edge; pass annotators > 0")
    if len(annotators) == 0:
        raise InputError("annotators: there are none; a picture has at least one map, all false if it has no edge")
    least, most = torch.stack(probability.aminmax()).tolist()
    # In this form nan passes neither way.
    if not (least >= 0 and most <= 1):
        raise InputError(f"probability: its values are {least:g} to {most:g}; a probability is 0 to 1: pass"
                         " torch.sigmoid(logits)")  # fmt: skip

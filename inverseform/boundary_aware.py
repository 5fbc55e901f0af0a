"""Boundary-aware segmentation, eq. (6): cross entropy, balanced boundary cross entropy and InverseForm, summed.

As in `loss`, predicted boundaries are logits, and each term is a zero with a gradient where nothing is to compare.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from pydantic import Field
from torch import Tensor, nn

from inverseform.boundary import boundaries, probability_boundaries
from inverseform.distance import DistanceName
from inverseform.loss import InverseFormLoss, enlarge
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

SegmentationLoss = Callable[[Tensor, Tensor], Tensor]


class LossParams(Settings):
    """The weights of eq. (6)."""

    beta: float = Field(ge=0)
    """Weight of the balanced boundary cross entropy."""
    gamma: float = Field(ge=0)
    """Weight of the InverseForm term; 0 leaves it out."""
    distance: DistanceName
    """Which distance of a transform from the identity the InverseForm term is."""


class LossTerms(NamedTuple):
    """The terms of eq. (6): scalars, unweighted but for the total."""

    total: Float[Tensor, ""]
    segmentation: Float[Tensor, ""]
    boundary: Float[Tensor, ""]
    inverseform: Float[Tensor, ""]


def balanced_cross_entropy(
    logits: Float[Tensor, "batch 1 height width"],
    boundary: Float[Tensor, "batch 1 height width"],
    valid: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """Weighted boundary cross entropy L_bxe of eq. (6): boundary and background count half each.

    The mean over the boundary pixels and the mean over the others, averaged; only where `valid`.
    """
    # In half precision no sum over more than 65504 pixels is finite.
    logits, boundary, valid = logits.float(), boundary.float(), valid.float()
    entropy = F.binary_cross_entropy_with_logits(logits, boundary, reduction="none")
    # Borders are some per cent of the pixels: unweighted, saying that there are none would cost next to nothing.
    means = [(entropy * part).sum() / part.sum().clamp(min=1) for part in (boundary * valid, (1 - boundary) * valid)]
    return (means[0] + means[1]) / 2


def cross_entropy(
    logits: Float[Tensor, "batch classes height width"],
    labels: Integer[Tensor, "batch height width"],
    *,
    ignore_index: int = IGNORE_INDEX,
) -> Float[Tensor, ""]:
    """Pixel-wise cross entropy L_xe of eq. (6): mean over the pixels whose class is known; 0, not nan, over none."""
    labels = labels.long()
    # torch's own mean would be 0/0 over a crop that is ignored as a whole.
    total = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="sum")
    return total / (labels != ignore_index).sum().clamp(min=1)


class BoundaryAwareLoss(nn.Module):
    """Eq. (6): segmentation loss + beta * balanced boundary cross entropy + gamma * InverseForm.

    Args:
        inverse: The InverseForm term; None leaves it out.
        beta: Weight of the boundary cross entropy.
        gamma: Weight of the InverseForm term.
        num_classes: How many classes there are.
        ignore_index: Label of a pixel whose class is not known.
        segmentation_loss: Takes logits and labels (int64) at the same size; cross entropy by default.
        boundary_weights: Weights of several boundary maps, made to sum to 1; equal by default.
    """

    def __init__(
        self,
        inverse: InverseFormLoss | None,
        *,
        beta: float,
        gamma: float,
        num_classes: int,
        ignore_index: int = IGNORE_INDEX,
        segmentation_loss: SegmentationLoss | None = None,
        boundary_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if gamma and inverse is None:
            raise InputError(
                f"gamma is {gamma} and there is no InverseForm loss: give one as `inverse`, or set gamma to 0"
            )
        if boundary_weights is not None and not sum(boundary_weights) > 0:
            raise InputError(
                f"boundary_weights are {list(boundary_weights)}: their sum must be above 0; give each map a weight"
            )
        self.inverse = inverse
        # Boundaries as the inverse network knows them; the paper's where there is none.
        self.boundary_options = {} if inverse is None else inverse.net.settings.boundary.model_dump()
        self.beta, self.gamma = beta, gamma
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.segmentation_loss = segmentation_loss
        self.boundary_weights = boundary_weights

    def forward(
        self,
        segmentation_logits: Float[Tensor, "batch classes rows columns"],
        labels: Integer[Tensor, "batch height width"],
        *,
        boundary_logits: Float[Tensor, "batch 1 _ _"] | Sequence[Float[Tensor, "batch 1 _ _"]] | None = None,
        boundary: Float[Tensor, "batch 1 height width"] | None = None,
        valid: Float[Tensor, "batch 1 height width"] | None = None,
    ) -> LossTerms:
        """All terms for a batch; logits may have any stride.

        Args:
            segmentation_logits: Class logits.
            labels: Class ids, or `ignore_index`.
            boundary_logits: One boundary map or several (deep supervision). None: derived, differentiably, from the
                class probabilities.
            boundary: True boundaries, in place of those of the labels.
            valid: Where `boundary` is known; everywhere by default.
        """
        if boundary is None:
            boundary, valid = boundaries(
                labels, num_classes=self.num_classes, ignore_index=self.ignore_index, **self.boundary_options
            )
        elif valid is None:
            valid = torch.ones_like(boundary)
        with torch.autocast(labels.device.type, enabled=False):
            logits = enlarge(segmentation_logits.float(), labels[:, None])
            segmentation = self._segmentation(logits, labels)
            if boundary_logits is None:
                boundary_logits = _logit(probability_boundaries(logits.softmax(dim=1)))
            maps = [boundary_logits] if isinstance(boundary_logits, Tensor) else list(boundary_logits)
            weights = self._weights(len(maps))
            maps = [enlarge(m.float(), boundary) for m in maps]
            crossed = moved = segmentation.new_zeros(())
            for weight, map in zip(weights, maps, strict=True):
                crossed = crossed + weight * balanced_cross_entropy(map, boundary, valid)
                if self.inverse is not None and self.gamma:
                    moved = moved + weight * self.inverse(map, boundary, valid)
        # Eq. (6). The terms are given unweighted too, so that curves of runs with other weights can be compared.
        return LossTerms(segmentation + self.beta * crossed + self.gamma * moved, segmentation, crossed, moved)

    def _segmentation(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.segmentation_loss is not None:
            # torch's losses take class ids of 64 bits alone; labels are often of 8.
            return self.segmentation_loss(logits, labels.long())
        return cross_entropy(logits, labels, ignore_index=self.ignore_index)

    def _weights(self, count: int) -> list[float]:
        given = [1.0] * count if self.boundary_weights is None else self.boundary_weights
        if len(given) != count:
            raise InputError(f"{count} boundary maps and {len(given)} boundary_weights: give one weight for each map")
        # Made to sum to 1, so that beta and gamma mean the same for one boundary map and for four.
        return [weight / sum(given) for weight in given]


def _logit(probabilities: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Logits of probabilities that may be exactly 0 or 1."""
    # 1e-4 bounds the logits by 9.2: beyond it a probability is certain, and its gradient in single precision is noise.
    return torch.logit(probabilities, eps=1e-4)

"""The first term of eq. (6): losses of class logits that count pixels, hard pixels, regions, or boundaries more.

All take logits and labels at the same size and give the mean over what is known: a zero with a gradient where nothing
is, the same for one image and for four copies of it. Sums are in single precision at least, whatever autocast does.
Given the `group` of processes that share a batch, each gives its part: their mean is the mean over the whole batch.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from pydantic import Field
from torch import Tensor, nn

from inverseform.boundary import boundaries
from inverseform.mutual_information import RmiParams, rmi
from inverseform.process_group import Held, ProcessGroup, ratio
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

ClassWeights = Literal["equal", "enet"] | tuple[Annotated[float, Field(ge=0)], ...]


class CrossEntropyParams(Settings):
    """Pixel-wise cross entropy."""

    name: Literal["cross_entropy"]
    class_weights: ClassWeights
    """equal; enet: rare classes count more, see `enet_weights`; or a weight for each class."""


class OhemParams(Settings):
    """Cross entropy of the hard pixels: online hard example mining."""

    name: Literal["ohem"]
    threshold: float = Field(gt=0, le=1)
    """A pixel is hard if the probability of its true class is not above this; 0.7 is usual."""
    min_kept: float = Field(gt=0, le=1)
    """Share of the known pixels of an image that are kept at least, the hardest first."""
    class_weights: ClassWeights


class BoundaryWeightedParams(Settings):
    """Cross entropy in which pixels near a boundary count more."""

    name: Literal["boundary_weighted"]
    weight: float = Field(ge=1)
    """How many times a pixel near a boundary counts."""
    radius: int = Field(ge=1, le=64)
    """Near: another class is at most so many pixels away, diagonals included."""
    class_weights: ClassWeights


SegmentationLossParams = Annotated[
    CrossEntropyParams | OhemParams | BoundaryWeightedParams | RmiParams, Field(discriminator="name")
]


def cross_entropy(
    logits: Float[Tensor, "batch classes height width"],
    labels: Integer[Tensor, "batch height width"],
    *,
    ignore_index: int = IGNORE_INDEX,
    class_weights: Float[Tensor, " classes"] | None = None,
    group: ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """Pixel-wise cross entropy L_xe of eq. (6): weighted mean over the known pixels; 0, not nan, over none."""
    entropy, weights = _entropy(logits, labels, ignore_index, class_weights)
    return _mean(entropy, weights, group)


def ohem(
    logits: Float[Tensor, "batch classes height width"],
    labels: Integer[Tensor, "batch height width"],
    *,
    threshold: float,
    min_kept: float,
    ignore_index: int = IGNORE_INDEX,
    class_weights: Float[Tensor, " classes"] | None = None,
    group: ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """Cross entropy over the hard pixels alone (online hard example mining, Shrivastava et al. 2016).

    Kept are the pixels whose true class has a probability of at most `threshold`, and as many of the hardest others as
    make `min_kept` of the known pixels of the image. Image by image, so that what is kept does not depend on how
    images are dealt out to batches and processes.
    """
    labels = labels.long()
    entropy, weights = _entropy(logits, labels, ignore_index, class_weights)
    known = labels != ignore_index
    ranked = entropy.detach().masked_fill(~known, -1).flatten(1).sort(dim=1, descending=True).values
    # The number is never read by the host: a GPU goes on without waiting.
    least = (known.flatten(1).sum(dim=1, keepdim=True).double() * min_kept).ceil().long()
    limit = ranked.gather(1, (least - 1).clamp(min=0)).clamp(max=-math.log(threshold))
    return _mean(entropy, weights * (entropy.detach() >= limit[..., None]), group)


def boundary_weighted(
    logits: Float[Tensor, "batch classes height width"],
    labels: Integer[Tensor, "batch height width"],
    *,
    weight: float,
    radius: int,
    ignore_index: int = IGNORE_INDEX,
    class_weights: Float[Tensor, " classes"] | None = None,
    group: ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """Cross entropy in which a pixel counts `weight` times if another class is at most `radius` pixels away.

    The weighted mean, so that its scale is that of plain cross entropy.
    """
    near, _ = boundaries(
        labels, num_classes=logits.shape[1], ignore_index=ignore_index, operator="inequality", radius=radius
    )
    entropy, weights = _entropy(logits, labels, ignore_index, class_weights)
    return _mean(entropy, weights * (1 + (weight - 1) * near[:, 0]), group)


def enet_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """A weight for each class, 1 / ln(1.02 + p), p its share of the known pixels (Paszke et al. 2016, sec. 5.2).

    Between 1.4 for a class that is everywhere and 50.5 for one that is nowhere.

    >>> [round(weight, 2) for weight in enet_weights([90, 10, 0])]
    [1.53, 8.82, 50.5]
    """
    if not sum(counts) > 0:
        raise InputError(f"class counts are {list(counts)}: none of the labels is known; give labels with known pixels")
    return tuple(1 / math.log(1.02 + count / sum(counts)) for count in counts)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "ohem": ohem,
    "boundary_weighted": boundary_weighted,
    "rmi": rmi,
}
"""By the names of the settings, whose other fields are the keyword arguments."""


class SegmentationLoss(nn.Module):
    """A segmentation loss with its settings, and the weights of its classes: buffers that are not saved, and stay fp32.

    Args:
        params: Which loss.
        num_classes: How many classes there are.
        ignore_index: Label of a pixel whose class is not known.
        counts: Pixels of each class in the training labels, for class weights that are made from them.
        group: Processes that share each batch.

    Raises:
        InputError: There is not one weight or count for each class, or none is above 0.
    """

    def __init__(
        self,
        params: SegmentationLossParams,
        *,
        num_classes: int,
        ignore_index: int = IGNORE_INDEX,
        counts: Sequence[int] | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        self.name = params.name
        self.options = {**params.model_dump(exclude={"name", "class_weights"}), "ignore_index": ignore_index}
        weights = None if isinstance(params, RmiParams) else _weights(params.class_weights, num_classes, counts)
        self.register_buffer("class_weights", None if weights is None else torch.tensor(weights), persistent=False)
        self.class_weights: Tensor | None
        self._held = Held(group)

    @property
    def group(self) -> ProcessGroup | None:
        """Processes that share each batch."""
        return self._held.group

    def forward(
        self,
        logits: Float[Tensor, "batch classes height width"],
        labels: Integer[Tensor, "batch height width"],
    ) -> Float[Tensor, ""]:
        """The loss of a batch."""
        weights = {} if self.class_weights is None else {"class_weights": self.class_weights}
        with torch.autocast(labels.device.type, enabled=False):
            return LOSSES[self.name](logits, labels, group=self.group, **self.options, **weights)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SegmentationLoss":
        """Follow a move to another device, not a change of precision."""
        if self.class_weights is not None:
            # An integer shows where fn moves things and is left alone by .half(), .float() and .double().
            device = fn(torch.zeros(1, dtype=torch.int64, device=self.class_weights.device)).device
            self.class_weights = self.class_weights.to(device)
        return self


def _weights(chosen: ClassWeights, num_classes: int, counts: Sequence[int] | None) -> tuple[float, ...] | None:
    if chosen == "equal":
        return None
    if chosen == "enet" and (counts is None or len(counts) != num_classes):
        raise InputError(
            f"class_weights are 'enet' and the counts of pixels are {counts and list(counts)}: give one for each of "
            f"the {num_classes} classes as `counts`"
        )
    weights = enet_weights(counts or ()) if isinstance(chosen, str) else chosen
    if len(weights) != num_classes or not sum(weights) > 0:
        raise InputError(
            f"class_weights are {list(weights)}: one for each of the {num_classes} classes, not all of them 0; or "
            f"write 'equal' or 'enet'"
        )
    return weights


def _entropy(
    logits: Tensor, labels: Tensor, ignore_index: int, class_weights: Tensor | None
) -> tuple[Float[Tensor, "batch height width"], Float[Tensor, "batch height width"]]:
    """Cross entropy of every pixel, and its weight: 0 where the class is not known."""
    # torch's own takes class ids of 64 bits alone, and the label -100 does not fit into 8. In half precision no sum
    # over more than 65504 pixels is finite; double stays.
    labels, logits = labels.long(), logits.to(torch.promote_types(logits.dtype, torch.float32))
    known = labels != ignore_index
    entropy = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="none")
    if class_weights is None:
        return entropy, known.to(entropy)
    return entropy, known * class_weights.to(entropy)[labels.where(known, 0)]


def _mean(
    values: Float[Tensor, "*shape"], weights: Float[Tensor, "*shape"], group: ProcessGroup | None
) -> Float[Tensor, ""]:
    # torch's own mean would be 0/0 over a crop that is ignored as a whole. The reciprocal of the least sum of weights,
    # times the number of processes, must be finite in single precision: it is in the gradient.
    return ratio((values * weights).sum(), weights.sum(), group, least=1e-30)

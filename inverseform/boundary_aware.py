"""Boundary-aware segmentation, eq. (6): cross entropy, balanced boundary cross entropy and InverseForm, summed.

As in `loss`, predicted boundaries are logits, and each term is a zero with a gradient where nothing is to compare. No
term depends on how a batch is dealt out to processes, if the loss is given their group.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn

from inverseform.boundary import boundaries
from inverseform.coupling import BoundaryFrom, BoundaryOutput, LossParams, class_boundary_logits, debias
from inverseform.loss import InverseFormLoss, enlarge
from inverseform.process_group import Held, ProcessGroup, ratio
from inverseform.sample import IGNORE_INDEX
from inverseform.segmentation_loss import SegmentationLoss, cross_entropy
from inverseform.settings import InputError


class LossTerms(NamedTuple):
    """The terms of eq. (6): scalars, unweighted but for the total."""

    total: Float[Tensor, ""]
    segmentation: Float[Tensor, ""]
    boundary: Float[Tensor, ""]
    inverseform: Float[Tensor, ""]
    """0 while gamma is 0: it is not computed then."""
    auxiliary: Float[Tensor, ""]
    """Segmentation loss of the side outputs, times the weight that each brings."""
    gamma: Float[Tensor, ""]
    """What InverseForm was multiplied by."""


def balanced_cross_entropy(
    logits: Float[Tensor, "batch 1 height width"],
    boundary: Float[Tensor, "batch 1 height width"],
    valid: Float[Tensor, "batch 1 height width"],
    *,
    group: ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """Weighted boundary cross entropy L_bxe of eq. (6): boundary and background count half each.

    The mean over the boundary pixels and the mean over the others, averaged; only where `valid`. Given the `group` that
    shares the batch, its processes' answers have those of the whole batch as their mean.
    """
    # In half precision no sum over more than 65504 pixels is finite.
    logits, boundary, valid = logits.float(), boundary.float(), valid.float()
    entropy = F.binary_cross_entropy_with_logits(logits, boundary, reduction="none")
    # Borders are some per cent of the pixels: unweighted, saying that there are none would cost next to nothing.
    parts = (boundary * valid, (1 - boundary) * valid)
    totals = torch.stack([(entropy * part).sum() for part in parts])
    return ratio(totals, torch.stack([part.sum() for part in parts]), group).mean()


class BoundaryAwareLoss(nn.Module):
    """Eq. (6): segmentation loss + beta * balanced boundary cross entropy + gamma * InverseForm.

    Args:
        inverse: The InverseForm term; None leaves it out.
        beta: Weight of the boundary cross entropy.
        gamma: Weight of the InverseForm term.
        num_classes: How many classes there are.
        ignore_index: Label of a pixel whose class is not known.
        segmentation_loss: Takes logits and labels (int64) at the same size; cross entropy by default. One of your own
            counts by itself, whatever `group` is.
        boundary_weights: Weights of several boundary maps of a head, made to sum to 1; equal by default.
        boundary_from: Which boundary the boundary terms see, see `LossParams`; by default the head's if there is one,
            else the classes'.
        boundary_outputs: Of which outputs, see `LossParams`.
        debias: Whether a head's logits are corrected for the balance of its cross entropy before InverseForm sees them.
        group: Processes that share each batch, as under data-parallel training, which averages their gradients: these
            are then those of the loss of the whole batch, whatever is known in each share. All of them must compute
            the loss, with the same outputs and gamma. By default nobody is asked.

    Raises:
        InputError: A term is given another group.
    """

    def __init__(
        self,
        inverse: InverseFormLoss | None,
        *,
        beta: float,
        gamma: float,
        num_classes: int,
        ignore_index: int = IGNORE_INDEX,
        segmentation_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        boundary_weights: Sequence[float] | None = None,
        boundary_from: BoundaryFrom | None = None,
        boundary_outputs: Sequence[BoundaryOutput] = ("main", "scales"),
        debias: bool = False,
        group: ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        _check_gamma(gamma, inverse)
        _check_group(group, inverse=inverse, segmentation_loss=segmentation_loss)
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
        self.boundary_from, self.boundary_outputs, self.debias = boundary_from, tuple(boundary_outputs), debias
        self._held = Held(group)

    @property
    def group(self) -> ProcessGroup | None:
        """Processes that share each batch."""
        return self._held.group

    @classmethod
    def of(
        cls,
        params: LossParams,
        inverse: InverseFormLoss | None,
        *,
        num_classes: int,
        ignore_index: int = IGNORE_INDEX,
        counts: Sequence[int] | None = None,
        group: ProcessGroup | None = None,
    ) -> "BoundaryAwareLoss":
        """The loss of settings; `counts` are the pixels of each class, for class weights that are made from them.

        `group` is that of the class, which `inverse` must have too. The gamma is that of the end of the training: give
        `forward` the one of the step, by `gamma_at`.
        """
        segmentation = SegmentationLoss(
            params.segmentation, num_classes=num_classes, ignore_index=ignore_index, counts=counts, group=group
        )
        return cls(
            inverse, beta=params.beta, gamma=params.gamma, num_classes=num_classes, ignore_index=ignore_index,
            segmentation_loss=segmentation, boundary_from=params.boundary_from,
            boundary_outputs=params.boundary_outputs, debias=params.debias, group=group,
        )  # fmt: skip

    def forward(
        self,
        segmentation_logits: Float[Tensor, "batch classes rows columns"],
        labels: Integer[Tensor, "batch height width"],
        *,
        boundary_logits: Float[Tensor, "batch 1 _ _"] | Sequence[Float[Tensor, "batch 1 _ _"]] | None = None,
        boundary: Float[Tensor, "batch 1 height width"] | None = None,
        valid: Float[Tensor, "batch 1 height width"] | None = None,
        auxiliary: Sequence[tuple[Tensor, float]] = (),
        boundary_at_scales: Sequence[Float[Tensor, "batch 1 _ _"]] = (),
        gamma: float | None = None,
    ) -> LossTerms:
        """All terms for a batch; logits may have any stride.

        Args:
            segmentation_logits: Class logits.
            labels: Class ids, or `ignore_index`.
            boundary_logits: A head's boundary map, or several (deep supervision).
            boundary: True boundaries, in place of those of the labels.
            valid: Where `boundary` is known; everywhere by default.
            auxiliary: Class logits of side outputs, each with the weight of its segmentation loss.
            boundary_at_scales: The head's boundary maps at further scales.
            gamma: In place of that of the loss, where it changes while training.
        """
        gamma = self.gamma if gamma is None else gamma
        _check_gamma(gamma, self.inverse)
        if boundary is None:
            boundary, valid = boundaries(
                labels, num_classes=self.num_classes, ignore_index=self.ignore_index, **self.boundary_options
            )
        elif valid is None:
            valid = torch.ones_like(boundary)
        with torch.autocast(labels.device.type, enabled=False):
            classes = [
                enlarge(each.float(), labels[:, None]) for each in (segmentation_logits, *(a[0] for a in auxiliary))
            ]
            segmentation, *sides = (self._segmentation(logits, labels) for logits in classes)
            aside = crossed = moved = segmentation.new_zeros(())
            for side, (_, weight) in zip(sides, auxiliary, strict=True):
                aside = aside + weight * side
            for weight, map, learned in self._maps(boundary_logits, boundary_at_scales, classes):
                map = enlarge(map.float(), boundary)
                crossed = crossed + weight * balanced_cross_entropy(map, boundary, valid, group=self.group)
                if self.inverse is not None and gamma:
                    seen = debias(map, boundary, valid, group=self.group) if self.debias and learned else map
                    moved = moved + weight * self.inverse(seen, boundary, valid)
        # Eq. (6). The terms are given unweighted too, so that curves of runs with other weights can be compared.
        total = segmentation + aside + self.beta * crossed + gamma * moved
        return LossTerms(total, segmentation, crossed, moved, aside, torch.full_like(total, gamma))

    def weighted(self, terms: LossTerms) -> dict[str, Float[Tensor, ""]]:
        """The terms as they stand in the total, which is their sum: what `gradient_norms` is to be asked about."""
        return {
            "segmentation": terms.segmentation,
            "auxiliary": terms.auxiliary,
            "boundary": self.beta * terms.boundary,
            "inverseform": terms.gamma * terms.inverseform,
        }

    def _segmentation(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.segmentation_loss is not None:
            # torch's losses take class ids of 64 bits alone; labels are often of 8.
            return self.segmentation_loss(logits, labels.long())
        return cross_entropy(logits, labels, ignore_index=self.ignore_index, group=self.group)

    def _maps(
        self, given: Tensor | Sequence[Tensor] | None, scales: Sequence[Tensor], classes: list[Tensor]
    ) -> list[tuple[float, Tensor, bool]]:
        """The boundary maps that the terms see: the weight of each, its logits, and whether a head made it."""
        source = self.boundary_from or ("classes" if given is None else "head")
        heads = [given] if isinstance(given, Tensor) else list(given or ())
        learned = self._chosen({"main": heads, "scales": scales}) if source != "classes" else []
        derived = self._chosen({"main": classes[:1], "auxiliary": classes[1:]}) if source != "head" else []
        groups = [group for group, asked in ((learned, source != "classes"), (derived, source != "head")) if asked]
        if not all(groups):
            raise InputError(
                f"boundary_from is {source!r} and boundary_outputs are {', '.join(self.boundary_outputs)}: no map is "
                f"among them; give boundary_logits, or write boundary_from='classes' and boundary_outputs=['main']"
            )
        maps = [*learned, *(class_boundary_logits(logits) for logits in derived)]
        weights = self._weights([1 / len(group) for group in groups for _ in group])
        return list(zip(weights, maps, [True] * len(learned) + [False] * len(derived), strict=True))

    def _chosen(self, maps: dict[BoundaryOutput, Sequence[Tensor]]) -> list[Tensor]:
        return [each for output, some in maps.items() if output in self.boundary_outputs for each in some]

    def _weights(self, default: list[float]) -> list[float]:
        given = default if self.boundary_weights is None else self.boundary_weights
        if len(given) != len(default):
            raise InputError(
                f"{len(default)} boundary maps and {len(given)} boundary_weights: give one weight for each map"
            )
        # Made to sum to 1, so that beta and gamma mean the same for one boundary map and for four.
        return [weight / sum(given) for weight in given]


def _check_gamma(gamma: float, inverse: InverseFormLoss | None) -> None:
    if gamma and inverse is None:
        raise InputError(f"gamma is {gamma} and there is no InverseForm loss: give one as `inverse`, or set gamma to 0")


def _check_group(
    group: ProcessGroup | None, *, inverse: InverseFormLoss | None, segmentation_loss: Callable[..., Tensor] | None
) -> None:
    for term in (inverse, segmentation_loss):
        if isinstance(term, (InverseFormLoss, SegmentationLoss)) and term.group is not group:
            raise InputError(
                f"group is {group} and that of {type(term).__name__} is {term.group}: a term would be the mean of "
                f"another batch than the rest; give all of them the same group"
            )

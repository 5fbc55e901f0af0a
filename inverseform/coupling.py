"""How the terms of eq. (6) reach a segmentation network: through which maps, when, and how strongly.

An auxiliary head beside the segmentation head reaches the segmentation through the shared features alone; a boundary
map that is derived from the class probabilities reaches it directly. The gradients of the terms tell.
"""

from collections.abc import Mapping
from itertools import product
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from inverseform.boundary import probability_boundaries
from inverseform.distance import DistanceName
from inverseform.process_group import ProcessGroup, summed
from inverseform.segmentation_loss import SegmentationLossParams
from inverseform.settings import InputError, Settings

BoundaryFrom = Literal["head", "classes", "both"]
BoundaryOutput = Literal["main", "auxiliary", "scales"]


class LossParams(Settings):
    """The terms of eq. (6), their weights, and which outputs of a network they see."""

    segmentation: SegmentationLossParams
    """The loss of the class logits, of those of side outputs too."""
    beta: float = Field(ge=0)
    """Weight of the balanced boundary cross entropy."""
    gamma: float = Field(ge=0)
    """Weight of the InverseForm term; 0 leaves it out."""
    gamma_start: float = Field(ge=0, lt=1)
    """Share of the training before which gamma is 0."""
    gamma_ramp: float = Field(ge=0, le=1)
    """Share of the training over which gamma grows linearly from there."""
    distance: DistanceName
    """Which distance of a transform from the identity the InverseForm term is."""
    boundary_from: BoundaryFrom
    """Which boundary both boundary terms see. head: the boundary head's; classes: derived, differentiably, from the
    class probabilities, and a head learns nothing, so that the network should have none; both: half of each."""
    boundary_outputs: tuple[BoundaryOutput, ...] = Field(min_length=1)
    """Of which outputs. main: the boundary head, or the segmentation; scales: the boundary head at further scales;
    auxiliary: the class logits of side outputs."""
    debias: bool
    """Whether a head's logits are corrected for the balance of its cross entropy before InverseForm sees them."""

    @model_validator(mode="after")
    def _the_ramp_ends(self) -> "LossParams":
        if self.gamma_start + self.gamma_ramp > 1:
            raise ValueError(
                f"gamma_start and gamma_ramp are {self.gamma_start} and {self.gamma_ramp}: gamma would never be "
                f"reached; their sum is at most 1"
            )
        return self


def gamma_at(params: LossParams, progress: float) -> float:
    """Gamma at a share of the training, 0 to 1: 0 until gamma_start, then linear over gamma_ramp."""
    if not 0 <= progress <= 1:
        raise InputError(f"progress is {progress}: it goes from 0 to 1; give the step divided by the number of steps")
    if progress < params.gamma_start:
        return 0.0
    since = progress - params.gamma_start
    return params.gamma * (min(1.0, since / params.gamma_ramp) if params.gamma_ramp else 1.0)


def class_boundary_logits(
    logits: Float[Tensor, "batch classes height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """Boundary logits derived from class logits, differentiably: those of `probability_boundaries`."""
    # 1e-4 bounds the logits by 9.2: beyond it a probability is certain, and its gradient in single precision is noise.
    return torch.logit(probability_boundaries(logits.softmax(dim=1)), eps=1e-4)


def debias(
    boundary_logits: Float[Tensor, "batch 1 height width"],
    boundary: Float[Tensor, "batch 1 height width"],
    valid: Float[Tensor, "batch 1 height width"],
    *,
    group: ProcessGroup | None = None,
) -> Float[Tensor, "batch 1 height width"]:
    """Boundary logits of a head that was trained with balanced cross entropy, as the pixels' own frequencies have them.

    Balanced, boundary and background count half each: the head learns the posterior of a world that is half boundary,
    too thick for what is to be measured. By Bayes' rule, logit(P) = balanced logit + log(pi / (1 - pi)), with pi the
    share of boundary pixels among those that are known: in the whole batch, given the `group` that shares it.
    """
    edges, known = summed(torch.stack([(boundary * valid).sum(), valid.sum()]), group)
    # Without any boundary, or without anything else, the share is held at half a pixel: its logit stays finite.
    half = 0.5 / known.clamp(min=1)
    share = (edges / known.clamp(min=1)).clamp(half, 1 - half)
    return boundary_logits + torch.logit(share)


def gradient_norms(terms: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Float[Tensor, ""]]:
    """Euclidean norm of the gradient of each term with respect to each tensor, as `gradient_<term>_<tensor>`.

    To be asked before `backward`. Nothing behind the tensors is touched: given a network's outputs, it costs a way back
    through the loss for each term and none through the network. 0 where a term does not depend on a tensor.

    Args:
        terms: Scalars, such as `BoundaryAwareLoss.weighted` gives.
        tensors: What they were computed from, such as the class logits and the boundary logits.

    >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> gradient_norms({"half": x.square().sum() / 2}, {"x": x})
    {'gradient_half_x': tensor(5.)}
    """
    found = {name: gradients(term, tensors) for name, term in terms.items()}
    return {f"gradient_{name}_{place}": found[name][place].norm() for name, place in product(terms, tensors)}


def gradient_cosine(one: Float[Tensor, ""], other: Float[Tensor, ""], tensor: Tensor) -> Float[Tensor, ""]:
    """Cosine between the gradients of two terms with respect to a tensor: 1 if they pull the same way, -1 if opposed.

    0 where a term does not depend on the tensor. To be asked before `backward`.
    """
    mine, yours = (gradients(term, {"": tensor})[""] for term in (one, other))
    return cosine(mine, yours)


def cosine(one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Cosine between two gradients that were asked for already; 0 where one of them is."""
    # In double precision: a million products that nearly cancel are summed.
    return torch.cosine_similarity(one.flatten().double(), other.flatten().double(), dim=0).float()


def gradients(term: Float[Tensor, ""], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of a term with respect to tensors, by their names; zeros where it does not depend on one.

    In single precision at least: the square of a small number of 16 bits is 0. To be asked before `backward`.
    """
    if not (term.requires_grad and tensors):
        return {name: torch.zeros_like(tensor, dtype=_wide(tensor)) for name, tensor in tensors.items()}
    found = torch.autograd.grad(
        term, list(tensors.values()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return {name: gradient.to(_wide(gradient)) for name, gradient in zip(tensors, found, strict=True)}


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)

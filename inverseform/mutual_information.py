"""Region mutual information, the segmentation loss of hierarchical multi-scale attention (Zhao et al. 2019).

A pixel and its neighbours are one point of as many dimensions; a class is predicted well if the points of its label map
can be told from those of its probability map. Source: arXiv 1910.12037.

As in the authors' code (github.com/ZJULearning/RMI): a sigmoid for each class, cross entropy summed over the classes
and averaged over the known pixels, both maps 0 where the label is not known, covariances in double precision. Otherwise
than there, so that the loss does not depend on the size of crops and batches:

- The ridge is added to covariances. Theirs, 5e-4, is added to sums over all points, and so is weaker in larger crops:
  the two agree at 500 points.
- Cells lie side by side from the upper left corner, inside the image. Theirs begin half a cell outside of it, and those
  at the frame hold zeros that are in no image.
- The mean over the known pixels divides by their number; theirs by one more.
- A constant is taken off, see `unexplained`; it has no gradient.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Integer
from pydantic import Field
from torch import Tensor

from inverseform.process_group import ProcessGroup, ratio
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

Pooling = Literal["average", "max"]
RIDGE = 1e-6
"""Variance added to every covariance: a class that is nowhere, or predicted flat, has one of 0."""


class RmiParams(Settings):
    """Binary cross entropy and region mutual information."""

    name: Literal["rmi"]
    weight: float = Field(ge=0, le=1)
    """Weight of the binary cross entropy, the paper's lambda, there 0.5; the rest is that of the mutual information."""
    radius: int = Field(ge=1, le=7)
    """Cells along a side of a region, as the paper counts its radius; it uses 3."""
    downsampling: int = Field(ge=1)
    """Pixels along a side of a cell; the authors' runs have 4."""
    pooling: Pooling
    """What a cell holds of its pixels: their average, as in the authors' runs, or the largest."""


def rmi(
    logits: Float[Tensor, "batch classes height width"],
    labels: Integer[Tensor, "batch height width"],
    *,
    weight: float,
    radius: int,
    downsampling: int,
    pooling: Pooling,
    ignore_index: int = IGNORE_INDEX,
    group: ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """Binary cross entropy, times `weight`, and the negative region mutual information, times what is left of 1.

    Each class is a map of its own, with a sigmoid. Both parts are summed over the classes. Both maps are 0 where the
    label is not known: there they agree. Given the `group` that shares the batch, its processes' answers have the loss
    of the whole batch as their mean.

    Raises:
        InputError: No region fits into the image.
    """
    if min(logits.shape[-2:]) < radius * downsampling:
        raise InputError(
            f"labels are {logits.shape[-2]}x{logits.shape[-1]} pixels: a region of rmi has {radius} cells of "
            f"{downsampling} pixels along a side, {radius * downsampling}; give larger crops, or less downsampling"
        )
    labels, logits = labels.long(), logits.to(torch.promote_types(logits.dtype, torch.float32))
    known = (labels != ignore_index)[:, None]
    classes = torch.arange(logits.shape[1], device=labels.device)[:, None, None]
    target = ((labels[:, None] == classes) & known).to(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * known
    shrink = F.avg_pool2d if pooling == "average" else F.max_pool2d
    # Log-determinants of nearly singular matrices: single precision has too few digits for them.
    wanted, given = (_regions(shrink(x, downsampling), radius).double() for x in (target, logits.sigmoid() * known))
    information = unexplained(wanted, given).sum().to(logits)
    # Over the known pixels, and over the images.
    amounts = torch.stack([known.sum().to(logits), torch.full_like(information, len(logits))])
    crossed, left = ratio(torch.stack([entropy.sum(), information]), amounts, group)
    return weight * crossed + (1 - weight) * left


def unexplained(
    wanted: Float[Tensor, "*batch size points"], given: Float[Tensor, "*batch size points"]
) -> Float[Tensor, "*batch"]:
    """Log-determinant of what a linear regression on `given` leaves of the covariance of `wanted`, per dimension.

    The negative lower bound of the mutual information of two sets of points, log det(M) / 2d with
    M = cov(y) - cov(y, p) cov(p)^-1 cov(p, y), by Cholesky factors; RIDGE is added to cov(p) and to M. A constant,
    log(RIDGE) / 2, is taken off: it is 0 where `wanted` does not vary, and never below.
    """
    wanted, given = (x - x.mean(dim=-1, keepdim=True) for x in (wanted, given))
    points, size = wanted.shape[-1], wanted.shape[-2]
    ridge = RIDGE * torch.eye(size, dtype=wanted.dtype, device=wanted.device)
    # With errors left unchecked, as a check would make the host wait. Nothing but a prediction that is not finite
    # makes the matrices indefinite, and that shows in the loss.
    root = torch.linalg.cholesky_ex(given @ given.mT / points + ridge).L
    explained = torch.linalg.solve_triangular(root, given @ wanted.mT / points, upper=False)
    left = torch.linalg.cholesky_ex(wanted @ wanted.mT / points - explained.mT @ explained + ridge).L
    return left.diagonal(dim1=-2, dim2=-1).log().mean(dim=-1) - math.log(RIDGE) / 2


def _regions(maps: Float[Tensor, "batch classes rows columns"], side: int) -> Float[Tensor, "batch classes _ points"]:
    """Every square of so many cells along a side as a point: its cells are the coordinates."""
    squares = maps.unfold(2, side, 1).unfold(3, side, 1)
    return rearrange(squares, "batch classes y x a b -> batch classes (a b) (y x)")

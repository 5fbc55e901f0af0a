"""Boundary difference over union loss (Sun et al., MICCAI 2023, arXiv 2308.00220).

For each class, with G its true pixels and P its probabilities,

    L = (|G u P| - |G n P|) / (|G u P| - alpha |G n P|),   alpha = 1 - 2 C / S,

with soft sets: |G n P| = sum g p, and |G u P| + |G n P| = sum g^2 + sum p^2. S is the number of the class's true pixels
and C of those on its boundary, so that of a large class, whose boundary is a small share, the inside is taken off.

Alpha is in [0, 1), as the paper writes, and at most 0.8, as it truncates it; it is that of the class in the batch.
The mean is over the classes that are there: of one that is not, the ratio is 1 whatever is predicted. Ignored pixels
are in neither set, and neither they nor the frame of the image make a boundary.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from inverseform.sample import IGNORE_INDEX

MOST = 0.8
"""The largest alpha."""


def boundary_dou(
    logits: Float[Tensor, "batch classes height width"], labels: Integer[Tensor, "batch height width"]
) -> Float[Tensor, ""]:
    """The loss of class logits, at the size of the labels, in [0, 1]; a zero with a gradient where nothing is known."""
    known = labels != IGNORE_INDEX
    p = logits.float().softmax(dim=1) * known[:, None]
    # One class more for ignored pixels, which is then taken off.
    classes = logits.shape[1]
    ids = labels.long().where(known, classes)
    g = F.one_hot(ids, classes + 1).movedim(-1, 1)[:, :classes].float()
    size, alpha = g.sum(dim=(0, 2, 3)), _alpha(g, labels)
    shared, squares = (p * g).sum(dim=(0, 2, 3)), (p * p).sum(dim=(0, 2, 3)) + size
    there = size > 0
    # Of a class that is there the denominator is at least a tenth of its size, as squares are at least 2 * shared.
    ratio = (squares - 2 * shared) / (squares - (1 + alpha) * shared).where(there, 1)
    return (ratio * there).sum() / there.sum().clamp(min=1)


def _alpha(g: Float[Tensor, "batch classes height width"], labels: Integer[Tensor, "batch height width"]) -> Tensor:
    """1 - 2 C / S for each class, held between 0 and `MOST`."""
    edge = torch.zeros_like(labels, dtype=torch.bool)
    for axis in (1, 2):
        one, other = labels.narrow(axis, 0, labels.shape[axis] - 1), labels.narrow(axis, 1, labels.shape[axis] - 1)
        differs = (one != other) & (one != IGNORE_INDEX) & (other != IGNORE_INDEX)
        # Both sides of a border: each is the boundary of its own class.
        edge.narrow(axis, 0, differs.shape[axis]).logical_or_(differs)
        edge.narrow(axis, 1, differs.shape[axis]).logical_or_(differs)
    boundary, size = (g * edge[:, None]).sum(dim=(0, 2, 3)), g.sum(dim=(0, 2, 3))
    return (1 - 2 * boundary / size.clamp(min=1)).clamp(0, MOST)

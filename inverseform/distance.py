"""How far a transform is from doing nothing."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Distance = Callable[[Float[Tensor, "batch 3 3"]], Float[Tensor, " batch"]]
DistanceName = Literal["euclidean"]


def euclidean(theta: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Frobenius distance of a transform from the identity, eq. (1).

    Zero only at the identity, where its gradient is zero too, not nan.

    >>> euclidean(torch.eye(3))
    tensor(0.)
    """
    # vector_norm, not (x * x).sum().sqrt(): the gradient of that is nan at the identity, a perfect prediction.
    return torch.linalg.vector_norm(theta - torch.eye(3, dtype=theta.dtype, device=theta.device), dim=(-2, -1))


DISTANCES: dict[DistanceName, Distance] = {"euclidean": euclidean}
"""The distances by the name they have in settings."""

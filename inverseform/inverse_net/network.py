"""What every inverse network is: an answer in two steps, the target's first."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from inverseform.settings import InputError

Embedded = Tensor | Sequence[Tensor]
"""What a network keeps of the targets: tensors whose first axis is the batch."""


class Network(nn.Module, ABC):
    """Tiles in [0, 1] to normalised offsets from the identity.

    The tiles come averaged over squares of `pooling` pixels: `side` is what that leaves of a tile's own pixels.
    """

    @abstractmethod
    def embed(self, target: Float[Tensor, "batch side side"]) -> Any:  # noqa: ANN401 (each network's own `Embedded`)
        """All that the answer needs of the target."""

    @abstractmethod
    def compare(
        self,
        predicted: Float[Tensor, "batch side side"],
        embedded: Any,  # noqa: ANN401
    ) -> Float[Tensor, "batch numbers"]:
        """Normalised offsets of the transform that maps `predicted` to the embedded target."""

    def itself(self, target: Float[Tensor, "batch side side"], embedded: Any) -> Float[Tensor, "batch numbers"]:  # noqa: ANN401
        """The answer to a tile and itself: what calibration takes off."""
        return self.compare(target, embedded)

    def refine(
        self,
        predicted: Float[Tensor, "batch side side"],
        embedded: Any,  # noqa: ANN401
    ) -> list[Float[Tensor, "batch numbers"]]:
        """All answers on the way to that of `compare`, which is the last; training asks each of them to be right."""
        return [self.compare(predicted, embedded)]


def demand_multiple(side: int, least: int, pooling: int) -> None:
    """Refuse a tile that a network cannot divide.

    Args:
        side: Of a tile, after pooling.
        least: What it must be a multiple of.
        pooling: What a pixel after pooling is of the tile's own, for what is said.

    Raises:
        InputError: It is no multiple.
    """
    if side % least:
        tile, whole = side * pooling, least * pooling
        raise InputError(
            f"tile is {tile} and network.pooling {pooling}: this network halves a tile down to parts of {whole} "
            f"pixels, so it must be a multiple of that; set the tile to {-(-tile // whole) * whole}"
        )

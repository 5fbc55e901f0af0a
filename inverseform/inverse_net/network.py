"""What every inverse network is: an answer in two steps, the target's first."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

Embedded = Tensor | Sequence[Tensor]
"""What a network keeps of the targets: tensors whose first axis is the batch."""


class Network(nn.Module, ABC):
    """Tiles in [0, 1] to normalised offsets from the identity."""

    @abstractmethod
    def embed(self, target: Float[Tensor, "batch tile tile"]) -> Any:  # noqa: ANN401 (each network's own `Embedded`)
        """All that the answer needs of the target."""

    @abstractmethod
    def compare(
        self,
        predicted: Float[Tensor, "batch tile tile"],
        embedded: Any,  # noqa: ANN401
    ) -> Float[Tensor, "batch numbers"]:
        """Normalised offsets of the transform that maps `predicted` to the embedded target."""

    def itself(self, target: Float[Tensor, "batch tile tile"], embedded: Any) -> Float[Tensor, "batch numbers"]:  # noqa: ANN401
        """The answer to a tile and itself: what calibration takes off."""
        return self.compare(target, embedded)

    def refine(
        self,
        predicted: Float[Tensor, "batch tile tile"],
        embedded: Any,  # noqa: ANN401
    ) -> list[Float[Tensor, "batch numbers"]]:
        """All answers on the way to that of `compare`, which is the last; training asks each of them to be right."""
        return [self.compare(predicted, embedded)]

"""The paper's inverse network: both tiles flattened into one vector, dense layers with ReLU between them."""

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inverseform.inverse_net.network import Network
from inverseform.settings import Settings


class DenseParams(Settings):
    """The paper's network: both tiles flattened into one vector, dense layers with ReLU between them."""

    name: Literal["dense"]
    pooling: int = Field(ge=1)
    """Tiles are averaged over squares of this many pixels first; 1 for none."""
    hidden: tuple[PositiveInt, ...] = Field(min_length=1)
    """Widths of the layers between; the published network for tiles of 224 has [1000, 32]."""


class Dense(Network):
    """Dense layers over both tiles.

    The first layer is linear in both tiles, so the target's part of it can be had alone, once, without a gradient, and
    used for several predictions.
    """

    def __init__(self, params: DenseParams, side: int, numbers: int) -> None:
        super().__init__()
        widths = (2 * side**2, *params.hidden, numbers)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def embed(self, target: Float[Tensor, "batch side side"]) -> Float[Tensor, "batch hidden"]:
        """The target's share of the first layer, its bias included."""
        first = self._first
        # The target is the second half of the first layer's inputs; its weights here, the prediction's in `compare`.
        return F.linear(target.flatten(1), first.weight[:, first.in_features // 2 :], first.bias)

    def compare(
        self, predicted: Float[Tensor, "batch side side"], embedded: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch numbers"]:
        """Normalised offsets, with the target's share of the first layer already known."""
        first = self._first
        values = embedded + F.linear(predicted.flatten(1), first.weight[:, : first.in_features // 2])
        for layer in self.layers[1:]:
            values = layer(F.relu(values))
        return values

    @property
    def _first(self) -> nn.Linear:
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)  # for the type checker: a ModuleList forgets
        return layer

"""The convolutional inverse network of AET (Zhang et al., CVPR 2019), the paper's ablation (sec. 5, tab. 5).

One encoder for both maps, the network in network of AET's CIFAR experiments at widths of choice, averaged over all
places and compared by one linear layer. Averaging over places is what loses where a boundary was.
"""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inverseform.inverse_net.network import Network, demand_multiple
from inverseform.settings import Settings


class SiameseParams(Settings):
    """AET's network: a shared convolutional encoder, an average over places, a linear layer over both."""

    name: Literal["siamese"]
    pooling: int = Field(ge=1)
    """Tiles are averaged over squares of this many pixels first; 1 for none."""
    widths: tuple[PositiveInt, ...] = Field(min_length=1)
    """Channels of each block, which halves the map; AET's for CIFAR has [192, 192, 192, 192]."""


class Siamese(Network):
    """AET's convolutional siamese network."""

    def __init__(self, params: SiameseParams, side: int, numbers: int) -> None:
        super().__init__()
        demand_multiple(side, 2 ** (len(params.widths) - 1), params.pooling)
        blocks = [_block(a, b) for a, b in pairwise((1, *params.widths))]
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(2 * params.widths[-1], numbers)

    def embed(self, target: Float[Tensor, "batch side side"]) -> Float[Tensor, "batch channels"]:
        """The encoded target."""
        values = target[:, None]
        for place, block in enumerate(self.blocks):
            values = block(F.avg_pool2d(values, 2) if place else values)
        return values.mean(dim=(-2, -1))

    def compare(
        self, predicted: Float[Tensor, "batch side side"], embedded: Float[Tensor, "batch channels"]
    ) -> Float[Tensor, "batch numbers"]:
        """Normalised offsets, with the target already encoded."""
        return self.head(torch.cat([self.embed(predicted), embedded], dim=1))


def _block(before: int, width: int) -> nn.Sequential:
    """A 5x5 convolution and two of 1x1, each with normalisation and ReLU: a network in a network."""
    # Normalised per map, not per batch: a frozen loss must say the same of a tile whatever stands beside it.
    layers: list[nn.Module] = []
    for start, side in ((before, 5), (width, 1), (width, 1)):
        layers += [nn.Conv2d(start, width, side, padding=side // 2, bias=False), nn.GroupNorm(1, width), nn.ReLU()]
    return nn.Sequential(*layers)

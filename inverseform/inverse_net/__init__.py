"""Two boundary maps in, the transform between them out: the inverse transformation network (sec. 3.2)."""

from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from inverseform import weights
from inverseform.boundary import BoundaryParams
from inverseform.settings import InputError, Settings
from inverseform.transform import DegreesOfFreedom, TransformRanges, from_offsets

FORMAT = "inverseform.inverse_net/1"


class DenseParams(Settings):
    """The paper's network: both tiles flattened into one vector, dense layers with ReLU between them."""

    name: Literal["dense"]
    pooling: int = Field(ge=1)
    """Tiles are averaged over squares of this many pixels first; 1 for none."""
    hidden: tuple[PositiveInt, ...] = Field(min_length=1)
    """Widths of the layers between; the published network for tiles of 224 has [1000, 32]."""


class InverseNetSettings(Settings):
    """All that a trained inverse network must know about itself; saved with its weights."""

    network: DenseParams
    tile: int = Field(ge=4)
    """Side of a tile, in pixels of the boundary map."""
    degrees_of_freedom: DegreesOfFreedom
    """How many numbers it gives."""
    occupancy: float = Field(ge=0, le=1)
    """Share of boundary pixels from which on a tile was used."""
    boundary: BoundaryParams
    """How the boundaries were made that it was trained on."""
    ranges: TransformRanges
    """How far apart the two maps of its pairs were."""
    mean: tuple[float, ...]
    """Mean offset from the identity, per number, over the training pairs."""
    scale: tuple[float, ...]
    """Standard deviation of the same: the unit in which the network answers."""

    @model_validator(mode="after")
    def _a_unit_for_each_number(self) -> "InverseNetSettings":
        if not len(self.mean) == len(self.scale) == self.degrees_of_freedom:
            raise ValueError(
                f"{len(self.mean)} means and {len(self.scale)} scales: as many as degrees_of_freedom, "
                f"{self.degrees_of_freedom}; train the network again"
            )
        return self


class InverseNet(nn.Module):
    """Dense inverse network; answers with the *normalised offset from identity*, `(offset - mean) / scale`.

    The first layer is linear in both tiles, so the target's part of it can be had alone (`embed`), once, without a
    gradient, and used for several predictions.
    """

    def __init__(self, settings: InverseNetSettings) -> None:
        super().__init__()
        self.settings = settings
        pooling = settings.network.pooling
        if settings.tile % pooling:
            raise InputError(
                f"tile is {settings.tile} and network.pooling {pooling}: the first must be a multiple of the second; "
                f"set the tile to {settings.tile // pooling * pooling or pooling}"
            )
        widths = (2 * (settings.tile // pooling) ** 2, *settings.network.hidden, settings.degrees_of_freedom)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        # What gives the answer its unit is kept in the settings, and moves with the network as buffers.
        self.register_buffer("mean", torch.tensor(settings.mean), persistent=False)
        self.register_buffer("scale", torch.tensor(settings.scale), persistent=False)
        self.mean: Tensor
        self.scale: Tensor

    def forward(
        self, predicted: Float[Tensor, "batch tile tile"], target: Float[Tensor, "batch tile tile"]
    ) -> Float[Tensor, "batch numbers"]:
        """Normalised offsets of the transform that maps `predicted` to `target`, both in [0, 1]."""
        return self.compare(predicted, self.embed(target))

    def embed(self, target: Float[Tensor, "batch tile tile"]) -> Float[Tensor, "batch hidden"]:
        """The target's share of the first layer, its bias included."""
        first = self._first
        # The target is the second half of the first layer's inputs; its weights here, the prediction's in `compare`.
        return F.linear(self._flat(target), first.weight[:, first.in_features // 2 :], first.bias)

    def compare(
        self, predicted: Float[Tensor, "batch tile tile"], target: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch numbers"]:
        """The same as `forward`, with the target's share of the first layer already known."""
        first = self._first
        values = target + F.linear(self._flat(predicted), first.weight[:, : first.in_features // 2])
        for layer in self.layers[1:]:
            values = layer(F.relu(values))
        return values

    def theta(self, numbers: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch 3 3"]:
        """The transform that normalised offsets stand for."""
        return from_offsets(numbers * self.scale + self.mean)

    @property
    def _first(self) -> nn.Linear:
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)  # for the type checker: a ModuleList forgets
        return layer

    def _flat(self, tile: Float[Tensor, "batch tile tile"]) -> Float[Tensor, "batch pixels"]:
        # The average, not the largest: it keeps a gradient for every pixel of a prediction.
        pooled = F.avg_pool2d(tile, self.settings.network.pooling)
        return rearrange(pooled, "batch row column -> batch (row column)")


def save(folder: Path, net: InverseNet) -> None:
    """Write an inverse network with its settings; whole or not at all."""
    weights.save(folder, net.state_dict(), net.settings.model_dump(mode="json"), format=FORMAT)


def load(folder: str | Path) -> InverseNet:
    """Read an inverse network, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It holds something else, or weights that do not fit its settings.
    """
    tensors, settings = weights.load(folder, format=FORMAT)
    try:
        net = InverseNet(InverseNetSettings.model_validate(settings, strict=False))
    # It is a ValueError too, and says more than the sentence below.
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{folder}: its settings are not those of an inverse network ({error}); train it again"
        ) from error
    weights.fill(net, tensors, source=folder)
    return net.eval()

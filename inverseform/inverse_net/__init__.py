"""Two boundary maps in, the transform between them out: the inverse transformation network (sec. 3.2).

A network of this wing takes tiles in [0, 1] and answers with the *normalised offset from the identity*. It does so in
two steps, so that what depends on the target alone is had once and without a gradient: `embed(target)` and
`compare(predicted, embedded)`.
"""

from pathlib import Path
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from inverseform import weights
from inverseform.boundary import BoundaryParams
from inverseform.inverse_net.alignment import Alignment, AlignmentParams
from inverseform.inverse_net.dense import Dense, DenseParams
from inverseform.inverse_net.network import Embedded, Network
from inverseform.inverse_net.siamese import Siamese, SiameseParams
from inverseform.pooling import pool
from inverseform.settings import InputError, Settings
from inverseform.transform import DegreesOfFreedom, TransformRanges, from_offsets

FORMAT = "inverseform.inverse_net/2"
PRETRAINED = Path(__file__).parent / "pretrained"
"""The universal network that comes with the package."""

NetworkParams = Annotated[AlignmentParams | DenseParams | SiameseParams, Field(discriminator="name")]


class InverseNetSettings(Settings):
    """All that a trained inverse network must know about itself; saved with its weights."""

    network: NetworkParams
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
    """An inverse network and the unit of its answers, `(offset - mean) / scale`."""

    def __init__(self, settings: InverseNetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.pooling: int = settings.network.pooling
        self.network = _build(settings)
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

    def embed(self, target: Float[Tensor, "batch tile tile"]) -> Embedded:
        """All that the answer needs of the target."""
        return self.network.embed(pool(target, self.pooling))

    def compare(
        self, predicted: Float[Tensor, "batch tile tile"], embedded: Embedded
    ) -> Float[Tensor, "batch numbers"]:
        """The same as `forward`, with the target's share of the work done already."""
        return self.network.compare(pool(predicted, self.pooling), embedded)

    def itself(self, target: Float[Tensor, "batch tile tile"], embedded: Embedded) -> Float[Tensor, "batch numbers"]:
        """The answer to a tile and itself: what calibration takes off."""
        return self.network.itself(pool(target, self.pooling), embedded)

    def refine(
        self, predicted: Float[Tensor, "batch tile tile"], target: Float[Tensor, "batch tile tile"]
    ) -> list[Float[Tensor, "batch numbers"]]:
        """All answers on the way to that of `forward`, which is the last: what training compares with the truth."""
        return self.network.refine(pool(predicted, self.pooling), self.embed(target))

    def theta(self, numbers: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch 3 3"]:
        """The transform that normalised offsets stand for."""
        return from_offsets(numbers * self.scale + self.mean)

    def estimate(
        self,
        predicted: Float[Tensor, "batch side side"],
        target: Float[Tensor, "batch side side"],
        *,
        calibrated: bool = True,
        pooled: bool = False,
    ) -> Float[Tensor, "batch 3 3"]:
        """The transform from `predicted` to `target`, both in [0, 1]; the target's share of it has no gradient.

        Calibrated, it stands for net(predicted, target) - net(target, target): what the network says of a tile and
        itself is taken off, so that a perfect prediction gives exactly the identity.

        Args:
            predicted: Tiles of predicted boundaries.
            target: Those of the true ones.
            calibrated: Whether that is done.
            pooled: Whether the tiles are averaged over squares of `pooling` pixels already, as whole maps may be.
        """
        if not pooled:
            predicted, target = pool(predicted, self.pooling), pool(target, self.pooling)
        with torch.no_grad():
            embedded = self.network.embed(target)
            bias = self.network.itself(target, embedded) if calibrated else None
        numbers = self.network.compare(predicted, embedded)
        # The mean offset of the training pairs is in both answers and leaves with the bias.
        return self.theta(numbers) if bias is None else from_offsets((numbers - bias) * self.scale)


def save(folder: Path, net: InverseNet, *, half: bool = False) -> None:
    """Write an inverse network with its settings, in 16-bit floats if asked; whole or not at all."""
    tensors = {name: tensor.half() if half else tensor for name, tensor in net.state_dict().items()}
    weights.save(folder, tensors, net.settings.model_dump(mode="json"), format=FORMAT)


def load(folder: str | Path) -> InverseNet:
    """Read an inverse network, in evaluation mode, on the CPU, in 32-bit floats.

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


def pretrained(*, pooling: int = 1) -> InverseNet:
    """The universal network of this package, in evaluation mode; see its model card beside the weights.

    It learned on boundaries that were drawn by a program: there is no data set whose licence would bind its user.

    Args:
        pooling: For large images: maps are averaged over squares of this many pixels first. Tiles and the width of
            boundaries grow by the same factor, so that the network sees what it was trained on; its answers do not
            change, being in half tiles.

    Raises:
        InputError: A pooling under 1.
    """
    if pooling < 1:
        raise InputError(f"pooling is {pooling}: at least 1, which is none; write pooling=2 for twice the resolution")
    net = load(PRETRAINED)
    given = net.settings
    settings = given.model_copy(
        update={
            "tile": given.tile * pooling,
            "network": given.network.model_copy(update={"pooling": given.network.pooling * pooling}),
            "boundary": given.boundary.model_copy(update={"radius": given.boundary.radius * pooling}),
        }
    )
    larger = InverseNet(settings)
    larger.load_state_dict(net.state_dict())
    return larger.eval()


def _build(settings: InverseNetSettings) -> Network:
    network, numbers = settings.network, settings.degrees_of_freedom
    side, rest = divmod(settings.tile, network.pooling)
    if rest or not side:
        raise InputError(
            f"tile is {settings.tile} and network.pooling {network.pooling}: the first must be a multiple of the "
            f"second; set the tile to {side * network.pooling or network.pooling}"
        )
    if isinstance(network, AlignmentParams):
        return Alignment(network, side, mean=settings.mean, scale=settings.scale)
    if isinstance(network, SiameseParams):
        return Siamese(network, side, numbers)
    return Dense(network, side, numbers)

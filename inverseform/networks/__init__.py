"""Images in, Prediction out: the segmentation networks, their settings, and how they are kept on disk."""

from pathlib import Path
from typing import Literal

from inverseform import weights
from inverseform.networks.backbones import TimmHrnet, TimmHrnetParams
from inverseform.networks.heads import HrnetV2Head
from inverseform.networks.segmenter import Segmenter, normalise
from inverseform.settings import InputError, Settings

__all__ = ["Card", "HrnetParams", "NetworkParams", "Segmenter", "build", "load", "normalise", "save"]

FORMAT = "inverseform.segmenter/1"


class HrnetParams(Settings):
    """HRNet with the HRNetV2 head, as HRNet-w18 in the paper."""

    name: Literal["hrnet"]
    backbone: TimmHrnetParams
    boundary_head: bool
    """A second head of the same design for boundary logits; it is not in the exported network."""


# A name of its own while there is one, so that cards and settings need not change when a second joins.
NetworkParams = HrnetParams
"""The union of the settings of all networks, told apart by `name`."""


class Card(Settings):
    """What a trained segmenter must know about itself, kept beside its weights and in the exported file."""

    network: NetworkParams
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    """RGB of each class, 0 to 255."""
    mean: tuple[float, float, float]
    """Of the training images, per channel, in [0, 1]: what `normalise` takes off."""
    std: tuple[float, float, float]
    inverse_net: str | None
    """SHA-256 of the weights of the frozen inverse network it was trained with; None where there was none."""
    params: str
    """SHA-256 of the section train_segmentation of params.yaml."""


def build(params: NetworkParams, *, num_classes: int) -> Segmenter:
    """A network with fresh weights, or timm's for its backbone."""
    backbone = TimmHrnet(params.backbone)
    boundary_head = HrnetV2Head(backbone.channels, outputs=1) if params.boundary_head else None
    return Segmenter(backbone, HrnetV2Head(backbone.channels, outputs=num_classes), boundary_head)


def save(folder: Path, network: Segmenter, card: Card) -> None:
    """Write a segmenter as weights and card; whole or not at all."""
    weights.save(folder, network.state_dict(), card.model_dump(mode="json"), format=FORMAT)


def load(folder: str | Path) -> tuple[Segmenter, Card]:
    """Read a segmenter, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It holds something else, or weights that do not fit its card.
    """
    tensors, settings = weights.load(folder, format=FORMAT)
    try:
        # Not strict: JSON has lists where the card has tuples.
        card = Card.model_validate(settings, strict=False)
    except ValueError as error:
        raise InputError(f"{folder}: its settings are not those of a segmenter ({error}); train it again") from error
    # The weights are in the folder: nothing is to be downloaded to build what they go into.
    backbone = card.network.backbone.model_copy(update={"pretrained": False})
    network = build(card.network.model_copy(update={"backbone": backbone}), num_classes=len(card.classes))
    weights.fill(network, tensors, source=folder)
    return network.eval(), card

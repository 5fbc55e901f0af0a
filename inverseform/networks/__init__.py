"""Images in, Prediction out: the segmentation networks, their settings, and how they are kept on disk."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from inverseform import weights
from inverseform.networks import backbones, smp
from inverseform.networks.backbones import Channels, TimmHrnet, TimmHrnetParams
from inverseform.networks.deeplab import DeepLabParams, build_deeplab
from inverseform.networks.heads import BoundaryHeadParams, HrnetV2Head
from inverseform.networks.hms import HmsParams, build_hms
from inverseform.networks.ocr import OcrParams, build_ocr
from inverseform.networks.segmenter import EncoderDecoder, Segmenter, normalise
from inverseform.networks.smp import SmpParams, build_smp
from inverseform.settings import InputError, Settings

__all__ = [
    "Card", "Channels", "DeepLabParams", "HmsParams", "HrnetParams", "NetworkParams", "OcrParams", "Segmenter",
    "SmpParams", "build", "describe", "load", "normalisation", "normalise", "read_card",
    "save",
]  # fmt: skip

FORMAT = "inverseform.segmenter/1"


class HrnetParams(BoundaryHeadParams):
    """HRNet with the HRNetV2 head, as HRNet-w18 in the paper."""

    name: Literal["hrnet"]
    backbone: TimmHrnetParams


NetworkParams = Annotated[HrnetParams | OcrParams | HmsParams | DeepLabParams | SmpParams, Field(discriminator="name")]
"""The union of the settings of all networks, told apart by `name`."""


class Card(Settings):
    """What a trained segmenter must know about itself, kept beside its weights and in the exported file."""

    network: NetworkParams
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    """RGB of each class, 0 to 255."""
    mean: Channels
    """What `normalise` takes off, in [0, 1]: of the training images, or of those its first weights knew."""
    std: Channels
    inverse_net: str | None
    """SHA-256 of the weights of the frozen inverse network it was trained with; None where there was none."""
    params: str
    """SHA-256 of the section train_segmentation of params.yaml."""


def build(params: NetworkParams, *, num_classes: int) -> Segmenter:
    """A network with fresh weights, or those asked for in its backbone.

    Raises:
        InputError: Those cannot be had, or a library is not installed.
    """
    match params:
        case HrnetParams():
            return _build_hrnet(params, num_classes=num_classes)
        case OcrParams():
            return build_ocr(params, num_classes=num_classes)
        case HmsParams():
            return build_hms(params, num_classes=num_classes)
        case DeepLabParams():
            return build_deeplab(params, num_classes=num_classes)
        case SmpParams():
            return build_smp(params, num_classes=num_classes)


def _build_hrnet(params: HrnetParams, *, num_classes: int) -> EncoderDecoder:
    backbone = TimmHrnet(params.backbone)
    joined = sum(backbone.channels)
    # As wide with a boundary map as without: it is one channel more to look at, not to compute with.
    head = HrnetV2Head((joined + params.boundary_feedback,), outputs=num_classes, hidden=joined)
    boundary_head = HrnetV2Head(backbone.channels, outputs=1) if params.boundary_head else None
    return EncoderDecoder(backbone, head, boundary_head, boundary_feedback=params.boundary_feedback)


def normalisation(params: NetworkParams) -> tuple[Channels, Channels] | None:
    """Mean and standard deviation of the channels, of 0 to 1, that the weights a network starts from were trained with.

    What `normalise` should be given for them; None where they are random, or where it is not known.
    """
    return smp.normalisation(params) if isinstance(params, SmpParams) else backbones.normalisation(params.backbone)


def describe(params: NetworkParams) -> str:
    """A network in a few words, for people."""
    parts = (params.architecture, params.encoder) if isinstance(params, SmpParams) else (params.backbone.architecture,)
    return ", ".join((params.name, *parts))


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
    card = read_card(settings, folder)
    network = build(_with_fresh_weights(card.network), num_classes=len(card.classes))
    weights.fill(network, tensors, source=folder)
    return network.eval(), card


def read_card(settings: dict[str, Any], folder: str | Path) -> Card:
    """The card among the settings of a folder.

    Raises:
        InputError: They are not a segmenter's.
    """
    try:
        # Not strict: JSON has lists where the card has tuples.
        return Card.model_validate(settings, strict=False)
    except ValueError as error:
        raise InputError(f"{folder}: its settings are not those of a segmenter ({error}); train it again") from error


def _with_fresh_weights(params: NetworkParams) -> NetworkParams:
    """The same network; nothing is downloaded or read to build what the weights of a folder go into."""
    if isinstance(params, SmpParams):
        return params.model_copy(update={"weights": None})
    return params.model_copy(update={"backbone": params.backbone.model_copy(update={"pretrained": False})})

"""Features of an image at several strides: HRNet, and the dilated ResNet of DeepLabV3+."""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from inverseform.networks import encoder_weights
from inverseform.settings import InputError, Settings
from inverseform.weights import misfit

Channels = tuple[float, float, float]
"""A number for red, green and blue."""
Pretrained = bool | str
"""Weights to start from: false for none, true for timm's of ImageNet, or a file that holds some.

timm's are downloaded. A file holds a state dict, as safetensors or of torch.save; `package:NAME` is the one that an
installed package ships. Its names are timm's, which are those of the original checkpoints, and all but the classifier's
must fit. What was asked for and cannot be had is an error.
"""


class TimmHrnetParams(Settings):
    """An HRNet of timm."""

    architecture: Literal["hrnet_w18_small_v2", "hrnet_w18", "hrnet_w48"]
    """timm's name of it. The paper's HRNet-w18 is the Small-v2 (3.9 M parameters), not timm's `hrnet_w18`."""
    pretrained: Pretrained


class TimmResnetParams(Settings):
    """A ResNet of timm, dilated in place of strided where its features would become coarser than wanted."""

    architecture: Literal["resnet50", "resnet101"]
    output_stride: Literal[8, 16]
    """Of its deepest features; at 8 twice as sharp as at 16, and some three times as slow."""
    pretrained: Pretrained


class TimmHrnet(nn.Module):
    """Feature maps at strides 4, 8, 16 and 32, of `channels` each."""

    stride = 32
    """What the sides of an image must be a multiple of: the branches are summed at each other's size."""

    def __init__(self, params: TimmHrnetParams) -> None:
        super().__init__()
        # Without feature_location='' timm gives the classifier's widened features (128 to 1024 channels) instead.
        self.body = _body(
            params, ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier."),
            feature_location="", out_indices=(1, 2, 3, 4),
        )  # fmt: skip
        self.channels: tuple[int, ...] = tuple(self.body.feature_info.channels())  # pyright: ignore (set by timm)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features of images whose sides are multiples of `stride`, finest first."""
        return self.body(images)


class TimmResnet(nn.Module):
    """Feature maps at stride 4 and at the output stride, of `channels` each."""

    def __init__(self, params: TimmResnetParams) -> None:
        super().__init__()
        self.body = _body(params, ("fc.",), output_stride=params.output_stride, out_indices=(1, 4))
        self.channels: tuple[int, ...] = tuple(self.body.feature_info.channels())  # pyright: ignore (set by timm)
        self.stride: int = params.output_stride
        """What the sides of an image must be a multiple of."""

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features of images whose sides are multiples of `stride`, finest first."""
        return self.body(images)


def normalisation(params: TimmHrnetParams | TimmResnetParams) -> tuple[Channels, Channels] | None:
    """Mean and standard deviation of the channels, of 0 to 1, that timm's own weights were trained with.

    None where training starts from random weights. Those of a file are taken to have been trained alike.
    """
    if params.pretrained is False:
        return None
    known = _timm(params).get_pretrained_cfg(params.architecture)
    (red, green, blue), (reds, greens, blues) = known.mean, known.std
    return (red, green, blue), (reds, greens, blues)


def _timm(params: TimmHrnetParams | TimmResnetParams) -> Any:  # noqa: ANN401 (a module)
    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"network.backbone.architecture is {params.architecture} and timm is not installed; "
            f"type: pip install 'inverseform[train]'"
        ) from error
    return timm


def _body(params: TimmHrnetParams | TimmResnetParams, classifier: tuple[str, ...], **options: Any) -> nn.Module:  # noqa: ANN401
    """A network of timm that gives its features, with the weights asked for.

    Args:
        params: Which, and which weights.
        classifier: How the names of weights begin that only its classifier has.
        options: Of timm's create_model.

    Raises:
        InputError: timm is not installed, or the weights cannot be had.
    """
    try:
        body = _timm(params).create_model(
            params.architecture, pretrained=params.pretrained is True, features_only=True, **options
        )
    except (OSError, RuntimeError) as error:
        if params.pretrained is not True:
            raise
        raise InputError(
            f"network.backbone.pretrained is {params.pretrained} and the weights of {params.architecture} cannot "
            f"be had ({error}); connect to the network once, name a file that holds them, or set it to false"
        ) from error
    if isinstance(params.pretrained, str):
        _fill(body, params.pretrained, classifier)
    return body


def _fill(body: nn.Module, source: str, classifier: tuple[str, ...]) -> None:
    """Put the weights of a file into a network, strictly but for those of the classifier."""
    try:
        found = encoder_weights.read(source)
    except InputError as error:
        raise InputError(f"network.backbone.pretrained: {error}") from error
    tensors = {name: tensor for name, tensor in found.items() if not name.startswith(classifier)}
    try:
        body.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise InputError(
            f"network.backbone.pretrained is {source!r}: its weights do not fit the architecture ({misfit(error)}); "
            "name a file with ImageNet weights of that very architecture"
        ) from error

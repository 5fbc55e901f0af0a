"""Features of an image at four strides."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from inverseform.settings import InputError, Settings


class TimmHrnetParams(Settings):
    """An HRNet of timm."""

    architecture: Literal["hrnet_w18_small_v2"]
    """timm's name of it. The paper's HRNet-w18 is the Small-v2 (3.9 M parameters), not timm's `hrnet_w18`."""
    pretrained: bool
    """Start from timm's ImageNet weights, which are downloaded. Not to be had without a network: an error then."""


class TimmHrnet(nn.Module):
    """Feature maps at strides 4, 8, 16 and 32, of `channels` each."""

    stride = 32
    """What the sides of an image must be a multiple of: the branches are summed at each other's size."""

    def __init__(self, params: TimmHrnetParams) -> None:
        super().__init__()
        import timm

        # Without feature_location='' timm gives the classifier's widened features (128 to 1024 channels) instead.
        try:
            body = timm.create_model(
                params.architecture, pretrained=params.pretrained, features_only=True, feature_location="",
                out_indices=(1, 2, 3, 4),
            )  # fmt: skip
        except (OSError, RuntimeError) as error:
            if not params.pretrained:
                raise
            raise InputError(
                f"network.backbone.pretrained is {params.pretrained} and the weights of {params.architecture} cannot "
                f"be had ({error}); connect to the network once, or set it to false"
            ) from error
        self.body: nn.Module = body
        self.channels: tuple[int, ...] = tuple(body.feature_info.channels())  # pyright: ignore (set by timm)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features of images whose sides are multiples of `stride`, finest first."""
        return self.body(images)

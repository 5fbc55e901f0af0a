"""DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611): dilated ResNet, atrous spatial pyramid pooling, a slim decoder.

Convolutions of the pyramid and the decoder are depthwise separable, as the paper makes them for its best networks: they
score as the plain ones do, and the head has a fifth of their weights. Sizes of layers are the published ones.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from inverseform.networks.backbones import TimmResnet, TimmResnetParams
from inverseform.networks.heads import BoundaryHeadParams, HrnetV2Head, mixing, resize
from inverseform.networks.segmenter import EncoderDecoder

WIDTH = 256
"""Channels of the pyramid and of the decoder."""
LOW_LEVEL = 48
"""Channels to which the features of stride 4 are reduced, so that they do not outweigh the pyramid's."""
RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Dilations of the pyramid for an output stride: the same distances in the image."""
DROPOUT = 0.1


class DeepLabParams(BoundaryHeadParams):
    """DeepLabV3+."""

    name: Literal["deeplab"]
    backbone: TimmResnetParams


class DeepLabNeck(nn.Module):
    """What the heads see, at stride 4: reduced low-level features beside the pyramid's."""

    channels = (LOW_LEVEL, WIDTH)

    def __init__(self, channels: tuple[int, ...], *, rates: tuple[int, ...]) -> None:
        super().__init__()
        fine, deep = channels
        self.reduce = mixing(fine, LOW_LEVEL)
        self.pyramid = Pyramid(deep, rates=rates)

    def forward(self, features: list[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch joined rows columns"]:
        """Features at stride 4 and at the output stride, joined at the former."""
        fine, deep = features
        return torch.cat([self.reduce(fine), resize(self.pyramid(deep), fine)], dim=1)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: each place seen in neighbourhoods of several sizes, and in the whole image."""

    def __init__(self, channels: int, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.place = mixing(channels, WIDTH)
        self.neighbourhoods = nn.ModuleList(separable(channels, WIDTH, rate=rate) for rate in rates)
        self.image = mixing(channels, WIDTH)
        self.mix = nn.Sequential(*mixing((len(rates) + 2) * WIDTH, WIDTH), nn.Dropout(DROPOUT))

    def forward(
        self, features: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch width rows columns"]:
        """One map of all the neighbourhoods."""
        image = self.image(features.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *features.shape[-2:])
        seen = [self.place(features), *(layer(features) for layer in self.neighbourhoods), image]
        return self.mix(torch.cat(seen, dim=1))


class DeepLabHead(nn.Module):
    """Two mixing layers over what the neck joined, and one linear layer."""

    def __init__(self, joined: int, *, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(*separable(joined, WIDTH), *separable(WIDTH, WIDTH))
        self.classify = nn.Conv2d(WIDTH, outputs, 1)

    def forward(self, features: Float[Tensor, "batch joined rows columns"]) -> Float[Tensor, "batch _ rows columns"]:
        """Logits at the stride of the features."""
        return self.classify(self.mix(features))


def separable(inputs: int, outputs: int, *, rate: int = 1) -> nn.Sequential:
    """A 3x3 convolution as one within each channel, dilated, and one across them, each with batch norm and ReLU."""
    within = nn.Conv2d(inputs, inputs, 3, padding=rate, dilation=rate, groups=inputs, bias=False)
    return nn.Sequential(within, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), *mixing(inputs, outputs))


def build_deeplab(params: DeepLabParams, *, num_classes: int) -> EncoderDecoder:
    """A network with fresh weights, or those asked for in its backbone."""
    backbone = TimmResnet(params.backbone)
    neck = DeepLabNeck(backbone.channels, rates=RATES[params.backbone.output_stride])
    head = DeepLabHead(sum(neck.channels) + params.boundary_feedback, outputs=num_classes)
    boundary_head = HrnetV2Head(neck.channels, outputs=1) if params.boundary_head else None
    return EncoderDecoder(backbone, head, boundary_head, neck=neck, boundary_feedback=params.boundary_feedback)

"""Object-contextual representations (Yuan et al. 2020, arXiv 1909.11065), over the joined features of an HRNet.

A first, coarse segmentation says which pixels belong to which class; the mean feature of each such region is what a
pixel may learn about the objects of the image; attention picks from those what concerns the pixel.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from inverseform.networks.backbones import TimmHrnet, TimmHrnetParams
from inverseform.networks.heads import BoundaryHeadParams, HrnetV2Head, join, mixing
from inverseform.networks.segmenter import Segmenter, cut, enlarge, look, pad
from inverseform.sample import Auxiliary, Prediction

WIDTH = 512
"""Channels of the features of pixels and of regions, as published for HRNet."""
KEY = 256
"""Channels in which pixels and regions are compared."""
DROPOUT = 0.05


class OcrParams(BoundaryHeadParams):
    """HRNet with object-contextual representations."""

    name: Literal["ocr"]
    backbone: TimmHrnetParams
    auxiliary_weight: float = Field(ge=0)
    """Weight of the loss of the coarse segmentation; 0.4 as published."""


class OcrLogits(NamedTuple):
    """What the head gives, at the stride of its features."""

    final: Float[Tensor, "batch classes rows columns"]
    coarse: Float[Tensor, "batch classes rows columns"]
    """Of the coarse segmentation, by which the regions are drawn."""
    features: Float[Tensor, "batch width rows columns"]
    """What the final logits are a linear function of."""


class OcrHead(nn.Module):
    """Joined features to logits, by way of a coarse segmentation and the regions that it draws."""

    def __init__(self, joined: int, *, outputs: int) -> None:
        super().__init__()
        self.pixels = mixing(joined, WIDTH, kernel=3)
        self.coarse = HrnetV2Head((joined,), outputs=outputs)
        self.context = ObjectContext()
        self.classify = nn.Conv2d(WIDTH, outputs, 1)

    def forward(self, features: Float[Tensor, "batch joined rows columns"]) -> OcrLogits:
        """Logits of both segmentations."""
        coarse, pixels = self.coarse(features), self.pixels(features)
        pixels = self.context(pixels, regions(pixels, coarse))
        return OcrLogits(self.classify(pixels), coarse, pixels)


class ObjectContext(nn.Module):
    """Pixels that attend to regions: queries from pixels, keys and values from regions."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Sequential(*mixing(WIDTH, KEY), *mixing(KEY, KEY))
        self.key = nn.Sequential(*mixing(WIDTH, KEY), *mixing(KEY, KEY))
        self.value = mixing(WIDTH, KEY)
        self.widen = mixing(KEY, WIDTH)
        self.mix = nn.Sequential(*mixing(2 * WIDTH, WIDTH), nn.Dropout2d(DROPOUT))

    def forward(
        self,
        pixels: Float[Tensor, "batch width rows columns"],
        objects: Float[Tensor, "batch width classes 1"],
    ) -> Float[Tensor, "batch width rows columns"]:
        """Features of pixels, with what the regions tell each of them mixed in."""
        query = self.query(pixels)
        key, value = (layer(objects)[..., 0] for layer in (self.key, self.value))
        similarity = query.flatten(2).transpose(1, 2) @ key * KEY**-0.5
        context = value @ similarity.softmax(dim=-1).transpose(1, 2)
        return self.mix(torch.cat([self.widen(context.unflatten(2, query.shape[-2:])), pixels], dim=1))


def regions(
    pixels: Float[Tensor, "batch width rows columns"], coarse: Float[Tensor, "batch classes rows columns"]
) -> Float[Tensor, "batch width classes 1"]:
    """The mean feature of each soft object region: over all pixels, each as far as it belongs to the class."""
    # Normalised over the pixels of the image, not over the classes: these are the weights of a mean.
    share = coarse.flatten(2).softmax(dim=-1)
    return (pixels.flatten(2) @ share.transpose(1, 2))[..., None]


class OcrSegmenter(Segmenter):
    """HRNet, the OCR head, and a boundary head on the features that the OCR head sees."""

    def __init__(
        self,
        backbone: TimmHrnet,
        segmentation_head: OcrHead,
        boundary_head: HrnetV2Head | None,
        *,
        auxiliary_weight: float,
        boundary_feedback: bool,
    ) -> None:
        super().__init__(boundary_head, boundary_feedback=boundary_feedback)
        self.backbone = backbone
        self.segmentation_head = segmentation_head
        self.auxiliary_weight = auxiliary_weight

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Prediction:
        """Logits at the size of the images, which may be any; while training, those of the coarse segmentation too."""
        padded = pad(images, stride=self.backbone.stride)
        features, boundary = look(join(self.backbone(padded)), self)
        logits = self.segmentation_head(features)
        coarse = Auxiliary(cut(logits.coarse, padded=padded, images=images), self.auxiliary_weight)
        return Prediction(
            enlarge(logits.final, images),
            None if boundary is None else cut(boundary, padded=padded, images=images),
            (coarse,) if self.training else (),
        )


def build_ocr(params: OcrParams, *, num_classes: int) -> OcrSegmenter:
    """A network with fresh weights, or those asked for in its backbone."""
    backbone = TimmHrnet(params.backbone)
    head = OcrHead(sum(backbone.channels) + params.boundary_feedback, outputs=num_classes)
    boundary_head = HrnetV2Head(backbone.channels, outputs=1) if params.boundary_head else None
    return OcrSegmenter(
        backbone, head, boundary_head,
        auxiliary_weight=params.auxiliary_weight, boundary_feedback=params.boundary_feedback,
    )  # fmt: skip

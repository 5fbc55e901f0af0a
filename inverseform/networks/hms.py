"""Hierarchical multi-scale attention (Tao et al. 2020, arXiv 2005.10821) over an HRNet with OCR.

One network sees the image at several scales and says, at each scale and for each pixel, how far it is to be believed
there rather than at the larger scales. It learns so from two scales; at inference there may be any number, in a chain.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Annotated, Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from inverseform.networks.backbones import TimmHrnet, TimmHrnetParams
from inverseform.networks.heads import BoundaryHeadParams, HrnetV2Head, join, mixing, resize
from inverseform.networks.ocr import WIDTH, OcrHead, OcrLogits
from inverseform.networks.segmenter import Segmenter, cut, look, pad
from inverseform.sample import Auxiliary, Prediction
from inverseform.settings import InputError

PARTS = 8
"""Scales are multiples of 1/PARTS, so that a padded image has whole sides at each of them."""
TRAINED = (1.0, 0.5)
"""The scales of training, as published: one and the next lower, from which the chain is made."""
ATTENTION = 256
"""Channels of the attention head, as published."""


def _can_be_chained(scales: tuple[float, ...]) -> tuple[float, ...]:
    if not scales or any(scale <= 0 or scale * PARTS % 1 for scale in scales) or len(set(scales)) < len(scales):
        raise ValueError(f"scales are different positive multiples of 1/{PARTS}; write for instance [0.5, 1.0, 2.0]")
    return scales


class HmsParams(BoundaryHeadParams):
    """HRNet with OCR, seen at several scales."""

    name: Literal["hms"]
    backbone: TimmHrnetParams
    auxiliary_weight: float = Field(ge=0)
    """Weight of the loss of the coarse segmentation of OCR; 0.4 as published."""
    scale_weight: float = Field(ge=0)
    """Weight of the loss of each scale by itself; 0.05 as published."""
    scales: Annotated[tuple[float, ...], AfterValidator(_can_be_chained)]
    """Of inference, in any order. What they cost is the sum of their squares: 5.25 for 0.5, 1.0 and 2.0."""


class Link(NamedTuple):
    """What a chain needs of a scale."""

    scale: float
    logits: Float[Tensor, "batch classes _ _"]
    attention: Float[Tensor, "batch 1 _ _"] | None
    """0 to 1: how far to believe this scale, rather than the larger ones; None for the largest."""


def chain(links: Sequence[Link]) -> Float[Tensor, "batch classes rows columns"]:
    """Logits of several scales as one, from the largest scale down: attention * own + (1 - attention) * larger.

    Down to scale 1 the larger ones are brought to the size of the smaller, below it the smaller to that of the larger:
    the result has the size of the smallest scale that is at least 1, or of the largest if none is.
    """
    first, *others = sorted(links, key=lambda link: -link.scale)
    fused = first.logits
    for scale, logits, attention in others:
        if attention is None:
            raise InputError(f"scale {scale} has no attention and is not the largest of the chain; give it one")
        if scale >= 1:
            fused = attention * logits + (1 - attention) * resize(fused, logits)
        else:
            fused = resize(attention * logits, fused) + (1 - resize(attention, fused)) * fused
    return fused


class View(NamedTuple):
    """What the network makes of images at one scale, at stride 4 of that scale."""

    scale: float
    logits: OcrLogits
    attention: Float[Tensor, "batch 1 rows columns"] | None
    boundary: Float[Tensor, "batch 1 rows columns"] | None


class HmsSegmenter(Segmenter):
    """HRNet, the OCR head and an attention head beside it, run at several scales with the same weights.

    The scales meet at the stride of their logits, and the result is brought to the size of the images.
    """

    def __init__(
        self, backbone: TimmHrnet, segmentation_head: OcrHead, boundary_head: HrnetV2Head | None, *, params: HmsParams
    ) -> None:
        super().__init__(boundary_head, boundary_feedback=params.boundary_feedback)
        self.backbone = backbone
        self.segmentation_head = segmentation_head
        self.attention_head = nn.Sequential(
            *mixing(WIDTH, ATTENTION, kernel=3), *mixing(ATTENTION, ATTENTION, kernel=3),
            nn.Conv2d(ATTENTION, 1, 1, bias=False), nn.Sigmoid(),
        )  # fmt: skip
        self.scales = tuple(sorted(params.scales, reverse=True))
        self.auxiliary_weight, self.scale_weight = params.auxiliary_weight, params.scale_weight

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Prediction:
        """Logits at the size of the images, which may be any, from the scales of training or of inference.

        The boundary logits are those of the scale nearest to 1, at its stride 4. While training, the auxiliary outputs
        are the coarse segmentation, chained as the final one is, and the logits of each scale by itself.
        """
        scales = TRAINED if self.training else self.scales
        padded = pad(images, stride=self.backbone.stride * max(Fraction(scale).denominator for scale in scales))
        views = [self._view(padded, scale, largest=scale == scales[0]) for scale in scales]
        fused = resize(chain([Link(v.scale, v.logits.final, v.attention) for v in views]), padded)
        views.sort(key=lambda view: abs(view.scale - 1))
        maps = [cut(v.boundary, padded=padded, images=images) for v in views if v.boundary is not None]
        return Prediction(
            fused[..., : images.shape[-2], : images.shape[-1]],
            maps[0] if maps else None,
            tuple(self._auxiliary(views, padded, images)) if self.training else (),
            tuple(maps[1:]) if self.training else (),
        )

    def _view(self, padded: Float[Tensor, "batch 3 height width"], scale: float, *, largest: bool) -> View:
        """What the network makes of padded images at one scale."""
        images = padded
        if scale != 1:
            # In whole numbers, so that the exporter can follow the size.
            part = Fraction(scale)
            height, width = (side // part.denominator * part.numerator for side in padded.shape[-2:])
            images = F.interpolate(padded, size=(height, width), mode="bilinear", align_corners=False)
        features, boundary = look(join(self.backbone(images)), self)
        logits = self.segmentation_head(features)
        return View(scale, logits, None if largest else self.attention_head(logits.features), boundary)

    def _auxiliary(
        self,
        views: Sequence[View],
        padded: Float[Tensor, "batch 3 _ _"],
        images: Float[Tensor, "batch 3 height width"],
    ) -> Iterator[Auxiliary]:
        coarse = chain([Link(view.scale, view.logits.coarse, view.attention) for view in views])
        yield Auxiliary(cut(coarse, padded=padded, images=images), self.auxiliary_weight)
        for view in views:
            yield Auxiliary(cut(view.logits.final, padded=padded, images=images), self.scale_weight)


def build_hms(params: HmsParams, *, num_classes: int) -> HmsSegmenter:
    """A network with fresh weights, or those asked for in its backbone."""
    backbone = TimmHrnet(params.backbone)
    head = OcrHead(sum(backbone.channels) + params.boundary_feedback, outputs=num_classes)
    boundary_head = HrnetV2Head(backbone.channels, outputs=1) if params.boundary_head else None
    return HmsSegmenter(backbone, head, boundary_head, params=params)

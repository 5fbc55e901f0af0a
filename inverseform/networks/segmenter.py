"""A segmentation network: backbone, segmentation head, and a boundary head that can be taken off (fig. 4)."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from inverseform.networks.backbones import TimmHrnet, TimmResnet
from inverseform.networks.heads import HrnetV2Head, join
from inverseform.sample import Prediction

Neck = Callable[[list[Tensor]], Tensor]
"""Features at several strides to one map at stride 4, which the heads see."""


class Seen(NamedTuple):
    """What the segmentation head is shown, and what the boundary head made of the same features."""

    features: Float[Tensor, "batch _ rows columns"]
    boundary: Float[Tensor, "batch 1 rows columns"] | None


class Segmenter(nn.Module, ABC):
    """Images to class logits and, while it is trained, boundary logits from the same features.

    Args:
        boundary_head: Makes boundary logits; None for a network without them.
        boundary_feedback: Whether the segmentation head is shown the boundary map.
    """

    def __init__(self, boundary_head: HrnetV2Head | None, *, boundary_feedback: bool) -> None:
        super().__init__()
        self.boundary_head = boundary_head
        self.boundary_feedback = boundary_feedback

    @abstractmethod
    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Prediction:
        """Logits at the size of the images, which may be any; boundary logits at stride 4, or None."""

    def without_boundary_head(self) -> "Segmenter":
        """The same network and weights with nothing left of the boundary head: what runs at inference.

        With `boundary_feedback` the class logits are made from boundaries too: such a network keeps its boundary head.
        """
        # A shallow copy: no weight is copied, and the original keeps its head for training on.
        bare = copy.copy(self)
        bare._modules = {**self._modules}
        if not self.boundary_feedback:
            bare._modules["boundary_head"] = None
        return bare


class EncoderDecoder(Segmenter):
    """A backbone, a neck that joins its features at stride 4, and a head for each of the two tasks.

    Args:
        backbone: Gives features, finest first, and the finest at stride 4.
        segmentation_head: Makes class logits of the joined features, and of one channel more with feedback.
        boundary_head: Makes boundary logits of the joined features.
        neck: How the features are joined; as HRNetV2 does by default.
        boundary_feedback: Whether the segmentation head is shown the boundary map.
    """

    def __init__(
        self,
        backbone: TimmHrnet | TimmResnet,
        segmentation_head: nn.Module,
        boundary_head: HrnetV2Head | None,
        *,
        neck: Neck = join,
        boundary_feedback: bool = False,
    ) -> None:
        super().__init__(boundary_head, boundary_feedback=boundary_feedback)
        self.backbone = backbone
        self.neck = neck
        self.segmentation_head = segmentation_head

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Prediction:
        """Logits at the size of the images, which may be any; boundary logits at stride 4, or None.

        Inside, the images are padded at the right and below to a multiple of the backbone's stride.
        """
        padded = pad(images, stride=self.backbone.stride)
        features, boundary = look(self.neck(self.backbone(padded)), self)
        segmentation = enlarge(self.segmentation_head(features), images)
        return Prediction(segmentation, boundary if boundary is None else cut(boundary, padded=padded, images=images))


def look(joined: Float[Tensor, "batch joined rows columns"], network: Segmenter) -> Seen:
    """What a segmentation head is shown: joined features and, with feedback, a boundary map beside them."""
    if network.boundary_head is None:
        return Seen(joined, None)
    boundary = network.boundary_head(joined)
    # Probabilities: unlike logits they have a scale that a fresh head knows.
    return Seen(torch.cat([joined, boundary.sigmoid()], dim=1) if network.boundary_feedback else joined, boundary)


def pad(images: Float[Tensor, "batch 3 height width"], *, stride: int) -> Float[Tensor, "batch 3 rows columns"]:
    """Images with zeros at the right and below, to the next multiple of a stride."""
    height, width = images.shape[-2:]
    # Normalised images are padded with 0, the mean of the training images.
    return F.pad(images, (0, -width % stride, 0, -height % stride))


def cut(
    cells: Float[Tensor, "batch channels _ _"],
    *,
    padded: Float[Tensor, "batch 3 _ _"],
    images: Float[Tensor, "batch 3 height width"],
) -> Float[Tensor, "batch channels rows columns"]:
    """A map of padded images without the cells that lie in the padding; one that lies in part in the image stays."""
    rows, columns = (
        -(-side * count // whole)
        for side, count, whole in zip(images.shape[-2:], cells.shape[-2:], padded.shape[-2:], strict=True)
    )
    return cells[..., :rows, :columns]


def enlarge(
    logits: Float[Tensor, "batch classes rows columns"], images: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch classes height width"]:
    """Stride 4 to the size of the images, less the padding."""
    enlarged = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    return enlarged[..., : images.shape[-2], : images.shape[-1]]


def normalise(
    images: UInt8[Tensor, "batch 3 height width"], *, mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Tensor, "batch 3 height width"]:
    """(image / 255 - mean) / std, per channel: what a segmenter takes."""
    mean_, std_ = (torch.tensor(x, device=images.device)[:, None, None] for x in (mean, std))
    return (images / 255 - mean_) / std_

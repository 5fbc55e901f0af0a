"""A segmentation network: backbone, segmentation head, and a boundary head that can be taken off (fig. 4)."""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from inverseform.networks.backbones import TimmHrnet
from inverseform.networks.heads import HrnetV2Head, join
from inverseform.sample import Prediction


class Segmenter(nn.Module):
    """Images to class logits and, while it is trained, boundary logits from the same features."""

    def __init__(self, backbone: TimmHrnet, segmentation_head: HrnetV2Head, boundary_head: HrnetV2Head | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.segmentation_head = segmentation_head
        self.boundary_head = boundary_head

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Prediction:
        """Logits at the size of the images, which may be any; boundary logits at stride 4, or None.

        Inside, the images are padded at the right and below to a multiple of the backbone's stride.
        """
        height, width = images.shape[-2:]
        stride = self.backbone.stride
        # Normalised images are padded with 0, the mean of the training images.
        padded = F.pad(images, (0, -width % stride, 0, -height % stride))
        features = join(self.backbone(padded))
        segmentation = _enlarge(self.segmentation_head(features), images)
        if self.boundary_head is None:
            return Prediction(segmentation, None)
        boundary = self.boundary_head(features)
        # The logits' cells that lie in the padding go; a cell that lies in part in the image stays.
        scale = padded.shape[-1] // boundary.shape[-1]
        return Prediction(segmentation, boundary[..., : -(-height // scale), : -(-width // scale)])

    def without_boundary_head(self) -> "Segmenter":
        """The same network and weights with nothing left of the boundary head: what runs at inference."""
        # A shallow copy: no weight is copied, and the original keeps its head for training on.
        bare = copy.copy(self)
        bare._modules = {**self._modules, "boundary_head": None}
        return bare


def _enlarge(
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

"""From features to logits: the HRNetV2 head, for classes and for boundaries, and the layers heads are made of."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from inverseform.settings import Settings


class BoundaryHeadParams(Settings):
    """The boundary head, which every network may have."""

    boundary_head: bool
    """A second head, of the design of HRNetV2's, for boundary logits; it is not in the exported network."""
    boundary_feedback: bool
    """Show the segmentation head where the boundary head sees boundaries. That head then runs at inference too."""

    @model_validator(mode="after")
    def _feedback_has_a_source(self) -> "BoundaryHeadParams":
        if self.boundary_feedback and not self.boundary_head:
            raise ValueError("boundary_feedback needs a boundary head; set boundary_head to true, or both to false")
        return self


class HrnetV2Head(nn.Module):
    """All features brought to the finest stride and joined, one mixing layer, one linear layer."""

    def __init__(self, channels: tuple[int, ...], *, outputs: int, hidden: int | None = None) -> None:
        super().__init__()
        joined = sum(channels)
        hidden = hidden or joined
        self.mix = nn.Sequential(nn.Conv2d(joined, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True))
        self.classify = nn.Conv2d(hidden, outputs, 1)

    def forward(self, features: Float[Tensor, "batch joined rows columns"]) -> Float[Tensor, "batch _ rows columns"]:
        """Logits from features that `join` put together."""
        return self.classify(self.mix(features))


def mixing(inputs: int, outputs: int, *, kernel: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU: height and width stay."""
    # No bias: the batch norm would take it off again.
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def resize(
    maps: Float[Tensor, "batch channels _ _"], like: Float[Tensor, "_ _ rows columns"]
) -> Float[Tensor, "batch channels rows columns"]:
    """Maps at the size of others, bilinearly."""
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


def join(features: list[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch joined rows columns"]:
    """All features at the size of the first, along the channels."""
    # Up to the finest size, as HRNetV2 does: the boundary logits need the resolution of stride 4.
    return torch.cat([features[0], *(resize(f, features[0]) for f in features[1:])], dim=1)

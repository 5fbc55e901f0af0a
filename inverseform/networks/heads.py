"""From features at four strides to logits: the HRNetV2 head, for classes and for boundaries."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


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


def join(features: list[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch joined rows columns"]:
    """All features at the size of the first, along the channels."""
    size = features[0].shape[-2:]
    # Up to the finest size, as HRNetV2 does: the boundary logits need the resolution of stride 4.
    coarse = [F.interpolate(f, size=size, mode="bilinear", align_corners=False) for f in features[1:]]
    return torch.cat([features[0], *coarse], dim=1)

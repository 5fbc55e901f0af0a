"""TensorFlow's 'same' padding as constants, for networks whose weights came from there.

timm computes the padding of each map from its size. An exporter that keeps the size open makes of that, layer upon
layer, an expression that it does not simplify in an hour. Where the sides of a map are multiples of the stride, which a
padded image sees to, the padding does not depend on them.
"""

from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class SamePadded(nn.Conv2d):
    """A convolution of maps whose sides are multiples of its stride, padded as TensorFlow pads them.

    With kernel k, dilation d and stride s a side is padded by max((k - 1) d + 1 - s, 0), the odd one behind.
    """

    def forward(self, input: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """Maps of a side smaller by the stride."""
        padding: list[int] = []
        # F.pad begins with the last axis.
        for kernel, dilation, stride in zip(
            *map(reversed, (self.kernel_size, self.dilation, self.stride)), strict=True
        ):
            missing = max((kernel - 1) * dilation + 1 - stride, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(input, padding))


def settle(network: nn.Module) -> None:
    """Put `SamePadded` where timm has its own 'same' convolutions; weights and their names stay as they are."""
    from timm.layers.conv2d_same import Conv2dSame

    for name, found in list(network.named_modules()):
        if isinstance(found, Conv2dSame):
            layer = cast(nn.Conv2d, found)
            size, stride, dilation = ((pair[0], pair[1]) for pair in (layer.kernel_size, layer.stride, layer.dilation))
            settled = SamePadded(
                layer.in_channels, layer.out_channels, size, stride=stride, dilation=dilation, groups=layer.groups,
                bias=layer.bias is not None, device=layer.weight.device, dtype=layer.weight.dtype,
            )  # fmt: skip
            settled.weight, settled.bias = layer.weight, layer.bias
            network.set_submodule(name, settled)

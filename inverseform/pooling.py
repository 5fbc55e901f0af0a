"""Means over squares of pixels: what lets a network made for small maps read large ones."""

from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def pool(maps: Float[Tensor, "*batch height width"], size: int) -> Float[Tensor, "*batch rows columns"]:
    """Means over squares of `size` pixels; maps are padded with zeros at the right and below to whole squares.

    The same as `avg_pool2d`, which takes ten times as long on the CPU for a single channel.

    Args:
        maps: What to average.
        size: Side of a square, in pixels; 1 gives the maps back.
    """
    if size == 1:
        return maps
    height, width = maps.shape[-2:]
    right, below = -width % size, -height % size
    padded = F.pad(maps, (0, right, 0, below)) if right or below else maps
    return _Pool.apply(padded, size)  # pyright: ignore[reportReturnType]


class _Pool(torch.autograd.Function):
    """The mean and its transpose: autograd's own way back writes the whole map for each of the strided sums."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int) -> Tensor:  # noqa: ANN401
        ctx.size = size
        # Rows first: they lie together in memory, so that few numbers are left for the slow stride over columns.
        rows = reduce(torch.add, (maps[..., k::size, :] for k in range(size)))
        return reduce(torch.add, (rows[..., k::size] for k in range(size))) / size**2

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        gradient: Tensor,
    ) -> tuple[Tensor, None]:
        wide = (gradient / ctx.size**2).repeat_interleave(ctx.size, dim=-1)
        return wide.repeat_interleave(ctx.size, dim=-2), None

"""A map cut into square tiles, and put together again (sec. 3.4)."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def tiles(
    maps: Float[Tensor, "batch 1 height width"], tile: int, *, stride: int | None = None
) -> Float[Tensor, "batch count tile tile"]:
    """All tiles of maps of any size, row by row; the maps are padded with zeros at the right and below to be covered.

    Args:
        maps: What to cut.
        tile: Side of a tile, in pixels.
        stride: Pixels from one tile to the next; `tile` by default, so that tiles do not overlap.
    """
    stride = stride or tile
    height, width = maps.shape[-2:]
    right, below = _missing(width, tile, stride), _missing(height, tile, stride)
    # F.pad copies even when it adds nothing.
    padded = F.pad(maps, (0, right, 0, below)) if right or below else maps
    # The usual case needs no windows, and one reshape moves the least memory.
    if stride == tile:
        return rearrange(padded, "batch 1 (i h) (j w) -> batch (i j) h w", h=tile, w=tile)
    windows = padded[:, 0].unfold(1, tile, stride).unfold(2, tile, stride)
    return rearrange(windows, "batch i j h w -> batch (i j) h w")


def untile(
    tiles: Float[Tensor, "batch count tile tile"], height: int, width: int
) -> Float[Tensor, "batch 1 height width"]:
    """Maps of the given size from their tiles: the inverse of `tiles` where those do not overlap."""
    # The tiles may reach beyond the map, so their number in a row is rounded up.
    across = -(-width // tiles.shape[-1])
    return rearrange(tiles, "batch (i j) h w -> batch 1 (i h) (j w)", j=across)[..., :height, :width]


def _missing(length: int, tile: int, stride: int) -> int:
    """Pixels to add so that the last tile ends where the map does."""
    steps = max(0, -(-(length - tile) // stride))
    return steps * stride + tile - length

"""What the inverse network learns from: a tile, the same place transformed, and the transform (sec. 3.4, fig. 3).

Pairs are made and kept hard and bit-packed. They are softened when they are loaded, by degradations that make the
transformed tile look like a prediction (`inverseform.degradation`).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64, Shaped, UInt8
from torch import Tensor

from inverseform.noise import uniform
from inverseform.transform import identity

POINTS = 1 << 17
"""Pixels cut at a time."""


def crop(
    boundary: Shaped[Tensor, "1 height width"], origins: Int64[Tensor, "count 2"], tile: int
) -> Shaped[Tensor, "count tile tile"]:
    """Tiles of a map as they are; what of a tile lies beyond the map is 0.

    Args:
        boundary: The map, of any type.
        origins: Row and column of each tile's upper left pixel; they may lie up to a tile outside the map.
        tile: Side of a tile, in pixels.
    """
    height, width = boundary.shape[-2:]
    last = torch.tensor([height - tile, width - tile], device=origins.device)
    if min(height, width) < tile or ((origins < 0) | (origins > last)).any():
        boundary, origins = F.pad(boundary, (tile, tile, tile, tile)), origins + tile
    # A view of all windows there are: reading some of them copies their rows and nothing else.
    return boundary[0].unfold(0, tile, 1).unfold(1, tile, 1)[origins[:, 0], origins[:, 1]]


def cut(
    boundary: Float[Tensor, "1 height width"],
    origins: Int64[Tensor, "count 2"],
    theta: Float[Tensor, "count 3 3"],
    *,
    tile: int,
) -> Bool[Tensor, "count tile tile"]:
    """Hard transformed tiles of one boundary map.

    The transform acts on the surroundings of a tile, so that boundaries move in from beyond it and no false border
    enters; only what lies outside the whole map is empty. Each pixel is that of the map in which its centre falls:
    a map of zeros and ones has nothing to interpolate.

    Args:
        boundary: The map, 0 or 1.
        origins: Row and column of each tile's upper left pixel; for the identity, at most a tile outside the map.
        theta: For each tile, from coordinates of the result to coordinates of the tile; the identity cuts it as it is.
        tile: Side of a tile, in pixels.
    """
    if torch.equal(theta, identity(len(theta), like=theta)):
        return crop(boundary > 0.5, origins, tile)
    # A frame of zeros, where everything from outside is read.
    framed = F.pad(boundary[0] > 0.5, (1, 1, 1, 1))
    # A few tiles at a time, so that their coordinates stay in the cache.
    parts = zip(origins.split(some := max(1, POINTS // tile**2)), theta.split(some), strict=True)
    return torch.cat([_read(framed, *part, tile) for part in parts])


def _read(
    framed: Bool[Tensor, "height width"],
    origins: Int64[Tensor, "count 2"],
    theta: Float[Tensor, "count 3 3"],
    tile: int,
) -> Bool[Tensor, "count tile tile"]:
    # From coordinates of the tile to pixels of the framed map: done to theta, nine numbers, and not to every pixel.
    theta = theta.clone()
    start = origins.flip(-1) + (tile / 2 + 1)
    theta[:, :2] = theta[:, :2] * (tile / 2) + start[:, :, None] * theta[:, 2:]
    place = (torch.arange(tile, dtype=theta.dtype, device=theta.device) * 2 + 1) / tile - 1
    # What the columns give and what the rows give, then their sum: no list of points is made.
    across, down = theta[:, :, 0, None] * place, theta[:, :, 1, None] * place + theta[:, :, 2, None]
    y, x = (across[:, k, None, :] + down[:, k, :, None] for k in (1, 0))
    if theta[:, 2, :2].any():
        depth = across[:, 2, None, :] + down[:, 2, :, None]
        y, x = y / depth, x / depth
    # The clamp comes first, as an integer cannot hold all.
    row, column = (a.clamp_(0, last - 0.5).to(torch.int32) for a, last in zip((y, x), framed.shape, strict=True))
    index = row.mul_(framed.shape[1]).add_(column)
    return framed.flatten().index_select(0, index.flatten()).view_as(index)


def pack(tiles: Bool[Tensor, "count tile tile"]) -> UInt8[Tensor, "count bytes"]:
    """Eight pixels to a byte, row by row, the first pixel in the lowest bit; the last byte is filled with zeros."""
    # Bits cost 512 bytes for a tile of 64 pixels, where floats would cost 16 kB.
    flat = F.pad(rearrange(tiles, "count row column -> count (row column)"), (0, -tiles[0].numel() % 8))
    # Eight pixels, a byte each, as one number: the product moves the lowest bit of byte i to bit 56 + i, and none of
    # the other products of bits meet there or carry.
    eight = flat.contiguous().view(torch.int64)
    return (eight * 0x0102040810204080 >> 56).to(torch.uint8)


def unpack(packed: UInt8[Tensor, "count bytes"], tile: int) -> Bool[Tensor, "count tile tile"]:
    """The tiles that `pack` packed."""
    bits = packed[..., None] >> torch.arange(8, dtype=torch.uint8, device=packed.device) & 1
    flat = rearrange(bits.bool(), "count bytes bit -> count (bytes bit)")[:, : tile * tile]
    return rearrange(flat, "count (row column) -> count row column", row=tile)


def reflect(
    tile: Bool[Tensor, "count tile tile"],
    warped: Shaped[Tensor, "count tile tile"],
    theta: Float[Tensor, "count 3 3"],
    seeds: Int64[Tensor, " count"],
) -> tuple[Bool[Tensor, "count tile tile"], Shaped[Tensor, "count tile tile"], Float[Tensor, "count 3 3"]]:
    """Pairs under one of the eight symmetries of the square each, which the seeds decide.

    A symmetry S, applied to both tiles, turns predicted(u) = target(theta u) into the same with S theta S^-1, so every
    pair stands for eight.
    """
    # Stream 4 of a seed is stream 1 of the next; that is harmless, as seeds are drawn from 2**40.
    mirrored = uniform(seeds, 4, 3) < 0.5
    symmetry = torch.eye(3, dtype=theta.dtype, device=theta.device).repeat(len(theta), 1, 1)
    for axis, dim in ((0, -1), (1, -2)):
        chosen = mirrored[:, axis, None, None]
        tile, warped = (torch.where(chosen, tiles.flip(dim), tiles) for tiles in (tile, warped))
        symmetry[:, axis, axis] = torch.where(mirrored[:, axis], -1.0, 1.0)
    chosen = mirrored[:, 2, None, None]
    tile, warped = (torch.where(chosen, tiles.transpose(-1, -2), tiles) for tiles in (tile, warped))
    # Swapping rows multiplies from the left: the transposition comes after the mirrors, as it did for the tiles.
    swapped = symmetry[:, [1, 0, 2]]
    symmetry = torch.where(chosen, swapped, symmetry)
    # A symmetry is orthogonal: its inverse is its transpose.
    return tile, warped, symmetry @ theta @ symmetry.transpose(-1, -2)


def remainders(seeds: Int64[Tensor, " count"], blended: float) -> Float[Tensor, " count"]:
    """What share of its transform each pair keeps when its prediction is blended with the unmoved one.

    A descent on the pixels of a map takes them from the moved map to the true one through mixtures of both, which no
    transform makes. For a share `blended` of the pairs it is uniform between 0 and 1; the others keep all.
    """
    # The third stream of a seed; degradations have the first two.
    drawn = uniform(seeds, 3, 2)
    return torch.where(drawn[:, 0] < blended, drawn[:, 1], 1.0)

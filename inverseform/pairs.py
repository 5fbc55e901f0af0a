"""What the inverse network learns from: a tile, the same place transformed, and the transform (sec. 3.4, fig. 3).

Pairs are made and kept hard and bit-packed. They are softened when they are loaded, by degradations that make the
transformed tile look like a prediction; each is a function of the pair's own seed alone.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from pydantic import Field
from torch import Tensor

from inverseform.settings import Settings
from inverseform.transform import grid

_MIX = (-7046029254386353131, -4658895280553007687, -7723592293110705685)
"""The constants of the splitmix64 generator, as signed numbers."""


class DegradationParams(Settings):
    """How often the transformed tile of a pair is made to look like a prediction, and how much."""

    missing: float = Field(ge=0, le=1)
    """Probability that a square of up to a third of the tile's side is wiped out."""
    thick: float = Field(ge=0, le=1)
    """Probability that lines are made a pixel thicker on both sides."""
    blurred: float = Field(ge=0, le=1)
    """Probability of a Gaussian blur."""
    blur_sigma: float = Field(ge=0.3)
    """Largest standard deviation of that blur, in pixels; the smallest is 0.3."""
    faint: float = Field(ge=0, le=1)
    """Probability that all values are multiplied by a factor between 0.3 and 1."""
    noisy: float = Field(ge=0, le=1)
    """Probability of uniform noise, of up to 0.2 to both sides."""


def cut(
    boundary: Float[Tensor, "1 height width"],
    origins: Int64[Tensor, "count 2"],
    theta: Float[Tensor, "count 3 3"],
    *,
    tile: int,
) -> Bool[Tensor, "count tile tile"]:
    """Hard transformed tiles of one boundary map.

    The transform acts on the surroundings of a tile, so that boundaries move in from beyond it and no false border
    enters; only what lies outside the whole map is empty.

    Args:
        boundary: The map, 0..1.
        origins: Row and column of each tile's upper left pixel.
        theta: For each tile, from coordinates of the result to coordinates of the tile; the identity cuts it as it is.
        tile: Side of a tile, in pixels.
    """
    height, width = boundary.shape[-2:]
    points = grid(theta, tile, tile)
    # From the tile's coordinates, -1 to 1, to pixels of the map, and from there to the map's coordinates.
    corner = rearrange(origins.flip(-1), "count xy -> count 1 1 xy").to(points.dtype)
    pixels = corner + (points + 1) * tile / 2
    sides = torch.tensor([width, height], dtype=points.dtype, device=points.device)
    # One tall grid over the one map: a batch of grids would have grid_sample copy the map for each.
    tall = rearrange(2 * pixels / sides - 1, "count row column xy -> 1 (count row) column xy")
    sampled = F.grid_sample(boundary[None], tall, mode="bilinear", padding_mode="zeros", align_corners=False)
    # A hair under a half, so that rounding in the coordinates cannot lose a line that is cut through its middle.
    return rearrange(sampled, "1 1 (count row) column -> count row column", row=tile) > 0.499


def pack(tiles: Bool[Tensor, "count tile tile"]) -> UInt8[Tensor, "count bytes"]:
    """Eight pixels to a byte, row by row, the first pixel in the lowest bit; the last byte is filled with zeros."""
    # Bits cost 512 bytes for a tile of 64 pixels, where floats would cost 16 kB.
    flat = F.pad(rearrange(tiles, "count row column -> count (row column)"), (0, -tiles[0].numel() % 8))
    bits = rearrange(flat, "count (bytes bit) -> count bytes bit", bit=8).to(torch.uint8)
    # In 8 bits to the end: torch would add bytes up to 64-bit numbers.
    return (bits << torch.arange(8, dtype=torch.uint8, device=bits.device)).sum(dim=-1, dtype=torch.uint8)


def unpack(packed: UInt8[Tensor, "count bytes"], tile: int) -> Bool[Tensor, "count tile tile"]:
    """The tiles that `pack` packed."""
    bits = packed[..., None] >> torch.arange(8, dtype=torch.uint8, device=packed.device) & 1
    flat = rearrange(bits.bool(), "count bytes bit -> count (bytes bit)")[:, : tile * tile]
    return rearrange(flat, "count (row column) -> count row column", row=tile)


def reflect(
    tile: Bool[Tensor, "count tile tile"],
    warped: Bool[Tensor, "count tile tile"],
    theta: Float[Tensor, "count 3 3"],
    seeds: Int64[Tensor, " count"],
) -> tuple[Bool[Tensor, "count tile tile"], Bool[Tensor, "count tile tile"], Float[Tensor, "count 3 3"]]:
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


def degrade(
    tiles: Float[Tensor, "count tile tile"], seeds: Int64[Tensor, " count"], params: DegradationParams
) -> Float[Tensor, "count tile tile"]:
    """Tiles in [0, 1] as a network might have predicted them; the same for the same seeds, in whatever batch."""
    # Every degradation is worked out for every tile and then chosen: no branch waits for the device.
    chance, amount = uniform(seeds, 1, 8), uniform(seeds, 2, 8)
    tiles = torch.where(_on(chance[:, 0], params.missing), _wipe(tiles, amount[:, :3]), tiles)
    thicker = F.max_pool2d(tiles[:, None], 3, stride=1, padding=1)[:, 0]
    tiles = torch.where(_on(chance[:, 1], params.thick), thicker, tiles)
    sigma = 0.3 + (params.blur_sigma - 0.3) * amount[:, 3]
    tiles = torch.where(_on(chance[:, 2], params.blurred), _blur(tiles, sigma, params.blur_sigma), tiles)
    tiles = torch.where(_on(chance[:, 3], params.faint), tiles * (0.3 + 0.7 * amount[:, 4, None, None]), tiles)
    noise = uniform(seeds, 3, tiles[0].numel()).reshape(tiles.shape) * 2 - 1
    noisy = tiles + 0.2 * amount[:, 5, None, None] * noise
    return torch.where(_on(chance[:, 4], params.noisy), noisy, tiles).clamp(0, 1)


def uniform(seeds: Int64[Tensor, " count"], stream: int, numbers: int) -> Float[Tensor, "count numbers"]:
    """Numbers in [0, 1) that depend on the seed, the stream and their place alone (a hash, splitmix64's)."""
    place = torch.arange(numbers, dtype=torch.int64, device=seeds.device)
    state = _mix(_mix(seeds * 3 + stream)[:, None] + place * _MIX[0])
    # 24 bits, as many as a float's mantissa: with more, rounding could give 1.
    return (state & 0xFFFFFF).float() / 2**24


def _mix(state: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """splitmix64's finaliser. torch shifts signed numbers with their sign, which the masks take off."""
    state = state + _MIX[0]
    state = (state ^ (state >> 30 & 0x3FFFFFFFF)) * _MIX[1]
    state = (state ^ (state >> 27 & 0x1FFFFFFFFF)) * _MIX[2]
    return state ^ (state >> 31 & 0x1FFFFFFFF)


def _on(chance: Float[Tensor, " count"], probability: float) -> Bool[Tensor, "count 1 1"]:
    return (chance < probability)[:, None, None]


def _wipe(
    tiles: Float[Tensor, "count tile tile"], amount: Float[Tensor, "count 3"]
) -> Float[Tensor, "count tile tile"]:
    """Nothing left in a square: its centre and its side are drawn."""
    side = tiles.shape[-1]
    place = torch.arange(side, device=tiles.device)
    half = amount[:, :1] * side / 6
    inside = [((place - amount[:, k, None] * side).abs() <= half) for k in (1, 2)]
    return tiles * ~(inside[0][:, :, None] & inside[1][:, None, :])


def _blur(
    tiles: Float[Tensor, "count tile tile"], sigma: Float[Tensor, " count"], largest: float
) -> Float[Tensor, "count tile tile"]:
    """Each tile under a Gaussian of its own width, one axis after the other, all in one grouped convolution."""
    # 2.5 standard deviations hold 98.8% of a Gaussian; the weights are made to sum to 1 again.
    reach = math.ceil(2.5 * largest)
    place = torch.arange(-reach, reach + 1, device=tiles.device)
    weight = torch.exp(-0.5 * (place / sigma[:, None]) ** 2)
    weight = weight / weight.sum(dim=1, keepdim=True)
    for shape, padding in (("count k -> count 1 k 1", (reach, 0)), ("count k -> count 1 1 k", (0, reach))):
        kernel = rearrange(weight, shape)
        tiles = F.conv2d(tiles[None], kernel, padding=padding, groups=len(tiles))[0]
    return tiles

"""Randomness that belongs to a number: a hash of seeds, and a bank of textures drawn once.

A hash for each pixel would cost more than all that is done with it; so noise is drawn once, from a constant seed, and
what a seed decides is only where in it a window is read.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

_MIX = (-7046029254386353131, -4658895280553007687, -7723592293110705685)
"""The constants of the splitmix64 generator, as signed numbers."""
BLOB, STREAK = 8, (16, 4)
"""Pixels from one knot of the smooth noise to the next, and of the streaks along y and x."""


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


class Bank(NamedTuple):
    """Square textures to read windows from."""

    white: Float[Tensor, "side side"]
    """Uniform in [0, 1), each pixel alone."""
    smooth: Float[Tensor, "side side"]
    """Uniform in [0, 1), in blobs of about `BLOB` pixels."""
    lines: Float[Tensor, "side side"]
    """Curved pieces of line, 2 pixels wide: 1, elsewhere 0; about three to a tile, 0.15 to 0.6 of its side long."""
    streaks: Float[Tensor, "side side"]
    """Uniform in [0, 1), in upright streaks."""
    regions: Float[Tensor, "side side"]
    """Uniform in [0, 1), in regions of about half a tile."""


@lru_cache(maxsize=4)
def bank(tile: int, device: torch.device) -> Bank:
    """The textures for tiles of that side, three times as large; always the same ones."""
    side = 3 * tile
    generator = torch.Generator().manual_seed(20210407)
    white = torch.rand(side, side, generator=generator)
    smooth, lines = _smooth(side, (BLOB, BLOB), generator), _lines(side, tile, generator)
    streaks, regions = (_smooth(side, step, generator) for step in (STREAK, (tile // 2, tile // 2)))
    return Bank(*(texture.to(device) for texture in (white, smooth, lines, streaks, regions)))


def window(
    texture: Float[Tensor, "side side"], place: Float[Tensor, "count 2"], tile: int
) -> Float[Tensor, "count tile tile"]:
    """Windows of a texture, at places in [0, 1) of where they can lie."""
    corner = (place * (texture.shape[0] - tile + 1)).long()
    return texture.unfold(0, tile, 1).unfold(1, tile, 1)[corner[:, 0], corner[:, 1]]


def displacement(
    place: Float[Tensor, "count 4"], largest: Float[Tensor, " count"], side: int
) -> Float[Tensor, "count 2 side side"]:
    """Smooth fields of moves along y and x, in pixels: of mean 0 and with no linear part, each within its bound.

    A displacement with a mean would be a shift, one with a linear part a scale, turn or shear: the truth of the pair
    that it is done to would be another. What is left is no affine map's.
    """
    weights, projection = _wobble(side, place.device)
    white, count = bank(side, place.device).white, weights.shape[1]
    knots = torch.stack([window(white, place[:, k : k + 2], count) for k in (0, 2)], dim=1).flatten(2)
    knots = (knots * 2 - 1) @ projection
    knots = knots * (largest[:, None, None] / knots.abs().amax(dim=-1, keepdim=True))
    return weights @ knots.unflatten(-1, (count, count)) @ weights.T


def _smooth(side: int, step: tuple[int, int], generator: torch.Generator) -> Float[Tensor, "side side"]:
    """Noise interpolated between knots so many pixels apart."""
    knots = torch.randn(1, 1, *(side // pixels + 2 for pixels in step), generator=generator)
    smooth = F.interpolate(knots, size=(side, side), mode="bicubic", align_corners=True)
    # By rank, so that a share s of the pixels lies below s, whatever the interpolation does to the values.
    rank = torch.empty(side * side)
    rank[smooth.flatten().argsort()] = torch.arange(side * side) / side**2
    return rank.view(side, side)


def _lines(side: int, tile: int, generator: torch.Generator) -> Float[Tensor, "side side"]:
    """Parabolic arcs that leave at one side of the texture and come in again at the other."""
    count = 3 * (side // tile) ** 2
    start, bend = torch.rand(count, 1, 2, generator=generator) * side, torch.randn(count, 1, generator=generator)
    length = tile * (0.15 + 0.45 * torch.rand(count, 1, generator=generator))
    angle = 2 * torch.pi * torch.rand(count, 1, generator=generator)
    # Two points to a pixel leave no hole in a line of two pixels.
    along = torch.linspace(0, 1, 2 * tile)
    turned = angle + 0.6 * bend * along
    points = start + length[..., None] * along[:, None] * torch.stack([turned.cos(), turned.sin()], dim=-1)
    texture = torch.zeros(side, side)
    for down in (0, 1):
        for right in (0, 1):
            row, column = ((points.floor().long() + torch.tensor([down, right])) % side).unbind(-1)
            texture[row, column] = 1
    return texture


@lru_cache(maxsize=4)
def _wobble(side: int, device: torch.device) -> tuple[Float[Tensor, "side count"], Float[Tensor, "all all"]]:
    """From a few knots along an axis to its pixels; and what takes a field's mean and linear part away."""
    count = max(4, round(side / 16) + 1)
    place = torch.linspace(0, count - 1, side)
    before = place.long().clamp(max=count - 2)
    # Smooth between two knots, and never beyond them: the knots' bound is the field's.
    part = place - before
    part = part * part * (3 - 2 * part)
    weights = torch.zeros(side, count)
    weights[torch.arange(side), before] = 1 - part
    weights[torch.arange(side), before + 1] += part
    line, ones = torch.linspace(-1, 1, side), torch.ones(side)
    affine = [
        torch.outer(weights.T @ a, weights.T @ b).flatten() for a, b in ((ones, ones), (ones, line), (line, ones))
    ]
    basis = torch.linalg.qr(torch.stack(affine, dim=1)).Q
    projection = torch.eye(count * count) - basis @ basis.T
    return weights.to(device), projection.to(device)

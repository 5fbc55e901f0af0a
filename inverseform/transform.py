"""Transforms between two boundary maps: drawn, applied, and as the few numbers that a network can regress.

Convention, stated once. `theta` is a 3x3 matrix that maps *output* coordinates to *input* coordinates; those are in
[-1, 1] over the whole tile, x right, y down, `align_corners=False` (-1 and 1 are the outer edges of the first and last
pixel); the last entry is 1. Between a predicted boundary and the true one, theta maps predicted to target:
predicted(u) = target(theta u), that is b_pred = t_theta(b_gt).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from inverseform.settings import ScaleRange, Settings

DegreesOfFreedom = Literal[4, 6, 8]
ENTRIES: dict[int, tuple[int, ...]] = {4: (0, 4, 2, 5), 6: (0, 1, 2, 3, 4, 5), 8: (0, 1, 2, 3, 4, 5, 6, 7)}
"""Which entries of the flattened matrix vary: two scales and two shifts, the affine map, or the homography."""


class TransformRanges(Settings):
    """How far apart the two boundary maps of a pair may be; each quantity is drawn uniformly and alone."""

    translation: float = Field(ge=0, le=1)
    """Largest shift along x and y, in half tiles."""
    scale: ScaleRange
    """Smallest and largest factor along x and y."""
    rotation: float = Field(ge=0, le=180)
    """Largest turn, in degrees."""
    shear: float = Field(ge=0, lt=90)
    """Largest shear angle, in degrees."""
    perspective: float = Field(ge=0, lt=0.45)
    """Largest perspective along x and y, theta[2, 0] and theta[2, 1]; used with 8 degrees of freedom only."""

    @model_validator(mode="after")
    def _horizon_stays_outside(self) -> "TransformRanges":
        # theta sends 1 + p.u = 0 to infinity: at |p| < 0.45 outside the tile. Its inverse sends what this line bounds
        # there: u = A^-1 (v - t) for v in the tile must stay on the near side, whatever is drawn.
        turn = math.radians(min(self.rotation, 45))
        side = (1 + self.translation) * (math.cos(turn) + math.sin(turn))
        reach = side * (2 + math.tan(math.radians(self.shear))) / self.scale[0]
        if self.perspective * reach >= 1:
            raise ValueError(
                f"perspective is {self.perspective}: with the other ranges it has to be under {1 / reach:.3f}, or the "
                "horizon could cross the tile; write a smaller perspective, 0 for none"
            )
        return self


def draw(
    count: int, ranges: TransformRanges, *, degrees_of_freedom: DegreesOfFreedom, generator: torch.Generator
) -> Float[Tensor, "count 3 3"]:
    """Random transforms: translation * rotation * shear * scale * perspective.

    With 4 degrees of freedom there is neither rotation nor shear; only 8 have perspective, [[1, 0, 0], [0, 1, 0],
    [p, q, 1]], so that the last row of theta is (p, q, 1) and its determinant that of the two scales.
    """
    # All six are drawn whatever is used, so that the degrees of freedom do not change the other draws.
    unit = torch.rand(count, 6, generator=generator, dtype=torch.float64)
    if degrees_of_freedom == 8:
        unit = torch.cat([unit, torch.rand(count, 2, generator=generator, dtype=torch.float64)], dim=1)
    return within(unit[:, :degrees_of_freedom], ranges).float()


def within(unit: Float[Tensor, "count numbers"], ranges: TransformRanges) -> Float[Tensor, "count 3 3"]:
    """The transforms at places of the ranges, 0 to 1 each.

    Args:
        unit: For both shifts and both scales; with 6 numbers also for rotation and shear, with 8 for both perspectives.
        ranges: What 0 and 1 stand for.
    """
    turn, tilt = unit.shape[1] >= 6, unit.shape[1] == 8
    signed = 2 * unit - 1
    low, high = ranges.scale
    size = low + (high - low) * unit[:, 2:4]
    none = torch.zeros_like(unit[:, 0])
    angle = signed[:, 4] * math.radians(ranges.rotation) if turn else none
    slant = torch.tan(signed[:, 5] * math.radians(ranges.shear)) if turn else none
    theta = compose(signed[:, :2] * ranges.translation, size, angle, slant)
    return theta @ from_offsets(F.pad(signed[:, 6:] * ranges.perspective, (6, 0))) if tilt else theta


def compose(
    shift: Float[Tensor, "batch 2"],
    scale: Float[Tensor, "batch 2"],
    rotation: Float[Tensor, " batch"],
    shear: Float[Tensor, " batch"],
) -> Float[Tensor, "batch 3 3"]:
    """The matrix of a shift (half tiles), two scales, a turn (radians) and a shear (tangent)."""
    cos, sin = rotation.cos(), rotation.sin()
    turn = torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))
    # A shear along x only: with the turn and two scales it makes up every linear map near the identity.
    slant = torch.eye(2, dtype=shear.dtype, device=shear.device).repeat(len(shear), 1, 1)
    slant[:, 0, 1] = shear
    theta = identity(len(shift), like=shift)
    theta[:, :2, :2] = turn @ slant @ torch.diag_embed(scale)
    theta[:, :2, 2] = shift
    return theta


def identity(count: int, *, like: Float[Tensor, "*any"]) -> Float[Tensor, "count 3 3"]:
    """The transform that changes nothing, `count` times, of the type and on the device of a tensor."""
    return torch.eye(3, dtype=like.dtype, device=like.device).repeat(count, 1, 1)


def inverse(theta: Float[Tensor, "batch 3 3"]) -> Float[Tensor, "batch 3 3"]:
    """The transforms back, their last entry 1; a theta that is affine has exactly (0, 0, 1) in its last row again."""
    # The adjugate: its rows are cross products of theta's columns. Its scale is of no matter, so no determinant is.
    x, y, z = theta.unbind(-1)
    adjugate = torch.stack([torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)], dim=-2)
    return adjugate / adjugate[:, 2:, 2:]


def offsets(theta: Float[Tensor, "batch 3 3"], degrees_of_freedom: DegreesOfFreedom) -> Float[Tensor, "batch numbers"]:
    """How far the entries that vary are from the identity's: what an inverse network regresses."""
    difference = theta - identity(len(theta), like=theta)
    return rearrange(difference, "batch row column -> batch (row column)")[:, list(ENTRIES[degrees_of_freedom])]


def from_offsets(numbers: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch 3 3"]:
    """The transform whose offsets are given: 4, 6 or 8 of them."""
    if numbers.shape[-1] == 4:
        width, height, right, down = numbers.unbind(dim=-1)
        none = torch.zeros_like(width)
        numbers = torch.stack([width, none, right, none, height, down], dim=-1)
    # Those that vary come first, row by row; what is missing of the nine is 0.
    difference = F.pad(numbers, (0, 9 - numbers.shape[-1])).unflatten(-1, (3, 3))
    return difference + torch.eye(3, dtype=numbers.dtype, device=numbers.device)


def grid(theta: Float[Tensor, "batch 3 3"], height: int, width: int) -> Float[Tensor, "batch height width 2"]:
    """Where in the input each output pixel's centre comes from, as (x, y)."""
    # Centres of pixels, as align_corners=False has them: -1 + 1/n to 1 - 1/n.
    x, y = ((torch.arange(n, dtype=theta.dtype, device=theta.device) * 2 + 1) / n - 1 for n in (width, height))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)
    mapped = einsum(theta, points, "batch i j, height width j -> batch height width i")
    # The third coordinate is 1 unless there are 8 degrees of freedom: only a homography has perspective.
    return mapped[..., :2] / mapped[..., 2:]


def warp(
    maps: Float[Tensor, "batch channels height width"], theta: Float[Tensor, "batch 3 3"]
) -> Float[Tensor, "batch channels height width"]:
    """Transformed maps t_theta(x), bilinear; what comes from outside the map is 0."""
    points = grid(theta, *maps.shape[-2:])
    return F.grid_sample(maps, points, mode="bilinear", padding_mode="zeros", align_corners=False)

"""By how many pixels an estimated transform misplaces a boundary, along the boundary's normal.

A boundary that is displaced along itself looks the same, so no network can tell, and no error is made by not telling.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from inverseform.transform import grid

SIGMA = 1.5
"""Standard deviation of the Gaussian under which boundaries are smoothed and gradients are averaged, in pixels."""


def normal_error(
    estimate: Float[Tensor, "batch 3 3"], truth: Float[Tensor, "batch 3 3"], moved: Float[Tensor, "batch tile tile"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Error of the displacement that an estimate gives to a boundary, along the normal: mean and median, in pixels.

    Args:
        estimate: From coordinates of the moved map to those of the target.
        truth: What that is in truth.
        moved: The moved boundary map; its pixels above a half are the boundary, but for a rim of 3 pixels.
    """
    side = moved.shape[-1]
    error = (grid(estimate, side, side) - grid(truth, side, side)) * side / 2
    across = (error * normals(moved)).sum(dim=-1).abs()
    # Which way a line runs cannot be seen at the frame, where it ends.
    rim = min(round(2 * SIGMA), side // 8)
    seen = F.pad(moved[:, rim : side - rim, rim : side - rim], (rim, rim, rim, rim)) > 0.5
    pixels = rearrange(across.masked_fill(~seen, torch.nan), "batch row column -> batch (row column)")
    return pixels.nanmean(dim=1), pixels.nanmedian(dim=1).values


def normals(maps: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width 2"]:
    """Unit vectors (x, y) normal to the boundary near each pixel, from the structure tensor of the smoothed map."""
    smooth = blur(maps[:, None])
    around = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    x, y = (around[..., 1:-1, 2:] - around[..., 1:-1, :-2]), (around[..., 2:, 1:-1] - around[..., :-2, 1:-1])
    # A line has opposite gradients on its two sides: only their products may be averaged.
    xx, yy, xy = (blur(product)[:, 0] for product in (x * x, y * y, x * y))
    angle = torch.atan2(2 * xy, xx - yy) / 2
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def blur(maps: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Under a Gaussian of `SIGMA`; the map goes on beyond its frame as it ends there."""
    weight = torch.exp(-0.5 * (torch.arange(-4.0, 5.0, device=maps.device) / SIGMA) ** 2)
    weight = weight / weight.sum()
    padded = F.pad(maps, (4, 4, 4, 4), mode="replicate")
    return F.conv2d(F.conv2d(padded, weight.view(1, 1, 1, -1)), weight.view(1, 1, -1, 1))

"""The transform that fits displacements best: weighted least squares with a prior, in closed form."""

import torch
from jaxtyping import Float
from torch import Tensor

from inverseform.transform import ENTRIES


def fit(
    centres: Float[Tensor, "2 cells"],
    found: Float[Tensor, "batch 2 cells"],
    precision: Float[Tensor, "batch 3 cells"],
    mean: Float[Tensor, " numbers"],
    scale: Float[Tensor, " numbers"],
) -> Float[Tensor, "batch numbers"]:
    """Normalised offsets that send the cells' centres closest to where they were found: weighted least squares.

    With X = (x, y, 1) a centre and (u, v) where it was found, the six affine offsets move it by (X . o_1, X . o_2). A
    homography divides by 1 + x g + y h; multiplied out, with (u, v) on the other side, g and h enter linearly too. So
    all that the normal equations need are sums of X X^T and X over the cells, under six weights and three.

    Args:
        centres: Of the cells, x and y.
        found: Where they are in the target.
        precision: Of each `found`: the entries xx, xy, yy of a positive 2x2 matrix.
        mean: Of the offsets, in the prior.
        scale: Standard deviation of the same.
    """
    numbers = len(mean)
    (u, v), (xx, xy, yy) = found.unbind(dim=1), precision.unbind(dim=1)
    # Precision times what is to be explained, the displacement.
    x, y = u - centres[0], v - centres[1]
    right = [xx * x + xy * y, xy * x + yy * y]
    weights = [xx, xy, yy]
    if numbers == 8:
        along = [xx * u + xy * v, xy * u + yy * v]
        weights += [-along[0], -along[1], along[0] * u + along[1] * v]
        right.append(-(right[0] * u + right[1] * v))
    X = torch.cat([centres, torch.ones_like(centres[:1])]).T
    outer = (X[:, :, None] * X[:, None, :]).flatten(1)
    moments = (torch.stack(weights, dim=1) @ outer).unflatten(2, (3, 3))
    blocks = [[0, 1], [1, 2]] if numbers < 8 else [[0, 1, 3], [1, 2, 4], [3, 4, 5]]
    normal = torch.cat([torch.cat([moments[:, k] for k in row], dim=2) for row in blocks], dim=1)
    wanted = (torch.stack(right, dim=1) @ X).flatten(1)
    if numbers == 4:
        entries = list(ENTRIES[numbers])
        normal, wanted = normal[:, entries][:, :, entries], wanted[:, entries]
    # Of nine unknowns the last is no offset: theta's last entry is 1.
    normal, wanted = normal[:, :numbers, :numbers], wanted[:, :numbers]
    wanted = (wanted - (normal * mean).sum(dim=-1)) * scale
    normal = normal * scale * scale[:, None] + torch.eye(numbers, dtype=normal.dtype, device=normal.device)
    # Never singular, as the prior is in it; the form that does not wait for the GPU to say so.
    factor, _ = torch.linalg.cholesky_ex(normal)
    return torch.cholesky_solve(wanted[..., None], factor)[..., 0]

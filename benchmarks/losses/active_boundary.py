"""Active boundary loss (Wang et al., AAAI 2022, arXiv 2102.02696): predicted boundaries are pushed to the true ones.

Where neighbouring class probabilities differ most there is a predicted boundary. Each of its pixels i has a direction
to go, the one of its eight neighbours that lies nearest to a true boundary, and says where it would go by its
divergences from them. With M the distance to the true boundary in pixels and N the number of predicted ones,

    D_i = softmax over k of KL(P_i || P_{i + k}),   ABL = 1/N sum_i min(M_i, 20) / 20 * CE(D_i, the direction of i).

The neighbours' probabilities carry no gradient, and the direction's one-hot vector is smoothed to 0.8 and 0.2 / 7.

Where the paper leaves a choice, or knows no ignored pixels:

- N is at most 1% of an image: of the image's own pixels. The authors' program counts over the batch.
- A divergence is that of the centre from its neighbour, as the paper writes it; their program turns it round.
- A boundary parts known pixels. A predicted one is counted if no ignored pixel is nearer than a true boundary: one that
  is hidden there could be its own.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from inverseform.sample import IGNORE_INDEX

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Rows down and columns right; the first of equally near ones is taken."""
SHARE = 0.01
"""Of an image's pixels, at most, that are predicted boundary."""
LEAST = 1e-5
"""Divergence that a predicted boundary has at least: an image of one class has none."""
FAR = 20.0
"""Distance in pixels beyond which all pixels weigh the same."""
SURE = 0.8
"""What the smoothed direction gives to the true one."""


def active_boundary(
    logits: Float[Tensor, "batch classes height width"], labels: Integer[Tensor, "batch height width"]
) -> Float[Tensor, ""]:
    """The loss of class logits, at the size of the labels; a zero with a gradient where nothing is to be moved."""
    log_p = logits.float().log_softmax(dim=1)
    away, hidden = distances(labels)
    predicted = predicted_boundary(log_p.detach()) & (labels != IGNORE_INDEX) & (away < hidden)
    image, row, column = predicted.nonzero(as_tuple=True)
    here = log_p[image, :, row, column]
    # One pixel of frame: the picture goes on as it ends, and no distance is shorter out there.
    around = F.pad(log_p.detach(), (1, 1, 1, 1), mode="replicate")
    outside = F.pad(away, (1, 1, 1, 1), value=torch.inf)
    places = [(image, row + 1 + down, column + 1 + right) for down, right in NEIGHBOURS]
    divergence = torch.stack(
        [(here.exp() * (here - around[b, :, y, x])).sum(dim=1) for b, y, x in places], dim=1
    )  # fmt: skip
    direction = torch.stack([outside[place] for place in places], dim=1).argmin(dim=1)
    entropy = _smoothed(divergence.log_softmax(dim=1), direction)
    weight = away[image, row, column].clamp(max=FAR) / FAR
    return (entropy * weight).sum() / max(1, len(image)) + logits.sum() * 0


def predicted_boundary(log_p: Float[Tensor, "batch classes height width"]) -> Bool[Tensor, "batch height width"]:
    """Pixels that differ most from the one below or the one to the right, at most `SHARE` of each image."""
    below, right = (_divergence(log_p, log_p.roll(-1, dims=axis)) for axis in (2, 3))
    # Beyond the frame there is nothing to differ from.
    below[:, -1], right[..., -1] = 0, 0
    differs = torch.maximum(below, right)
    most = int(SHARE * differs[0].numel())
    # Above the first value that is one too many; of equal values there, none.
    limit = differs.flatten(1).topk(most + 1, dim=1).values[:, -1].clamp(min=LEAST)
    return differs > limit[:, None, None]


def distances(
    labels: Integer[Tensor, "batch height width"],
) -> tuple[Float[Tensor, "batch height width"], Float[Tensor, "batch height width"]]:
    """Pixels from each pixel to the nearest true boundary, and to the nearest ignored pixel; inf if there is none."""
    known = labels != IGNORE_INDEX
    boundary = torch.zeros_like(known)
    boundary[:, :-1] |= (labels[:, :-1] != labels[:, 1:]) & known[:, :-1] & known[:, 1:]
    boundary[:, :, :-1] |= (labels[:, :, :-1] != labels[:, :, 1:]) & known[:, :, :-1] & known[:, :, 1:]
    return _to_nearest(boundary), _to_nearest(~known)


def _divergence(log_p: Tensor, log_q: Tensor) -> Float[Tensor, "batch height width"]:
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def _smoothed(log_d: Float[Tensor, "pixels 8"], direction: Integer[Tensor, " pixels"]) -> Float[Tensor, " pixels"]:
    """Cross entropy of the smoothed direction."""
    rest = (1 - SURE) / (len(NEIGHBOURS) - 1)
    chosen = log_d.gather(1, direction[:, None])[:, 0]
    return -(SURE - rest) * chosen - rest * log_d.sum(dim=1)


def _to_nearest(there: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """Euclidean distances to the nearest pixel that is there; by SciPy, on the CPU."""
    from scipy.ndimage import distance_transform_edt

    result = torch.full(there.shape, torch.inf)
    for image, found in zip(result, there.cpu(), strict=True):
        if found.any():
            away: Any = distance_transform_edt(~found.numpy())
            image.copy_(torch.from_numpy(away))
    return result.to(there.device)

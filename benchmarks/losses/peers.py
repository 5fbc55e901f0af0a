"""Boundary losses of MONAI and kornia, called as their documentation says; thin adapters that mind ignored pixels.

The libraries know no ignored pixels. An ignored one takes the class of the known pixel nearest to it, so that no map of
distances has a border where nothing is known; and its probabilities are made those of that class, so that it is neither
right nor wrong and has no gradient.

All three are terms beside another loss, as in their papers: Kervadec et al. 2019 add theirs to a regional loss with a
growing weight, Karimi and Salcudean 2019 to Dice. Here the other loss is cross entropy.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Integer
from torch import Tensor, nn

from inverseform.sample import IGNORE_INDEX


class Settled(nn.Module):
    """A loss of probabilities and labels without ignored pixels, made one of logits and labels with them.

    Args:
        loss: Takes probabilities (batch, classes, height, width) and int64 labels (batch, 1, height, width).
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, logits: Float[Tensor, "batch classes height width"], labels: Integer[Tensor, "batch height width"]
    ) -> Float[Tensor, ""]:
        """The loss of a batch, a zero with a gradient where no pixel is known."""
        known = labels != IGNORE_INDEX
        # An image of which nothing is known has no nearest known pixel.
        seen = known.any(dim=(1, 2))
        logits, labels, known = logits[seen].float(), labels[seen], known[seen]
        if not len(labels):
            return logits.sum()
        ids = filled(labels)
        certain = F.one_hot(ids, logits.shape[1]).movedim(-1, 1).float()
        return self.loss(torch.where(known[:, None], logits.softmax(dim=1), certain), ids[:, None])


def filled(labels: Integer[Tensor, "batch height width"]) -> Int64[Tensor, "batch height width"]:
    """Labels whose ignored pixels have the class of the nearest known one; each image must have some."""
    from scipy.ndimage import distance_transform_edt

    result = labels.long().cpu()
    for image in result:
        ignored = (image == IGNORE_INDEX).numpy()
        if ignored.any():
            nearest: Any = distance_transform_edt(ignored, return_distances=False, return_indices=True)
            row, column = torch.from_numpy(nearest).long()
            image.copy_(image[row, column])
    return result.to(labels.device)


def monai_boundary() -> Settled:
    """MONAI's BoundaryLoss: the mean of probabilities times signed distances to the true border, class by class."""
    from monai.losses.boundary_loss import BoundaryLoss

    return Settled(BoundaryLoss(include_background=True, to_onehot_y=True))


def monai_hausdorff() -> Settled:
    """MONAI's HausdorffDTLoss: squared errors times squared distances to the true and to the predicted border."""
    from monai.losses.hausdorff_loss import HausdorffDTLoss

    return Settled(HausdorffDTLoss(include_background=True, to_onehot_y=True))


def kornia_hausdorff() -> Settled:
    """Kornia's HausdorffERLoss: squared errors, eroded ten times; those that survive longer count more."""
    from kornia.losses.hausdorff import HausdorffERLoss

    return Settled(HausdorffERLoss())

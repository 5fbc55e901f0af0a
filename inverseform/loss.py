"""The InverseForm loss, eq. (5): how far predicted boundaries are from the true ones, as a frozen network sees it.

Predicted boundaries come as logits, target boundaries as 0..1 with a `valid` mask. The loss does not depend on the size
of the batch or the number of tiles, and is a zero with a gradient where there is nothing to compare. Nor does it, given
the process group, depend on how a batch is dealt out to processes.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from inverseform import inverse_net
from inverseform.distance import DISTANCES, Distance, DistanceName
from inverseform.inverse_net import InverseNet
from inverseform.pooling import pool
from inverseform.process_group import Held, ProcessGroup, ratio
from inverseform.settings import InputError
from inverseform.tiling import tiles

Reduction = Literal["mean", "sum"]
_FEW = 0.8
"""Share of occupied tiles up to which copying them out costs less than asking about the empty ones too."""


def inverseform(
    predicted: Float[Tensor, "batch 1 height width"],
    target: Float[Tensor, "batch 1 height width"],
    net: InverseNet,
    *,
    distance: Distance,
    reduction: Reduction = "mean",
    stride: int | None = None,
    calibrated: bool = True,
    group: ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """InverseForm distance between boundary maps in [0, 1], eq. (5).

    Calibrated, the transform counts as the difference of two answers, net(predicted, target) - net(target, target), so
    that a perfect prediction costs nothing whatever the network thinks of a tile and itself. Only tiles with enough
    boundary in the target count.

    Args:
        predicted: Boundary probabilities.
        target: True boundaries.
        net: A trained inverse network.
        distance: Of a transform from the identity.
        reduction: `mean` over the counted tiles of all images, or the paper's `sum` over the tiles of an image,
            averaged over the images.
        stride: Pixels from one tile to the next, a multiple of the network's pooling; the tile's side by default.
        calibrated: Whether the network's answer to the target and itself is taken off.
        group: Processes that share the batch, all of which must ask: the mean of their answers is the loss of it.
    """
    tile, pooling = net.settings.tile, net.pooling
    _check_stride(stride, pooling)
    # Of whole maps: a tile that is used twice, or not at all, is averaged once, and less is moved from here on.
    maps = [pool(each, pooling) for each in (predicted, target)]
    cut = [tiles(each, tile // pooling, stride=stride and stride // pooling) for each in maps]
    images = len(cut[0])
    given, wanted = (rearrange(each, "b n h w -> (b n) h w") for each in cut)
    occupied = wanted.mean(dim=(-2, -1)) >= max(net.settings.occupancy, 1 / tile**2)
    # Taken out where that is free and pays. A GPU would have to wait for their number, which the compiler does not know
    # either: there the work is the same however many they are, and the empty ones are multiplied away.
    if not (wanted.is_cuda or torch.compiler.is_compiling()) and 0 < occupied.sum() <= _FEW * len(occupied):
        some = occupied.nonzero()[:, 0]
        given, wanted, occupied = (tensor.index_select(0, some) for tensor in (given, wanted, occupied))
    theta = net.estimate(given, wanted, calibrated=calibrated, pooled=True)
    total = (distance(theta) * occupied).sum()
    amount = occupied.sum().to(total) if reduction == "mean" else torch.full_like(total, images)
    return ratio(total, amount, group)


class InverseFormLoss(nn.Module):
    """Eq. (5) with its inverse network frozen inside.

    The network moves with the module from device to device, stays fp32 whatever `.half()` or autocast do, and is in
    neither `parameters()` nor `state_dict()`: it is not trained, and not saved with the user's checkpoints.
    """

    def __init__(
        self,
        net: InverseNet,
        *,
        distance: DistanceName = "euclidean",
        reduction: Reduction = "mean",
        stride: int | None = None,
        calibrated: bool = True,
        group: ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise InputError(f"distance is {distance!r}: one of {', '.join(DISTANCES)}; write distance='euclidean'")
        if reduction not in get_args(Reduction):
            raise InputError(f"reduction is {reduction!r}: one of {', '.join(get_args(Reduction))}; write 'mean'")
        _check_stride(stride, net.pooling)
        self.net = _freeze(net)
        self.distance: DistanceName = distance
        self.reduction: Reduction = reduction
        self.stride = stride
        self.calibrated = calibrated
        self._held = Held(group)

    @property
    def group(self) -> ProcessGroup | None:
        """Processes that share the batch."""
        return self._held.group

    @classmethod
    def pretrained(cls, *, pooling: int = 1, **options: Any) -> "InverseFormLoss":  # noqa: ANN401 (those of __init__)
        """The loss of the universal network in this package: no training, no download, no file.

        Its figures stand in the model card beside its weights. Give `boundaries` the radius `pooling`, as
        `BoundaryAwareLoss` does by itself.

        Args:
            pooling: 1 for images of some 300 to 600 pixels; 2, 4 for those twice, four times as large: tiles are 128
                pixels times this, and should span about a third of the image.
            **options: Keyword arguments of the class.
        """
        return cls(inverse_net.pretrained(pooling=pooling), **options)

    @classmethod
    def load(cls, folder: str | Path, **options: Any) -> "InverseFormLoss":  # noqa: ANN401 (those of __init__)
        """The loss of a network that train_inverse wrote; `options` are the keyword arguments of the class.

        Raises:
            FileNotFoundError: There is no such folder.
            InputError: It does not hold an inverse network.
        """
        return cls(inverse_net.load(folder), **options)

    def forward(
        self,
        boundary_logits: Float[Tensor, "batch 1 rows columns"],
        boundary: Float[Tensor, "batch 1 height width"],
        valid: Float[Tensor, "batch 1 height width"] | None = None,
    ) -> Float[Tensor, ""]:
        """Distance of predicted boundaries, logits at any stride, from true ones."""
        # The difference of two like answers is small: in 16 bits most of its digits would be lost.
        with torch.autocast(boundary.device.type, enabled=False):
            predicted, target = torch.sigmoid(enlarge(boundary_logits.float(), boundary)), boundary.float()
            if valid is not None:
                # Both maps are 0 where the truth is not known: there they agree, and nothing is learned.
                predicted, target = predicted * valid, target * valid
            return inverseform(
                predicted, target, self.net,
                distance=DISTANCES[self.distance], reduction=self.reduction, stride=self.stride,
                calibrated=self.calibrated, group=self.group,
            )  # fmt: skip

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "InverseFormLoss":
        """Follow a move to another device, not a change of precision."""
        # An integer shows where fn moves things and is left alone by .half(), .float() and .double().
        device = fn(torch.zeros(1, dtype=torch.int64, device=self.net.mean.device)).device
        self.net._apply(lambda tensor: tensor.to(device))
        return self


def enlarge(logits: Float[Tensor, "batch channels rows columns"], like: Tensor) -> Float[Tensor, "batch channels _ _"]:
    """Logits at the size of a map."""
    if logits.shape[-2:] == like.shape[-2:]:
        return logits
    return F.interpolate(logits, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _check_stride(stride: int | None, pooling: int) -> None:
    if stride is not None and stride < 1:
        raise InputError(
            f"stride is {stride}: at least 1 pixel from one tile to the next; leave it out for one tile's side"
        )
    if stride is not None and stride % pooling:
        raise InputError(
            f"stride is {stride}: this network averages maps over squares of {pooling} pixels first; give a multiple "
            f"of that, such as {-(-stride // pooling) * pooling}"
        )


def _freeze(net: InverseNet) -> InverseNet:
    """Turn parameters into buffers that are not saved: nothing that trains, averages or saves a model finds them."""
    # A copy, so that training the original afterwards does not change the loss.
    frozen = copy.deepcopy(net).float()
    for module in frozen.modules():
        for key, parameter in list(module.named_parameters(recurse=False)):
            del module._parameters[key]
            module.register_buffer(key, parameter.detach(), persistent=False)
    return frozen.eval()

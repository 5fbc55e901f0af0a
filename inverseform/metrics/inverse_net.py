"""What an inverse network knows: how much of each number it explains, and how its distance answers to known moves."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from inverseform.distance import euclidean
from inverseform.inverse_net import InverseNet
from inverseform.transform import compose, from_offsets, warp

Move = Literal["shift", "scale", "rotation"]
UNITS: dict[Move, str] = {"shift": "half tiles", "scale": "relative", "rotation": "degrees"}


class Determination:
    """Coefficient of determination R2 of each number, over batches: 1 is perfect, 0 is no better than the mean."""

    def __init__(self, numbers: int) -> None:
        self.count = 0
        self.error = torch.zeros(numbers, dtype=torch.float64)
        self.sum = torch.zeros(numbers, dtype=torch.float64)
        self.square = torch.zeros(numbers, dtype=torch.float64)

    def update(self, estimate: Float[Tensor, "batch numbers"], truth: Float[Tensor, "batch numbers"]) -> None:
        """Count a batch."""
        estimate, truth = estimate.double(), truth.double()
        self.count += len(truth)
        self.error += (estimate - truth).square().sum(dim=0)
        self.sum += truth.sum(dim=0)
        self.square += truth.square().sum(dim=0)

    def compute(self) -> list[float | None]:
        """R2 of each number; None where the truth never varied, so that there is nothing to explain."""
        spread = self.square - self.sum.square() / max(self.count, 1)
        # What is left of a constant is the rounding of its squares, which grows with them.
        varies = spread > 1e-12 * self.square
        return [1 - (e / s).item() if v else None for e, s, v in zip(self.error, spread, varies, strict=True)]


def estimate(
    net: InverseNet, predicted: Float[Tensor, "batch tile tile"], target: Float[Tensor, "batch tile tile"]
) -> Float[Tensor, "batch 3 3"]:
    """Transforms as the loss takes them: net(predicted, target) - net(target, target)."""
    embedded = net.embed(target)
    return from_offsets((net.compare(predicted, embedded) - net.compare(target, embedded)) * net.scale)


@torch.no_grad()
def response(net: InverseNet, tiles: Float[Tensor, "batch tile tile"], move: Move, amounts: list[float]) -> list[float]:
    """Mean distance, eq. (1), between tiles and the same tiles moved by each amount, to both sides.

    Only the inner half of each tile takes part, so that what leaves a tile does not tell of the move.

    Args:
        net: The network.
        tiles: Hard or soft boundary tiles.
        move: What is done: a shift along x and y in turn, a scale of both axes, or a turn.
        amounts: How much of it, in `UNITS`.
    """
    inner = _inner(tiles)
    means = []
    for amount in amounts:
        # Two directions of each axis: a network that leans to one side must not look good by it.
        thetas = [theta.expand(len(tiles), 3, 3) for theta in _moves(move, amount)]
        moved = [_inner(warp(tiles[:, None], theta)[:, 0]) for theta in thetas]
        means.append(torch.stack([euclidean(estimate(net, m, inner)).mean() for m in moved]).mean().item())
    return means


def _inner(tiles: Float[Tensor, "batch tile tile"]) -> Float[Tensor, "batch tile tile"]:
    """The tile with nothing left in a rim of an eighth of its side."""
    side = tiles.shape[-1]
    rim = side // 8
    mask = torch.zeros_like(tiles[0])
    mask[rim : side - rim, rim : side - rim] = 1
    return tiles * mask


def _moves(move: Move, amount: float) -> Float[Tensor, "4 3 3"]:
    """A move to both sides and, for a shift, along both axes."""
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0])
    shift, scale, angle = torch.zeros(4, 2), torch.ones(4, 2), torch.zeros(4)
    if move == "shift":
        shift = amount * sign[:, None] * torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    elif move == "scale":
        # Its inverse is the other side of a factor, as minus is that of a shift.
        scale = ((1 + amount) ** sign)[:, None].expand(4, 2)
    else:
        angle = torch.deg2rad(amount * sign)
    return compose(shift, scale, angle, torch.zeros(4))

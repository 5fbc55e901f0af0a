"""What shows a person whether an inverse network works: answers to moved boundaries, pairs aligned, gradients.

The figures of `metrics.response` judge a network. These are what its report draws (`inverseform.inverse_report`): the
paper's figure 2 for this network, beside cross entropy, and some pairs and gradients as pictures.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inverseform.boundary_aware import balanced_cross_entropy
from inverseform.data.pair_store import Pairs, PairStore
from inverseform.distance import DISTANCES, euclidean
from inverseform.inverse_net import InverseNet
from inverseform.metrics.displacement import normal_error
from inverseform.metrics.response import points_back
from inverseform.probes import Move, Probe, probes
from inverseform.transform import inverse, warp
from inverseform.trials import soft, sure

LOSSES: tuple[str, ...] = ("cross_entropy", *DISTANCES)
"""The columns of `Sensitivity`: balanced cross entropy, and the InverseForm loss with each of its distances."""
WAYS: dict[Move, str] = {"shift": "right", "rotation": "more", "scale": "less", "shear": "more"}
"""The direction of each move that is shown; `less` in theta is a boundary that grows."""
TILES = 128
"""Most tiles that are asked about."""
OTHERS = 4
"""Most other boundaries that each is swapped for."""
FILLED = 0.8
"""Of the tiles in the order of their share of boundary, which one is drawn: well filled, and not the fullest."""
PUSHES = (1.0, 2.0, 3.0, 4.0, 6.0)
"""Shifts of which the gradient is drawn, in pixels."""
ALIGNED = 8
"""Pairs that are drawn."""


class Sensitivity(NamedTuple):
    """What losses give for real boundaries that are moved, and that are swapped for others."""

    moves: list[Probe]
    """The identity, and those of `WAYS`."""
    values: Float[Tensor, "tiles moves losses"]
    swapped: Float[Tensor, "tiles others losses"]
    """Losses of a tile's prediction being the boundary of another tile."""
    shown: int
    """Which tile is drawn."""
    moved: Float[Tensor, "moves side side"]
    """That one, 0 or 1, under the moves."""
    others: Float[Tensor, "others side side"]
    """What it is swapped for."""

    def columns(self, move: Move) -> list[int]:
        """The moves of a kind by their growing amount, after the identity."""
        return [0, *(column for column, probe in enumerate(self.moves) if probe.move == move)]


class Aligned(NamedTuple):
    """A pair, and what the network makes of it."""

    target: Float[Tensor, "side side"]
    predicted: Float[Tensor, "side side"]
    brought: Float[Tensor, "side side"]
    """`predicted` under the inverse of the estimate: on the target, if the network is right."""
    distance: tuple[float, float]
    """Of the true transform and of the estimate, Euclidean."""
    error: float
    """Error of the displacement along the boundary's normal, median of its pixels, in pixels; nan if it has none."""


class Push(NamedTuple):
    """Where the gradient of the loss pushes a prediction."""

    pixels: float
    """How far the prediction is shifted."""
    blurred: bool
    """Whether it is blurred, or sure of every pixel."""
    target: Float[Tensor, "side side"]
    predicted: Float[Tensor, "side side"]
    force: Float[Tensor, "side side"]
    """Minus the gradient, by the predicted probability."""
    back: bool
    """Whether a step along it brings the prediction nearer to the target."""


@torch.no_grad()
def sensitivity(net: InverseNet, store: PairStore) -> Sensitivity:
    """Losses of up to `TILES` tiles under the moves of `WAYS`, and of each against other tiles.

    All losses are given the same prediction, a hard map with logits of plus and minus `trials.SURE`.

    Args:
        net: In evaluation mode, on the CPU.
        store: The pairs of split `probe`.
    """
    known = probes(store.tile)
    columns = [n for n, probe in enumerate(known) if n == 0 or WAYS.get(probe.move) == probe.direction]
    moved = _moved(store, columns, len(known))
    targets, count = moved[:, 0], len(moved)
    # Far apart in the store, as neighbours may be of one image; and never the tile itself.
    steps = sorted({count * n // (OTHERS + 1) for n in range(1, OTHERS + 1)} - {0})
    values, swapped = [], []
    for place, tiles in enumerate(moved):
        others = targets[[(place + step) % count for step in steps]]
        logits = torch.stack([sure(each) for each in torch.cat([tiles, others]).float()])
        answer = losses(net, logits, targets[place].float())
        values.append(answer[: len(tiles)])
        swapped.append(answer[len(tiles) :])
    filled = targets.float().mean(dim=(1, 2)).argsort(stable=True)
    shown = int(filled[int(FILLED * (count - 1))])
    others = targets[[(shown + step) % count for step in steps]]
    return Sensitivity(
        [known[column] for column in columns], torch.stack(values), torch.stack(swapped), shown,
        moved[shown].float(), others.float(),
    )  # fmt: skip


def losses(
    net: InverseNet, logits: Float[Tensor, "batch side side"], target: Float[Tensor, "side side"]
) -> Float[Tensor, "batch losses"]:
    """All of `LOSSES` of predictions of one target, each by itself."""
    wanted, known = target[None, None], torch.ones_like(target)[None, None]
    crossed = torch.stack([balanced_cross_entropy(each[None, None], wanted, known) for each in logits])
    theta = net.estimate(torch.sigmoid(logits), target.expand_as(logits))
    return torch.stack([crossed, *(distance(theta) for distance in DISTANCES.values())], dim=-1)


@torch.no_grad()
def aligned(net: InverseNet, store: PairStore, predicted: Callable[[Pairs], Tensor]) -> list[Aligned]:
    """Up to `ALIGNED` pairs, evenly spaced, so that nobody has chosen them.

    Args:
        net: In evaluation mode, on the CPU.
        store: The pairs of split `val`.
        predicted: Gives the predicted maps of pairs, in [0, 1].
    """
    count = min(ALIGNED, len(store))
    wanted = torch.tensor([(2 * n + 1) * len(store) // (2 * count) for n in range(count)])
    found, first = [], 0
    for batch in store.all():
        rows = wanted[(wanted >= first) & (wanted < first + len(batch.seed))] - first
        first += len(batch.seed)
        if len(rows):
            some = {name: field[rows] for name, field in batch._asdict().items() if field is not None}
            found += _align(net, batch._replace(**some), predicted)
    return found


def pushes(net: InverseNet, given: Sensitivity) -> list[Push]:
    """The gradient of the Euclidean loss on the drawn tile under the shifts of `PUSHES`, sure and blurred."""
    target, found = given.moved[0], []
    for blurred, logits in ((False, sure), (True, soft)):
        for column in given.columns("shift"):
            if (pixels := given.moves[column].amount) not in PUSHES:
                continue
            leaf = torch.sigmoid(logits(given.moved[column]))[None].requires_grad_()
            (gradient,) = torch.autograd.grad(euclidean(net.estimate(leaf, target[None])).sum(), leaf)
            leaf = leaf.detach()
            back = bool(points_back(gradient, leaf, target[None]))
            found.append(Push(pixels, blurred, target, leaf[0], -gradient[0], back))
    return found


def _moved(store: PairStore, columns: list[int], moves: int) -> Bool[Tensor, "tiles columns side side"]:
    """Some evenly spaced tiles of the probes under some of the moves."""
    chosen = torch.arange(0, len(store) // moves, -(-len(store) // moves // TILES))
    parts, first = [], 0
    for batch in store.all():
        index = torch.arange(first, first + len(batch.seed))
        first += len(index)
        kept = torch.isin(index // moves, chosen) & torch.isin(index % moves, torch.tensor(columns))
        parts.append(batch.warped[kept])
    return torch.cat(parts).unflatten(0, (-1, len(columns)))


def _align(net: InverseNet, pairs: Pairs, predicted: Callable[[Pairs], Tensor]) -> list[Aligned]:
    target, maps = pairs.tile.float(), predicted(pairs)
    theta = net.estimate(maps, target)
    brought = warp(maps[:, None], inverse(theta))[:, 0]
    distances = zip(euclidean(pairs.theta).tolist(), euclidean(theta).tolist(), strict=True)
    _, error = normal_error(theta, pairs.theta, pairs.warped.float())
    return [Aligned(*each) for each in zip(target, maps, brought, distances, error.tolist(), strict=True)]

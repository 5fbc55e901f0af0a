"""What `doctor` puts a loss through: drawn boundaries, moved by known amounts, and a call of the loss for each."""

import importlib
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from inverseform.boundary import boundaries
from inverseform.metrics.displacement import blur
from inverseform.metrics.response import PUSHED, Answers, points_back
from inverseform.pairs import cut
from inverseform.probes import Probe, probes
from inverseform.settings import InputError

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Takes boundary logits and the true boundary, both of shape (1, 1, height, width), and gives a scalar."""
SURE = 6.0
"""Logit of a confident prediction: a probability of 0.9975, or 0.0025."""
SATURATED = 30.0
"""Logit whose sigmoid is 1 in single precision, and so near 0 on the other side that no sum with 1 shows it."""


class Material(NamedTuple):
    """Tiles and what becomes of them."""

    targets: Float[Tensor, "tiles side side"]
    moved: Float[Tensor, "tiles probes side side"]
    moves: list[Probe]


class Calls(NamedTuple):
    """What a loss gave for each tile and probe."""

    answers: Answers
    """`distance` and `raw` are its values; `back_degraded` is of blurred predictions."""
    gradients: list[Tensor | None]
    """With respect to the logits of shifted predictions, sure and blurred; None where autograd finds no path."""
    exact: list[tuple[float, Tensor | None]]
    """Value and gradient at predictions that are perfect to the last bit."""


def named(name: str) -> Criterion:
    """A loss by its name, `package.module:attribute`; a class is called without arguments first.

    Raises:
        InputError: There is none of that name, or the module cannot be imported.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise InputError(f"{name}: a loss is named by its module and its name in it; write package.module:attribute")
    try:
        found: Any = reduce(getattr, attribute.split("."), importlib.import_module(module))
        return found() if isinstance(found, type) else found
    except Exception as error:  # whatever the user's module raises
        raise InputError(f"{name}: cannot be had ({type(error).__name__}: {error}); mend it there") from error


def draw(side: int, count: int, seed: int) -> list[Float[Tensor, "1 height width"]]:
    """Boundary maps of drawn regions, curved and straight, three times as wide as a tile."""
    generator = torch.Generator().manual_seed(seed)
    # Where the largest of some smooth fields changes lies a curve; a slope in each makes some of them long.
    coarse = torch.randn(count, 4, 6, 6, generator=generator)
    fields = F.interpolate(coarse, size=(3 * side, 3 * side), mode="bicubic", align_corners=False)
    place = torch.linspace(-1, 1, 3 * side)
    slope = torch.randn(2, count, 4, 1, 1, generator=generator)
    fields = fields + slope[0] * place + slope[1] * place[:, None]
    return list(boundaries(fields.argmax(dim=1), num_classes=4)[0])


def material(maps: Sequence[Float[Tensor, "1 _ _"]], side: int, tiles: int, seed: int) -> Material:
    """Tiles of maps, each under all probes, with what comes in from around them.

    Raises:
        InputError: No tile of that side has 2% of boundary.
    """
    moves = probes(side)
    thetas = torch.stack([move.theta for move in moves])
    found = [(boundary.cpu(), places) for boundary in maps if len(places := _places(boundary.cpu(), side))]
    if not found:
        raise InputError(
            f"maps: none of {len(maps)} has a tile of {side} x {side} pixels with 2% of boundary; give a smaller size"
        )
    generator = torch.Generator().manual_seed(seed)
    cuts = []
    for number in range(tiles):
        boundary, places = found[number % len(found)]
        place = places[torch.randint(len(places), (1,), generator=generator)]
        cuts.append(cut(boundary, place.expand(len(thetas), 2).contiguous(), thetas, tile=side).float())
    moved = torch.stack(cuts)
    return Material(moved[:, 0], moved, moves)


def consult(criterion: Criterion, given: Material) -> Calls:
    """Ask a loss about all moves of all tiles, one at a time: a loss may do what it likes with a batch."""
    shape = given.moved.shape[:2]
    distance, back, soft_back = torch.zeros(shape), torch.full(shape, torch.nan), torch.full(shape, torch.nan)
    gradients, exact = [], []
    for row, target in enumerate(given.targets):
        exact.append(call(criterion, sure(target, SATURATED), target))
        for column, (move, moved) in enumerate(zip(given.moves, given.moved[row], strict=True)):
            pushed = move.move == "shift" and PUSHED[0] <= move.amount <= PUSHED[1]
            value, gradient = call(criterion, sure(moved), target)
            distance[row, column] = value
            if not pushed:
                continue
            back[row, column] = _back(gradient, sure(moved), target)
            logits = soft(moved)
            soft_gradient = call(criterion, logits, target)[1]
            soft_back[row, column] = _back(soft_gradient, logits, target)
            gradients += [gradient, soft_gradient]
    moved, targets = given.moved.cpu(), given.targets.cpu()
    change = (moved - targets[:, None]).abs().sum(dim=(-2, -1)) / targets.sum(dim=(-2, -1))[:, None].clamp(min=1)
    unasked = torch.full(shape, torch.nan)
    return Calls(Answers(distance, distance, change, back, soft_back, unasked, unasked), gradients, exact)


def call(
    criterion: Criterion, logits: Float[Tensor, "side side"], target: Float[Tensor, "side side"]
) -> tuple[float, Float[Tensor, "side side"] | None]:
    """Value of a loss, and its gradient for the logits; None where autograd finds no path from one to the other."""
    value, leaf = forward(criterion, logits, target)
    if not value.requires_grad:
        return value.item(), None
    gradient = torch.autograd.grad(value, leaf, allow_unused=True)[0]
    return value.item(), None if gradient is None else gradient[0, 0].detach()


def forward(criterion: Criterion, logits: Float[Tensor, "side side"], target: Tensor) -> tuple[Tensor, Tensor]:
    """What a loss gives, with its graph, and the leaf of the graph that is the prediction.

    Raises:
        InputError: It gives no scalar.
    """
    with torch.enable_grad():
        leaf = logits.detach()[None, None].clone().requires_grad_()
        value = criterion(leaf, target[None, None])
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"the loss gives {what}, and must give a tensor of one number; take its mean, say")
    return value.sum(), leaf


def is_finite(value: float, gradient: Tensor | None) -> bool:
    """Whether a value is, and every number of a gradient if there is one."""
    return abs(value) < float("inf") and (gradient is None or bool(gradient.isfinite().all()))


def sure(tile: Float[Tensor, "side side"], logit: float = SURE) -> Float[Tensor, "side side"]:
    """Logits of a confident prediction of a hard map."""
    return (2 * tile - 1) * logit


def soft(tile: Float[Tensor, "side side"]) -> Float[Tensor, "side side"]:
    """Logits of a blurred prediction of a hard map, as a trained network gives it."""
    return torch.logit(blur(tile[None, None])[0, 0] * 1.5, eps=0.02)


def leaves(value: Tensor) -> set[int]:
    """The tensors at the ends of a graph, by their id."""
    seen, ends, waiting = set(), set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            ends.add(id(leaf))
        waiting += [following for following, _ in node.next_functions]
    return ends


def _back(gradient: Tensor | None, logits: Tensor, target: Tensor) -> float:
    """1 if a step against the gradient brings the prediction nearer to the target, else 0."""
    if gradient is None:
        return 0.0
    predicted = torch.sigmoid(logits)
    # From logits to probabilities, so that pixels of which the prediction is sure weigh as the others do.
    return float(points_back(gradient / (predicted * (1 - predicted)), predicted, target))


def _places(boundary: Float[Tensor, "1 height width"], side: int) -> Int64[Tensor, "count 2"]:
    """Upper left pixels of tiles with enough boundary; those with surroundings on all sides if there are any."""
    if min(boundary.shape[-2:]) < side:
        return torch.empty(0, 2, dtype=torch.int64)
    step = max(1, side // 8)
    share = F.avg_pool2d(boundary[None], side, stride=step)[0, 0]
    places = (share >= 0.02).nonzero() * step
    room = side // 4
    limit = torch.tensor(boundary.shape[-2:]) - side - room
    inner = ((places >= room) & (places <= limit)).all(dim=1)
    return places[inner] if inner.any() else places

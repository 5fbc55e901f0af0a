"""How the distance of an inverse network answers to known moves of a boundary, one at a time (`inverseform.probes`).

The distance is the loss's: of the calibrated estimate, which is zero where prediction and truth agree.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inverseform.distance import Distance, euclidean
from inverseform.inverse_net import InverseNet
from inverseform.metrics.displacement import normal_error
from inverseform.probes import REACH, Move, Probe

CHUNK = 256
"""Pairs that go through a network at once: what bounds the memory."""
PUSHED = (1.0, 6.0)
"""Shifts of which the gradient is asked, in pixels."""
MEASURED = 3.0
"""Shift at which the displacement is measured, in pixels."""


class Answers(NamedTuple):
    """What a network says of moved tiles, for each tile and probe; nan where that is not asked of a probe."""

    distance: Float[Tensor, "*pairs"]
    """Calibrated distance."""
    raw: Float[Tensor, "*pairs"]
    """Distance of the answer as it is, of the identity alone."""
    change: Float[Tensor, "*pairs"]
    """Sum of |moved - tile|, over the sum of the tile."""
    back: Float[Tensor, "*pairs"]
    """1 where the gradient moves a map shifted by `PUSHED` back, else 0."""
    back_degraded: Float[Tensor, "*pairs"]
    """The same of the degraded map: back to what it was before the shift, under the same degradations."""
    normal_mean: Float[Tensor, "*pairs"]
    """Mean error of the displacement normal to the boundary, over the boundary's pixels, in pixels; at `MEASURED`."""
    normal_median: Float[Tensor, "*pairs"]
    """Median of the same."""


def answers(
    net: InverseNet,
    tile: Float[Tensor, "pairs tile tile"],
    moved: Float[Tensor, "pairs tile tile"],
    degraded: Float[Tensor, "pairs tile tile"],
    probes: Sequence[Probe],
    *,
    unmoved: Float[Tensor, "pairs tile tile"] | None = None,
    distance: Distance = euclidean,
) -> Answers:
    """Ask a network about pairs.

    Args:
        net: In evaluation mode, on the device of the tiles.
        tile: Target maps, 0 or 1.
        moved: The same under the pair's probe, hard.
        degraded: The moved maps as a network might predict them.
        probes: The probe of each pair.
        unmoved: The target maps under the same degradations: what `degraded` was before it was moved; the target
            maps themselves by default.
        distance: Of a transform from the identity.
    """
    unmoved = tile if unmoved is None else unmoved
    chunks = [slice(start, start + CHUNK) for start in range(0, len(tile), CHUNK)]
    parts = [
        _ask(net, tile[some], moved[some], degraded[some], unmoved[some], probes[some], distance) for some in chunks
    ]
    return Answers(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def figures(answers: Answers, probes: Sequence[Probe], tile: int) -> dict[str, Any]:
    """The figures of answers with a row for each tile and a column for each probe; None where nothing was to be seen.

    Args:
        answers: Of shape (tiles, probes).
        probes: Those of the columns.
        tile: Side of a tile, in pixels.
    """
    result = {"probe_tiles": len(answers.distance), **_identity(answers, probes, tile)}
    for move in ("shift", "scale", "rotation", "shear"):
        pooled, within = _rank_correlation(answers, probes, move, tile)
        result |= {f"spearman_{move}": pooled, f"spearman_within_a_tile_{move}": within}
    result["normal_error_pixels"] = _known(answers.normal_median, torch.median)
    result["normal_error_pixels_mean"] = _known(answers.normal_mean, torch.mean)
    changed = answers.change >= 0.5
    for name, back in (("points_back", answers.back), ("points_back_degraded", answers.back_degraded)):
        result[name] = _known(back[changed], torch.mean)
        result[f"{name}_by_shift"] = {
            str(pixels): _known(back[:, columns][changed[:, columns]], torch.mean)
            for pixels, columns in _by_amount(probes, "shift").items()
            if PUSHED[0] <= pixels <= PUSHED[1]
        }
    for move in ("shift", "scale", "rotation", "shear"):
        result[f"distance_by_{move}"] = {
            str(amount): answers.distance[:, columns].mean().item()
            for amount, columns in _by_amount(probes, move).items()
        }
    return result


def points_back(
    gradient: Float[Tensor, "*batch height width"],
    predicted: Float[Tensor, "*batch height width"],
    before: Float[Tensor, "*batch height width"],
) -> Bool[Tensor, "*batch"]:
    """Whether a step against the gradient undoes how a map was changed: -gradient . (before - predicted) > 0."""
    # A gradient that is zero or nan points nowhere, which is not back.
    return (-gradient * (before - predicted)).sum(dim=(-2, -1)) > 0


def spearman(one: Float[Tensor, " count"], other: Float[Tensor, " count"]) -> float | None:
    """Spearman's rank correlation; ties have their mean rank. None if there are under 3 values or one never varies.

    >>> round(spearman(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.1, 0.9, 0.4, 1.6])), 6)
    0.8
    """
    if len(one) < 3 or not (one.isfinite().all() and other.isfinite().all()):
        return None
    centred = [ranks - ranks.mean() for ranks in (_ranks(one), _ranks(other))]
    norms = centred[0].norm() * centred[1].norm()
    return ((centred[0] @ centred[1]) / norms).clamp(-1, 1).item() if norms else None


def _ask(
    net: InverseNet,
    tile: Tensor,
    moved: Tensor,
    degraded: Tensor,
    unmoved: Tensor,
    probes: Sequence[Probe],
    distance: Distance,
) -> Answers:
    device = tile.device
    unasked = torch.full((len(tile),), torch.nan, device=device)
    raw, back, back_degraded, mean, median = (unasked.clone() for _ in range(5))
    still = torch.tensor([probe.move == "identity" for probe in probes], device=device)
    shift = torch.tensor([probe.amount if probe.move == "shift" else 0.0 for probe in probes], device=device)
    pushed, measured = (shift >= PUSHED[0]) & (shift <= PUSHED[1]), shift == MEASURED
    with torch.no_grad():
        estimate = net.estimate(moved, tile)
        if still.any():
            raw[still] = distance(net.estimate(moved[still], tile[still], calibrated=False))
        if measured.any():
            truth = torch.stack([probe.theta for probe in probes]).to(device)[measured]
            mean[measured], median[measured] = normal_error(estimate[measured], truth, moved[measured])
    asked = ((back, moved, tile), (back_degraded, degraded, unmoved)) if pushed.any() else ()
    for column, predicted, before in asked:
        gradient = _gradient(net, predicted[pushed], tile[pushed], distance)
        column[pushed] = points_back(gradient, predicted[pushed], before[pushed]).float()
    change = (moved - tile).abs().sum(dim=(-2, -1)) / tile.sum(dim=(-2, -1)).clamp(min=1)
    return Answers(distance(estimate), raw, change, back, back_degraded, mean, median)


def _gradient(net: InverseNet, predicted: Tensor, target: Tensor, distance: Distance) -> Tensor:
    """Of each pair's own distance, with respect to its predicted map."""
    with torch.enable_grad():
        leaf = predicted.detach().clone().requires_grad_()
        # The pairs do not see each other in evaluation mode, so the gradient of their sum is that of each.
        return torch.autograd.grad(distance(net.estimate(leaf, target)).sum(), leaf)[0]


def _identity(answers: Answers, probes: Sequence[Probe], tile: int) -> dict[str, float]:
    """d(x, x), and what share it is of d at the largest shift within reach."""
    by_amount = _by_amount(probes, "shift")
    largest = answers.distance[:, by_amount[max(amount for amount in by_amount if _reached(amount, tile))]].mean()
    still = answers.raw[:, 0].mean()
    return {
        "distance_of_identity": still.item(),
        "distance_of_identity_calibrated": answers.distance[:, 0].mean().item(),
        "distance_at_largest_shift": largest.item(),
        # A network that sees no shift at all is as wrong as one can be.
        "identity_ratio": (still / largest).item() if largest > 0 else float("inf"),
    }


def _rank_correlation(
    answers: Answers, probes: Sequence[Probe], move: Move, tile: int
) -> tuple[float | None, float | None]:
    """Spearman of distance and amount: over all tiles and directions at once, and the mean of each one's own.

    Counted are tiles and directions of a move in which its largest amount changes the map by half its mass or more.
    The identity, whose distance is zero by calibration, has no part; nor have shifts out of reach.
    """
    ways: dict[str, list[int]] = {}
    for column, probe in enumerate(probes):
        if probe.move == move and (move != "shift" or _reached(probe.amount, tile)):
            ways.setdefault(probe.direction, []).append(column)
    curves = torch.cat([answers.distance[answers.change[:, way[-1]] >= 0.5][:, way] for way in ways.values()]).cpu()
    amount = torch.tensor([probes[column].amount for column in next(iter(ways.values()))]).expand_as(curves)
    own = [spearman(curve, amounts) for curve, amounts in zip(curves, amount, strict=True)]
    # A distance that does not change at all has no rank; it follows the move as little as can be.
    within = sum(value or 0.0 for value in own) / len(own) if own else None
    return spearman(curves.flatten(), amount.flatten()), within


def _by_amount(probes: Sequence[Probe], move: Move) -> dict[float, list[int]]:
    """The columns of each amount of a move, in all directions."""
    columns: dict[float, list[int]] = {}
    for column, probe in enumerate(probes):
        if probe.move == move:
            columns.setdefault(probe.amount, []).append(column)
    return columns


def _reached(pixels: float, tile: int) -> bool:
    # Three amounts at least, however small the tile: two always have a perfect order or none.
    return pixels <= max(REACH * tile / 2 + 1e-6, 3)


def _known(values: Tensor, reduce: Any) -> float | None:  # noqa: ANN401 (torch.mean and torch.median are overloaded)
    known = values[~values.isnan()]
    return reduce(known).item() if len(known) else None


def _ranks(values: Float[Tensor, " count"]) -> Float[Tensor, " count"]:
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.double().cumsum(0)
    return (last - (counts - 1) / 2)[place]

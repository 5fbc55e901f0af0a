"""Examine any boundary loss: is its gradient alive, does it point back, does it grow with the error (`diagnose`).

The published InverseForm loss gives no gradient at all, and nothing in a training loop tells of that. Here boundaries
are moved by known amounts and the loss is asked about each: that needs no data and no training.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from inverseform import trials
from inverseform.loss import InverseFormLoss
from inverseform.metrics.response import figures
from inverseform.probes import UNITS
from inverseform.transform import offsets
from inverseform.trials import Calls, Criterion, Material

Verdict = Literal["well", "remark", "sick"]


class Finding(NamedTuple):
    """One thing that was looked at."""

    about: str
    verdict: Verdict
    told: str


class Diagnosis(NamedTuple):
    """What came out; `str` gives it as lines to read."""

    findings: list[Finding]
    figures: dict[str, Any]
    """Those of `metrics.response.figures`, of this loss; `points_back_degraded` is of blurred predictions."""

    @property
    def sick(self) -> bool:
        """Whether no network should be trained with this loss."""
        return any(finding.verdict == "sick" for finding in self.findings)

    def __str__(self) -> str:
        lines = [f"{finding.verdict:7} {finding.about:10} {finding.told}" for finding in self.findings]
        return "\n".join([*lines, f"verdict: {'sick' if self.sick else 'well'}"])


def diagnose(
    criterion: Criterion,
    *,
    maps: Sequence[Float[Tensor, "1 _ _"]] | None = None,
    size: int | None = None,
    tiles: int = 12,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Diagnosis:
    """Examine a loss.

    Args:
        criterion: Called as `criterion(boundary_logits, boundary)` on tensors of shape (1, 1, size, size).
        maps: True boundary maps, 0 or 1, of any size, to cut tiles from; drawn if not given.
        size: Side of what the loss is given, in pixels; the tile of an `InverseFormLoss`, else 64.
        tiles: How many tiles are cut; each goes through all of `probes.probes`.
        seed: Of the drawings and the places.
        device: Where the loss is.

    Raises:
        InputError: The maps hold no tile of that size with 2% of boundary.
    """
    side = size or (criterion.net.settings.tile if isinstance(criterion, InverseFormLoss) else 64)
    given = trials.material(maps or trials.draw(side, tiles, seed), side, tiles, seed)
    given = given._replace(targets=given.targets.to(device), moved=given.moved.to(device))
    found = _mode(criterion)
    try:
        calls = trials.consult(criterion, given)
    except Exception as error:  # the loss is the user's: whatever it raises is the finding
        return Diagnosis([*found, _raised(criterion, error, given)], {})
    report = figures(calls.answers, given.moves, side)
    found += [_gradient(calls), _finite(calls)]
    # Of a loss that is dead or nan, the figures would only say so again.
    if all(finding.verdict != "sick" for finding in found[-2:]):
        found += [_zero(criterion, report, given), _direction(report), _growth(report)]
    return Diagnosis([*found, *_network(criterion, given), *_itself(criterion, given)], report)


def _raised(criterion: Criterion, error: Exception, given: Material) -> Finding:
    told = f"raises {type(error).__name__} ({str(error).splitlines()[0] if str(error) else 'without a word'})"
    try:
        trials.call(criterion, torch.sigmoid(trials.sure(given.targets[0])), given.targets[0])
    except Exception:  # the same loss, as above
        return Finding("call", "sick", f"{told}; it is called as criterion(boundary_logits, boundary)")
    return Finding("range", "sick", f"{told}, but takes probabilities: it is given logits; pass torch.sigmoid(logits)")


def _gradient(calls: Calls) -> Finding:
    """Dead or alive; and of what it died."""
    gradients, values = calls.gradients, calls.answers.distance
    dead = [gradient is None or not gradient.any() for gradient in gradients]
    # Tile by tile: what does not see the prediction may still see the target.
    constant = bool((values.amax(dim=1) - values.amin(dim=1) <= 1e-6 * values.abs().amax(dim=1)).all())
    if not any(dead):
        return Finding("gradient", "well", "reaches the prediction at every shift of 1 to 6 pixels")
    if not all(dead):
        share = f"{sum(dead) / len(dead):.0%} of the shifts of 1 to 6 pixels"
        return Finding("gradient", "remark", f"is all zero at {share}: something is clamped, saturated or empty there")
    if all(gradient is None for gradient in gradients):
        why = "autograd finds no path to the prediction: an argmax, a threshold (> 0.5, torch.ge), .detach(), .item(), "
        why += "numpy or no_grad stands between; use the probabilities themselves"
    elif constant:
        why = "its value is the same for every prediction: softmax or log_softmax over the one channel of a boundary "
        why += "map makes all of them alike, as in the released code; use torch.sigmoid"
    else:
        why = "its value changes, so it is a step function of the prediction (sign, round, a threshold), or clamped "
        why += "to a range in which logits do not lie; use torch.sigmoid"
    return Finding("gradient", "sick", f"is dead, all zero: {why}")


def _finite(calls: Calls) -> Finding:
    if not all(trials.is_finite(value, gradient) for value, gradient in calls.exact):
        told = (
            "nan or infinite at a perfect prediction: a norm, an SVD of equal singular values, arccos at 1 or log at "
        )
        told += "0 has no gradient there (eq. 3 as printed); take inverseform's distances, a loss of *_with_logits"
        return Finding("finite", "sick", told)
    if not calls.answers.distance.isfinite().all() or not all(trials.is_finite(0.0, g) for g in calls.gradients):
        return Finding("finite", "sick", "nan or infinite for shifted boundaries; look for log, division and sqrt at 0")
    return Finding("finite", "well", "in value and gradient, a perfect prediction included")


def _zero(criterion: Criterion, report: dict[str, Any], given: Material) -> Finding:
    """What a perfect prediction costs, and whether probabilities would have been cheaper."""
    low, high = report["distance_of_identity"], report["distance_at_largest_shift"]
    share = abs(low) / (high - low) if high > low else float("inf")
    told = f"a perfect prediction costs {low:.3g}, the largest shift {high:.3g}"
    if share <= 0.02:
        return Finding("zero", "well", told)
    tile, shifted = given.targets[0], given.moved[0, 3]
    plain = [trials.call(criterion, maps.clamp(0.0025, 0.9975), tile)[0] for maps in (tile, shifted)]
    if abs(plain[0]) <= 0.02 * (plain[1] - plain[0]):
        told += f"; of probabilities {plain[0]:.3g} and {plain[1]:.3g}: it expects those, and is given logits of "
        told += f"-{trials.SURE:g} to {trials.SURE:g}; pass torch.sigmoid(logits)"
        return Finding("range", "sick", told)
    advice = "predictions are pushed away from the truth; take d(truth, truth) off, as InverseFormLoss does"
    return Finding("zero", "sick" if share > 0.25 else "remark", f"{told}: where that is no constant, {advice}")


def _direction(report: dict[str, Any]) -> Finding:
    """Where the gradient points."""
    hard, soft = report["points_back"] or 0.0, report["points_back_degraded"] or 0.0
    told = f"the gradient moves {hard:.1%} of boundaries shifted by 1 to 6 pixels back, {soft:.1%} of blurred ones"
    if hard < 0.4:
        return Finding("direction", "sick", f"{told}: it points the wrong way; is a sign turned, or the arguments?")
    if hard < 0.8 or soft < 0.7:
        return Finding("direction", "sick", f"{told}: not far from chance, 50%; is its network trained, on such pairs?")
    good = hard >= 0.99 and soft >= 0.95
    return Finding("direction", "well" if good else "remark", told)


def _growth(report: dict[str, Any]) -> Finding:
    """Whether more is more."""
    ranks = {move: report[f"spearman_{move}"] for move in UNITS if move != "identity"}
    known = {move: rank for move, rank in ranks.items() if rank is not None}
    told = "rank correlation with " + ", ".join(f"{move} {rank:.2f}" for move, rank in known.items())
    if ranks["shift"] is None or ranks["shift"] <= 0:
        return Finding("growth", "sick", f"{told}: it does not grow as a boundary moves away")
    if min(known.values()) >= 0.9:
        return Finding("growth", "well", told)
    by_shift = [report["distance_of_identity"], *report["distance_by_shift"].values()]
    rise = max(by_shift) - by_shift[0]
    # From where on less than a tenth of the whole rise is left.
    flat = next(pixels for pixels, value in enumerate(by_shift) if value >= by_shift[0] + 0.9 * rise)
    blind = f"; it hardly grows beyond {flat} pixels" if flat < 5 else ""
    return Finding("growth", "remark", f"{told}{blind}: it tells that a boundary is off rather than by how far")


def _network(criterion: Criterion, given: Material) -> list[Finding]:
    """Whether the network inside one of our losses knows transforms at all.

    Nothing above tells that of a calibrated loss: the distance of two answers of a network with random weights grows
    with the difference of the maps, and its gradient points back, as that of a plain squared error does.
    """
    if not isinstance(criterion, InverseFormLoss):
        return []
    numbers = criterion.net.settings.degrees_of_freedom
    truth = offsets(torch.stack([move.theta for move in given.moves]), numbers)
    with torch.no_grad():
        thetas = [criterion.net.estimate(m, t.expand_as(m)) for t, m in zip(given.targets, given.moved, strict=True)]
    wrong = torch.stack([offsets(theta, numbers).cpu() - truth for theta in thetas])
    explained = 1 - (wrong.square().sum() / truth.square().sum() / len(wrong)).item()
    told = f"its network explains {explained:.2f} of the squared offsets of the moves"
    if explained < 0.2:
        return [Finding("network", "sick", f"{told}: it is untrained, or was trained on other boundaries than these")]
    return [Finding("network", "well" if explained >= 0.6 else "remark", told)]


def _mode(criterion: Criterion) -> list[Finding]:
    """Layers that do something else in training than in evaluation, and are in training."""
    modules = criterion.modules() if isinstance(criterion, nn.Module) else ()
    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
    training = {type(m).__name__ for m in modules if isinstance(m, kinds) and m.training}
    if not training:
        return []
    return [Finding("mode", "sick", f"its {', '.join(sorted(training))} are in training mode; call .eval() on them")]


def _itself(criterion: Criterion, given: Material) -> list[Finding]:
    """Whether it gives the same twice, and whether it can be trained itself."""
    logits, target = trials.sure(given.moved[0, 3]), given.targets[0]
    once, leaf = trials.forward(criterion, logits, target)
    again, _ = trials.forward(criterion, logits, target)
    found = []
    if once.isfinite() and abs(once.item() - again.item()) > 1e-4 * abs(once.item()):
        found = [
            Finding("mode", "sick", f"gives {once.item():.5g} and then {again.item():.5g} for the same; .eval() it")
        ]
    if others := trials.leaves(once) - {id(leaf)}:
        told = f"a gradient flows to {len(others)} tensors of its own too: .requires_grad_(False) freezes its network"
        found.append(Finding("frozen", "remark", told))
    return found

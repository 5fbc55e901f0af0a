"""The two gates: what an inverse network must reach before a segmenter is trained with it, and a segmenter to leave."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import Field

from inverseform.settings import Settings


class GateParams(Settings):
    """The least value of each figure that is asked for."""

    miou: float = Field(ge=0, le=1)
    """Mean intersection over union, pooled over the split; 0 to 1."""
    mba: float = Field(ge=0, le=1)
    """Mean boundary accuracy; 0 to 1."""


class InverseGateParams(Settings):
    """What is asked of an inverse network on held-out images; a least value, or a greatest where that is said."""

    r2: float = Field(le=1)
    """Mean R2 over the parameters, hard pairs."""
    r2_degraded: float = Field(le=1)
    """Mean R2 over the parameters, degraded pairs and real predictions."""
    identity_ratio: float = Field(ge=0)
    """Greatest d(x, x), as the network answers, over d at the largest shift within reach."""
    spearman: float = Field(ge=-1, le=1)
    """Rank correlation of d with each of shift, scale, rotation and shear; the last two if there are 6 or 8 numbers."""
    points_back: float = Field(ge=0, le=1)
    """Share of shifts of 1 to 6 pixels that the gradient moves back, hard maps."""
    points_back_degraded: float = Field(ge=0, le=1)
    """The same, degraded maps."""
    normal_error_pixels: float = Field(ge=0)
    """Greatest error of the displacement normal to the boundary at a shift of 3 pixels, median of pixels and tiles."""


_AT_MOST = ("identity_ratio", "normal_error_pixels")
_LONGER = "train longer: raise train_inverse.optimiser.steps"
_REMEDIES = {
    "r2": f"{_LONGER} or synthesize.train_pairs, or give a larger synthesize.tile",
    "r2_degraded": f"{_LONGER}, or lower the probabilities of train_inverse.degradation",
    "identity_ratio": f"{_LONGER}, or more identity pairs: raise synthesize.identity",
    "spearman": f"{_LONGER}, or widen synthesize.ranges to 0.2 half tiles, 12 degrees and a scale of [0.8, 1.25]",
    "points_back": f"{_LONGER}, or a network of less pooling: lower train_inverse.network.pooling",
    "points_back_degraded": "show it more degraded pairs: raise the probabilities of train_inverse.degradation",
    "normal_error_pixels": f"{_LONGER}, or give a larger synthesize.tile and less pooling",
}


def decide(figures: Mapping[str, float | int | None], gate: GateParams) -> dict[str, Any]:
    """Compare figures with the least that is asked; one that has no value does not pass."""
    checks = []
    for metric, threshold in gate.model_dump().items():
        value = figures[metric]
        check = {"metric": metric, "value": value, "threshold": threshold}
        # Nothing asked (0) is still something to be measured: no value is no pass.
        if value is None:
            check["reason"] = f"{metric} is undefined on these {figures['images']} images"
        checks.append({**check, "passed": value is not None and value >= threshold})
    return {"passed": all(check["passed"] for check in checks), "checks": checks}


class Check(NamedTuple):
    """One figure of an inverse network against its threshold."""

    name: str
    """Of the figure."""
    metric: str
    """Of the threshold, a field of `InverseGateParams`."""
    value: float | None
    threshold: float
    at_most: bool
    """Whether the threshold is a greatest value."""
    passed: bool


def checks(figures: Mapping[str, Any], gate: InverseGateParams, *, degrees_of_freedom: int) -> list[Check]:
    """Every figure that is asked of an inverse network, passed or not.

    A network of 4 numbers has none for a turn or a shear, so these are not asked of it.
    """
    moves = ("shift", "scale") if degrees_of_freedom == 4 else ("shift", "scale", "rotation", "shear")
    found = []
    for metric, threshold in gate.model_dump().items():
        for name in [f"spearman_{move}" for move in moves] if metric == "spearman" else [metric]:
            value, at_most = figures[name], metric in _AT_MOST
            # In this form a value that is nan passes neither way.
            passed = value is not None and (value <= threshold if at_most else value >= threshold)
            found.append(Check(name, metric, value, threshold, at_most, passed))
    return found


def misses(figures: Mapping[str, Any], gate: InverseGateParams, *, degrees_of_freedom: int) -> list[str]:
    """One sentence for each figure of a network that misses its threshold: value, threshold, what to change."""
    lines = []
    for check in checks(figures, gate, degrees_of_freedom=degrees_of_freedom):
        if not check.passed:
            found = "undefined on these tiles" if check.value is None else f"{check.value:.4g}"
            bound = "most" if check.at_most else "least"
            lines.append(f"{check.name} is {found}, at {bound} {check.threshold:g} is asked: {_REMEDIES[check.metric]}")
    return lines

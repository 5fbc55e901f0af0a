"""The gate: what a segmenter must reach before it may be exported."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from inverseform.settings import Settings


class GateParams(Settings):
    """The least value of each figure that is asked for."""

    miou: float = Field(ge=0, le=1)
    """Mean intersection over union, pooled over the split; 0 to 1."""
    mba: float = Field(ge=0, le=1)
    """Mean boundary accuracy; 0 to 1."""


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

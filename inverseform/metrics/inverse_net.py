"""How much an inverse network explains of the transforms between held-out boundary maps."""

from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inverseform.inverse_net import InverseNet
from inverseform.transform import DegreesOfFreedom, from_offsets, offsets


class Determination:
    """Coefficient of determination R2 of each number, over batches: 1 is perfect, 0 is no better than the mean."""

    def __init__(self, numbers: int) -> None:
        self.count = 0
        self.error = torch.zeros(numbers, dtype=torch.float64)
        self.sum = torch.zeros(numbers, dtype=torch.float64)
        self.square = torch.zeros(numbers, dtype=torch.float64)

    def update(self, estimate: Float[Tensor, "batch numbers"], truth: Float[Tensor, "batch numbers"]) -> None:
        """Count a batch."""
        estimate, truth = estimate.double().cpu(), truth.double().cpu()
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


class Explained:
    """R2 of a network over batches of pairs, hard and degraded, as it answers and calibrated as the loss takes it."""

    def __init__(self, net: InverseNet) -> None:
        self.net = net
        self.numbers: DegreesOfFreedom = net.settings.degrees_of_freedom
        self.parts = {
            name: Determination(self.numbers)
            for name in ("r2", "r2_degraded", "r2_calibrated", "r2_degraded_calibrated")
        }

    @torch.no_grad()
    def update(
        self,
        tile: Float[Tensor, "batch tile tile"],
        warped: Float[Tensor, "batch tile tile"],
        degraded: Float[Tensor, "batch tile tile"],
        theta: Float[Tensor, "batch 3 3"],
    ) -> None:
        """Count a batch: target tiles, the same transformed by theta, and these as a network might predict them."""
        truth = offsets(theta, self.numbers)
        embedded = self.net.embed(tile)
        bias = self.net.itself(tile, embedded)
        for name, predicted in (("r2", warped), ("r2_degraded", degraded)):
            answer = self.net.compare(predicted, embedded)
            self.parts[name].update(offsets(self.net.theta(answer), self.numbers), truth)
            # As `estimate` calibrates; what depends on the target alone is had once for all four.
            calibrated = from_offsets((answer - bias) * self.net.scale)
            self.parts[f"{name}_calibrated"].update(offsets(calibrated, self.numbers), truth)

    def figures(self) -> dict[str, Any]:
        """Means over the parameters by name, and with `_each` those of each; None where nothing varied."""
        figures: dict[str, Any] = {}
        for name, part in self.parts.items():
            each = part.compute()
            figures[name] = fmean(known) if (known := [r2 for r2 in each if r2 is not None]) else None
            figures[f"{name}_each"] = each
        return figures

"""An exponential moving average of a network's weights, which generalises better than the last of them."""

import copy

import torch
from torch import nn


class WeightAverage:
    """average := d average + (1 - d) weight after each step, with d = min(decay, (1 + t) / (10 + t)) at step t from 0.

    The bound lets the average forget the random weights of the beginning. Buffers are copied.

    Args:
        model: What is averaged; left as it is.
        decay: d, after the warm-up; in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        """A whole network with the averaged weights, in evaluation mode."""
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Count the weights after a step, by its number from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        # As torch's own optimisers do it: one operation on all tensors, whose start would cost more than it does.
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            list(self.model.parameters()), list(model.parameters()), 1 - decay
        )
        for mine, new in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(new)

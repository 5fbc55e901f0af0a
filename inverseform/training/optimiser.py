"""Step size and optimiser of both trainings."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from inverseform.settings import Settings


class OptimiserParams(Settings):
    """How weights are changed, and for how long."""

    name: Literal["adamw", "sgd"]
    """adamw, or sgd with Nesterov's momentum of 0.9."""
    learning_rate: float = Field(gt=0)
    """At its peak, after the warm-up."""
    weight_decay: float = Field(ge=0)
    steps: int = Field(ge=1)
    """How many batches."""
    batch: int = Field(ge=1)
    """How many samples or pairs a step sees, on all processes together. A batch norm sees the micro-batch of a process
    alone, on GPUs those of all processes: a network that has some trains otherwise on several CPU processes than on
    one."""
    accumulate: int = Field(ge=1)
    """Micro-batches that a step's batch is divided into, one after the other; memory is needed for one. A term that is
    a mean over a batch is the mean of its means over the micro-batches."""
    clip: float | None = Field(gt=0)
    """Largest norm of the gradient, to which longer ones are shortened; null for none."""
    ema: float | None = Field(gt=0, lt=1)
    """Decay of an exponential moving average of the weights, such as 0.999, which is what is validated and saved; null:
    the weights themselves."""
    warm_up: int = Field(ge=0)
    """Steps over which the learning rate grows linearly from 0."""
    schedule: Literal["cosine", "poly"]
    """How it falls to 0 from there: half a cosine, or the power 0.9 of the share that is left."""
    seed: int = Field(ge=0, lt=2**32)
    """With the number of a step, of everything that is drawn in it."""


def build(params: OptimiserParams, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser over some parameters."""
    rate, decay = params.learning_rate, params.weight_decay
    if params.name == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=0.9, nesterov=True)


def learning_rate(params: OptimiserParams, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    if step < params.warm_up:
        # From a first step above 0, as one of 0 would be wasted, to the peak at the last step of the warm-up.
        return params.learning_rate * (step + 1) / params.warm_up
    left = 1 - (step - params.warm_up) / max(1, params.steps - params.warm_up)
    # 0.9 is the power of DeepLab and HRNet.
    factor = left**0.9 if params.schedule == "poly" else (1 - math.cos(math.pi * left)) / 2
    return params.learning_rate * factor

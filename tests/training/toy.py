"""A training of a second: a small network on drawn numbers, the same however its batches are divided."""

import torch
from torch import nn

from inverseform.training.checkpoint import Place
from inverseform.training.launch import PLAIN, launch
from inverseform.training.loop import train
from inverseform.training.optimiser import OptimiserParams

PARAMS = OptimiserParams(
    name="adamw", learning_rate=0.02, weight_decay=0.01, steps=12, batch=4, accumulate=1, clip=None, ema=None,
    warm_up=3, schedule="cosine", seed=1,
)  # fmt: skip


def with_(**changes):
    return PARAMS.model_copy(update=changes)


def network(seed=0):
    """With dropout and a batch norm: what a step draws, and what it keeps, must come back too."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))


def plain_network(seed=0):
    """Without: each sample is seen by itself, so that a batch may be divided."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def batches(part):
    samples = [torch.randn(6, generator=torch.Generator().manual_seed(part.start + i)) for i in range(part.size)]
    return torch.stack(samples)


def loss(model, batch):
    near = (model(batch) - batch[:, :2]).square().mean()
    small = next(model.parameters()).abs().mean()
    return {"total": near + 0.1 * small, "near": near, "small": small}


def weights_of(model):
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def run(folder, *, params=PARAMS, model=None, loss=loss, until=None, settings=None, machine=PLAIN, **options):
    """Weights and last step of a run, cut off after a step if it is said."""
    model = network() if model is None else model
    place, step = Place(folder, settings or {"run": 1}, {}), None
    for step in train(model, batches, loss, params, machine=launch(machine), place=place, **options):
        if step.step == until:
            break
    return weights_of(model), step

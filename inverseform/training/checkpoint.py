"""A training's place on disk, from which it goes on exactly.

What a step draws depends on the seed and its number alone, so the place is the step, the weights and the optimiser.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from inverseform import weights

FORMAT = "inverseform.checkpoint/1"
log = logging.getLogger("inverseform")


class Place(NamedTuple):
    """Where a run keeps its checkpoint, and what it must agree with to go on from it."""

    folder: Path
    run: str
    """`fingerprint` of everything that decides how the run goes."""


def fingerprint(*parts: Any) -> str:  # noqa: ANN401 (whatever JSON can hold)
    """SHA-256 of settings and the like: runs with the same one compute the same."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save(place: Place, model: nn.Module, optimiser: torch.optim.Optimizer, *, step: int, curve: dict[str, Any]) -> None:
    """Write a checkpoint over the last one; whole or not at all.

    Args:
        place: Where to.
        model: What is trained.
        optimiser: Over the model's parameters.
        step: How many steps are done.
        curve: The training curve until then; what JSON can hold.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    weights.save(place.folder, tensors, {"step": step, "run": place.run, "curve": curve}, format=FORMAT)


def resume(place: Place, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, dict[str, Any]]:
    """Fill model and optimiser from a checkpoint; its step and curve, or 0 and {} where this run left nothing."""
    if not place.folder.is_dir():
        return 0, {}
    tensors, settings = weights.load(place.folder, format=FORMAT)
    if settings["run"] != place.run:
        log.warning("%s is of a run with other settings or other inputs; starting anew", place.folder)
        return 0, {}
    state: dict[int, dict[str, Tensor]] = {}
    own = {}
    for name, tensor in tensors.items():
        owner, _, rest = name.partition(".")
        if owner == "model":
            own[rest] = tensor
        else:
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = tensor
    weights.fill(model, own, source=place.folder)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    log.info("going on from step %d of %s", settings["step"], place.folder)
    return settings["step"], settings["curve"]

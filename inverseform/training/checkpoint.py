"""A training's place on disk, from which it goes on exactly.

What a step draws depends on the seed and its number alone, so the place is the step, the weights and the optimiser.
"""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from inverseform import weights
from inverseform.settings import InputError

FORMAT = "inverseform.checkpoint/2"
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
    """Write a checkpoint, then remove the one before: at any moment there is one that is whole.

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
    folder = place.folder / f"step-{step:09d}"
    weights.save(folder, tensors, {"step": step, "run": place.run, "curve": curve}, format=FORMAT)
    # The first star also finds what a killed run left under a partial name.
    for other in place.folder.glob("*step-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def resume(place: Place, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, dict[str, Any]]:
    """Fill model and optimiser from a checkpoint; its step and curve, or 0 and {} where this run left nothing whole.

    One that is damaged or of another run stops nobody: it is told of and passed over.
    """
    # Steps are written with nine digits, so the order of the names is that of the steps.
    for folder in sorted(place.folder.glob("step-*"), reverse=True):
        try:
            tensors, settings = weights.load(folder, format=FORMAT)
        except InputError as error:
            log.warning("%s is damaged and not used (%s)", folder, error.__cause__ or error)
            continue
        own, state = _apart(tensors)
        # Shapes too: the fingerprint knows settings and inputs, not whether the code builds the same from them.
        if settings["run"] != place.run or _shapes(own) != _shapes(model.state_dict()):
            log.warning("%s is of a run with other settings, inputs or code, and not used", folder)
            continue
        weights.fill(model, own, source=folder)
        # Its groups are those of the settings: the learning rate is set anew at each step anyway.
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        log.info("going on from step %d of %s", settings["step"], folder)
        return settings["step"], settings["curve"]
    return 0, {}


def _apart(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[int, dict[str, Tensor]]]:
    """The model's tensors by name, and the optimiser's by the number of their parameter and by name."""
    own, state = {}, {}
    for name, tensor in tensors.items():
        owner, _, rest = name.partition(".")
        if owner == "model":
            own[rest] = tensor
        else:
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = tensor
    return own, state


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}

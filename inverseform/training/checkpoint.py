"""A training's place on disk, from which it goes on exactly.

What a step draws depends on the seed and its number alone, so the place is the step, the weights and the optimiser;
with them goes all that the run has found so far: the average and the best of its weights, its curve.
"""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from inverseform import weights
from inverseform.settings import InputError

FORMAT = "inverseform.checkpoint/3"
log = logging.getLogger("inverseform")


class Place(NamedTuple):
    """Where a run keeps its checkpoint, and what it must agree with to go on from it."""

    folder: Path
    settings: dict[str, Any]
    """Everything that decides how the run goes, as JSON can hold it."""
    inputs: dict[str, str]
    """SHA-256 of what it reads, by name."""


class Checkpoint(NamedTuple):
    """What a run is after a step."""

    step: int
    """How many steps are done."""
    tensors: dict[str, dict[str, Tensor]]
    """By owner, whose name has no dot, and by name."""
    facts: dict[str, Any]
    """What else there is to know; what JSON can hold."""


def fingerprint(*parts: Any) -> str:  # noqa: ANN401 (whatever JSON can hold)
    """SHA-256 of settings and the like: runs with the same one compute the same."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save(place: Place, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then remove the one before: at any moment there is one that is whole."""
    tensors = {f"{owner}.{name}": tensor for owner, some in checkpoint.tensors.items() for name, tensor in some.items()}
    said = {"step": checkpoint.step, "settings": place.settings, "inputs": place.inputs, "facts": checkpoint.facts}
    folder = place.folder / f"step-{checkpoint.step:09d}"
    weights.save(folder, tensors, said, format=FORMAT)
    # The first star also finds what a killed run left under a partial name.
    for other in place.folder.glob("*step-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def find(place: Place) -> Checkpoint | None:
    """The newest whole checkpoint of a run, or None where it left nothing whole; a damaged one is told and passed over.

    Raises:
        InputError: It is of a run with other settings or inputs; the message names each that differs.
    """
    # Steps are written with nine digits, so the order of the names is that of the steps.
    for folder in sorted(place.folder.glob("step-*"), reverse=True):
        try:
            tensors, said = weights.load(folder, format=FORMAT)
            if missing := {"step", "settings", "inputs", "facts"} - said.keys():
                raise InputError(f"it has no {', '.join(sorted(missing))}")
        except InputError as error:
            log.warning("%s is damaged and not used (%s)", folder, error.__cause__ or error)
            continue
        _check(place, said)
        log.info("going on from step %d of %s", said["step"], folder)
        return Checkpoint(said["step"], _by_owner(tensors), said["facts"])
    return None


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A line for each setting in which two runs differ, by its key as it is written in params.yaml.

    >>> differences({"optimiser": {"steps": 80, "seed": 1}}, {"optimiser": {"steps": 90, "seed": 1}})
    ['optimiser.steps: 80 in the checkpoint, 90 now']
    """
    before, after = _flat(then), _flat(now)
    return [
        f"{key}: {before.get(key, 'absent')} in the checkpoint, {after.get(key, 'absent')} now"
        for key in dict.fromkeys([*after, *before])
        if before.get(key) != after.get(key)
    ]


def _check(place: Place, said: dict[str, Any]) -> None:
    lines = [
        *differences(said["settings"], place.settings),
        *(f"input {line}" for line in differences(said["inputs"], place.inputs)),
    ]
    if lines:
        told = "".join(f"\n- {line}" for line in lines)
        raise InputError(
            f"{place.folder}: holds step {said['step']} of an unfinished run with other settings or inputs:{told}\n"
            f"Set them back to go on with that run, or give it up and begin anew: rm -r {place.folder}"
        )


def _flat(values: dict[str, Any], above: str = "") -> dict[str, str]:
    """Values by dotted keys, as JSON."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = json.dumps(value)
    return flat


def _by_owner(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    apart: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        owner, _, rest = name.partition(".")
        apart.setdefault(owner, {})[rest] = tensor
    return apart

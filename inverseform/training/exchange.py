"""A checkpoint from the first process to all: no disk is shared, and nothing is pickled."""

import json
from typing import Any

import torch
from torch import Tensor

from inverseform.settings import InputError
from inverseform.training import checkpoint
from inverseform.training.checkpoint import Checkpoint, Place
from inverseform.training.launch import Machine


def find(place: Place, machine: Machine) -> Checkpoint | None:
    """What the first process finds in its folder, on all processes.

    Raises:
        InputError: The first process refuses what it found.
    """
    if machine.processes == 1:
        return checkpoint.find(place)
    found, told = None, {}
    if machine.is_first:
        try:
            found = checkpoint.find(place)
            told = _describe(found)
        except InputError as error:
            told = {"refused": str(error)}
    told = _json(told, machine)
    if "refused" in told:
        raise InputError(told["refused"])
    if told["step"] is None:
        return None
    tensors = {
        owner: {name: _tensor(found and found.tensors[owner][name], like, machine) for name, like in some.items()}
        for owner, some in told["tensors"].items()
    }
    return Checkpoint(told["step"], tensors, told["facts"])


def _describe(found: Checkpoint | None) -> dict[str, Any]:
    """All of a checkpoint but the numbers in its tensors."""
    if found is None:
        return {"step": None}
    tensors = {
        owner: {name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in some.items()}
        for owner, some in found.tensors.items()
    }
    return {"step": found.step, "facts": found.facts, "tensors": tensors}


def _json(told: dict[str, Any], machine: Machine) -> dict[str, Any]:
    """What the first process tells, as the bytes of its JSON."""
    text = torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8).to(machine.device)
    length = torch.tensor([len(text)], device=machine.device)
    machine.share(length)
    if not machine.is_first:
        text = torch.empty(int(length), dtype=torch.uint8, device=machine.device)
    machine.share(text)
    return json.loads(bytes(text.cpu().tolist()))


def _tensor(mine: Tensor | None, like: list[Any], machine: Machine) -> Tensor:
    name, shape = like
    there = torch.empty(shape, dtype=getattr(torch, name), device=machine.device) if mine is None else mine
    there = there.to(machine.device).contiguous()
    machine.share(there)
    return there.cpu()

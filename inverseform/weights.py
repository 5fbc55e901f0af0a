"""A network on disk: a folder with its weights (safetensors) and all that is needed to build it (JSON).

Nothing is pickled, so that opening somebody's network runs nobody's code.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from inverseform.settings import InputError

WEIGHTS = "weights.safetensors"
SETTINGS = "settings.json"


def save(folder: Path, tensors: dict[str, Tensor], settings: dict, *, format: str) -> None:
    """Write a folder whole: beside its place first, then renamed to it; what was there goes just before.

    Args:
        folder: Where to; its parent is made.
        tensors: Weights by name, of any shape.
        settings: What JSON can hold.
        format: Name and version of what is kept, which `load` asks for.

    Raises:
        OSError: The disk is full, or not ours to write.
    """
    partial = folder.with_name(f".partial.{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / WEIGHTS)
    except SafetensorError as error:
        # safetensors tells of a full disk in words only; the command lines go by the number.
        number = next((int(word.rstrip(")")) for word in str(error).split() if word.rstrip(")").isdigit()), 0)
        raise OSError(number, os.strerror(number) if number else str(error), str(folder / WEIGHTS)) from error
    (partial / SETTINGS).write_text(json.dumps({"format": format, **settings}, indent=1) + "\n")
    # A folder cannot be replaced in one step; between these two there is none, and never a mixture.
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load(folder: str | Path, *, format: str) -> tuple[dict[str, Tensor], dict]:
    """Read a folder that `save` wrote: its tensors on the CPU, of the shapes they were saved with, and its settings.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It is not of that format, or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            2, "no such folder; name one that train_inverse or train_segmentation wrote", str(folder)
        )
    try:
        settings = json.loads((folder / SETTINGS).read_text())
        found = settings.pop("format", None)
        tensors = load_file(folder / WEIGHTS)
    # A ValueError is JSON or UTF-8 that was cut, the next two are JSON of something else than an object.
    except (ValueError, TypeError, AttributeError, SafetensorError, FileNotFoundError) as error:
        raise InputError(
            f"{folder}: cannot be read as a saved network ({error}); run the stage that made it again"
        ) from error
    if found != format:
        raise InputError(f"{folder}: holds {found!r} and {format!r} was expected; name the folder of the right stage")
    return tensors, settings


def digest(folder: str | Path) -> str:
    """SHA-256 of the weights in a folder, as 64 hexadecimal digits: the name by which other files refer to them."""
    # Of the weights alone: the settings beside them may be worded anew without making it another network.
    return hashlib.sha256((Path(folder) / WEIGHTS).read_bytes()).hexdigest()


def fill(module: torch.nn.Module, tensors: dict[str, Tensor], *, source: str | Path) -> None:
    """Put tensors into a module, strictly: every name and every shape must fit.

    Raises:
        InputError: Some do not; the message names the first of them.
    """
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise InputError(f"{source}: its weights do not fit its settings ({misfit(error)}); train it again") from error


def misfit(error: RuntimeError) -> str:
    """The first tensor of those that torch's `load_state_dict` complains about."""
    # It lists every misfit, each on a line below a heading; the first says what is wrong.
    return (" ".join(str(error).split("\n\t")[1:2]) or str(error)).strip()

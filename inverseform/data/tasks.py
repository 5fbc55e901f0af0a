"""The tasks beside segmentation that a data set may have targets for, and their targets as bytes.

A target is an array of (channels, height, width) in the unit of its task, with the task's own value for "not known".
In the store it is a file of numpy's format without objects in it: read back it is the same to the bit.
"""

import io
import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from inverseform.sample import IGNORE_INDEX, Target
from inverseform.settings import InputError


class Task(NamedTuple):
    """What the targets of a task look like."""

    channels: int | None
    """How many; None where that differs from image to image."""
    dtype: type[np.generic]
    """Of the stored array."""
    unknown: float | None
    """The value of a pixel of which nothing is known; None where there are no such pixels."""


TASKS = {
    # Metres along the optical axis.
    "depth": Task(1, np.float32, math.nan),
    # Unit vectors: x right, y up, z towards the camera. 16 bits turn them by less than 0.03 degrees.
    "normals": Task(3, np.float16, math.nan),
    # 1 where an annotator drew a boundary, else 0; a channel each.
    "edges": Task(None, np.uint8, IGNORE_INDEX),
    # 1 on the salient object, else 0.
    "saliency": Task(1, np.uint8, IGNORE_INDEX),
    # Ids of the parts of a person from 1; 0 where there is none.
    "human_parts": Task(1, np.uint8, IGNORE_INDEX),
    # Disparity, height above ground and angle with gravity (Gupta et al. 2014), 0 to 255: an input beside the image.
    "hha": Task(3, np.uint8, None),
}
"""By name; also the columns of a sample store."""


def encode(task: str, target: Shaped[np.ndarray, "channels height width"]) -> bytes:
    """A target as bytes, the same target always as the same bytes.

    Raises:
        ValueError: It is not of its task's type or channels.
    """
    wanted = TASKS[task]
    if target.dtype != wanted.dtype or wanted.channels not in (None, len(target)):
        channels = "any number of" if wanted.channels is None else wanted.channels
        raise ValueError(
            f"{task} is {target.dtype} of {len(target)} channels: give {np.dtype(wanted.dtype)} of {channels} channels"
        )
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(target), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def decode(task: str, data: bytes, *, source: str) -> Target:
    """The target of some bytes.

    Raises:
        InputError: They are damaged; `source` says where they are.
    """
    try:
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{source}: its {task} cannot be read ({error}); run `dvc repro ingest` again") from error
    values = torch.from_numpy(array)
    known = _known(values, TASKS[task].unknown)
    return Target(values.float().where(known, 0.0), known.all(dim=0, keepdim=True).float())


def _known(values: Tensor, unknown: float | None) -> Tensor:
    if unknown is None:
        return torch.ones_like(values, dtype=torch.bool)
    return values.isfinite() if math.isnan(unknown) else values != unknown

"""What one image of a data set holds, as a few numbers."""

import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Shaped

from inverseform.data.dataset import Source
from inverseform.data.tasks import TASKS
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError


class Coverage(NamedTuple):
    """What a split knows of a task."""

    images: int
    """Those with a target."""
    known: float
    """The sum over them of the share of pixels that are known."""
    least: float
    most: float
    """The range of the values that are known."""

    def merged(self, other: "Coverage") -> "Coverage":
        """Both together."""
        least, most = min(self.least, other.least), max(self.most, other.most)
        return Coverage(self.images + other.images, self.known + other.known, least, most)


class Inspection(NamedTuple):
    """What is kept of one image."""

    name: str
    problem: str | None = None
    """What is wrong with it; the rest is then empty."""
    size: tuple[int, int] = (0, 0)
    """Height and width."""
    pixels: Int64[np.ndarray, " 256"] = np.zeros(256, dtype=np.int64)
    """How many have each label."""
    predicted: bool = False
    """Whether a prediction goes with it."""
    tasks: Mapping[str, Coverage] = {}
    digest: bytes = b""


def inspected(source: Source, num_classes: int) -> Inspection:
    """Read one image and everything that belongs to it."""
    try:
        reading = source.read()
    except (InputError, OSError) as error:
        return Inspection(source.name, str(error))
    pixels = np.bincount(reading.labels.ravel(), minlength=IGNORE_INDEX + 1).astype(np.int64)
    if strange := np.flatnonzero(pixels[num_classes:IGNORE_INDEX]).tolist():
        return Inspection(
            source.name, f"{source.name}: has the label {strange[0] + num_classes}, of no class: a bug of its reader"
        )
    tasks = {task: _coverage(target, TASKS[task].unknown) for task, target in reading.targets.items()}
    height, width = reading.labels.shape
    digest = hashlib.blake2b(reading.encoded, digest_size=16).digest()
    return Inspection(source.name, None, (height, width), pixels, reading.prediction is not None, tasks, digest)


def _coverage(target: Shaped[np.ndarray, "channels height width"], unknown: float | None) -> Coverage:
    if unknown is None:
        known = np.ones(target.shape, dtype=np.bool_)
    else:
        known = np.isfinite(target) if math.isnan(unknown) else target != unknown
    values = target[known]
    least, most = (float(values.min()), float(values.max())) if values.size else (math.inf, -math.inf)
    return Coverage(1, float(known.all(axis=0).mean()), least, most)

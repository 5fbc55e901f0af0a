"""A walk over a data set before anything is written: what is there, what is damaged, what ingest will cost.

Every picture is decoded once, by several threads; of an image a few numbers and a digest of 16 bytes are kept.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64

from inverseform.boundary import BoundaryParams
from inverseform.data.boundary_bits import boundary_bits
from inverseform.data.dataset import Dataset, Source
from inverseform.data.inspection import Coverage, Inspection, inspected
from inverseform.data.stored_sample import stored_bits
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

_MEASURED = 24
"""Samples that ingest's cost is measured on."""
_AT_ONCE = 256
"""Sources for each worker that are handed to the threads at once."""


@dataclass
class SplitSurvey:
    """What a split holds."""

    expected: int | None
    """How many images it has where it is published; None where nobody knows."""
    count: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """How many images have a height and width."""
    pixels: Int64[np.ndarray, " 256"] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    """How many have each label, 255 for void."""
    images: Int64[np.ndarray, " 256"] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    """In how many each label occurs."""
    unlabelled: int = 0
    """Images of void alone."""
    predicted: int = 0
    """Images with a prediction."""
    tasks: dict[str, Coverage] = field(default_factory=dict)
    damaged: int = 0

    def add(self, image: Inspection) -> None:
        """Count one more image."""
        self.count += 1
        if image.problem is not None:
            self.damaged += 1
            return
        self.sizes[image.size] += 1
        self.pixels += image.pixels
        self.images += image.pixels > 0
        self.unlabelled += int(image.pixels[:IGNORE_INDEX].sum() == 0)
        self.predicted += image.predicted
        for task, coverage in image.tasks.items():
            self.tasks[task] = coverage.merged(self.tasks[task]) if task in self.tasks else coverage

    @property
    def void(self) -> float:
        """The share of pixels of which nothing is known; nan without a pixel."""
        total = int(self.pixels.sum())
        return int(self.pixels[IGNORE_INDEX]) / total if total else math.nan


class Estimate(NamedTuple):
    """What ingest will take."""

    measured: int
    """Samples that this was measured on."""
    seconds: float
    bytes: float


class Survey(NamedTuple):
    """What a data set holds."""

    dataset: Dataset
    splits: dict[str, SplitSurvey]
    problems: list[str]
    """What ingest refuses, and what differs from what is published."""
    remarks: list[str]
    """What ingest takes, and a person may not have meant."""
    estimate: Estimate | None
    """None where no sample could be made."""


Watch = Callable[[Iterable[Inspection], str, int], Iterable[Inspection]]
"""Given the images of a split, its name and its size, passes them on: a progress bar, say."""


def survey(
    dataset: Dataset, boundary: BoundaryParams, *, workers: int, watch: Watch = lambda images, split, total: images
) -> Survey:
    """Look at all of a data set.

    Args:
        dataset: As its reader opened it.
        boundary: How ingest will make boundary maps, for its cost.
        workers: Images read at the same time.
        watch: Sees every image as it comes.
    """
    splits, problems, remarks = {}, [], []
    seen: dict[bytes, tuple[str, str]] = {}
    # With more threads of torch's in each they wait for each other.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for split, sources in dataset.splits.items():
            splits[split] = found = SplitSurvey(dataset.expected.get(split))
            twice: Counter[str] = Counter()
            names: set[str] = set()
            images = _inspections(pool, sources, len(dataset.classes), at_once=_AT_ONCE * workers)
            for each in watch(images, split, len(sources)):
                found.add(each)
                problems += [] if each.problem is None else [each.problem]
                if each.name in names:
                    problems.append(f"{split}: two images are called {each.name}; rename one")
                names.add(each.name)
                if not _is_text(each.name):
                    problems.append(
                        f"{split}: {each.name!a}: the name is not in UTF-8, as samples' names are; rename the file"
                    )
                if each.problem is None and seen.setdefault(each.digest, (split, each.name)) != (split, each.name):
                    twice[seen[each.digest][0]] += 1
            remarks += [
                f"{split}: images that are also in {other}, byte for byte: {count}" for other, count in twice.items()
            ]
            if found.expected not in (None, found.count):
                problems.append(
                    f"{split}: has {found.count} images and {found.expected} are published; copy the data set again, "
                    f"or, where that is meant, run ingest all the same: it takes them"
                )
        remarks += _remarks(dataset, splits)
        return Survey(dataset, splits, problems, remarks, _estimate(pool, dataset, boundary))


def spread(dataset: Dataset, count: int) -> list[tuple[str, Source]]:
    """So many sources, evenly spread over all splits, with the split of each."""
    everything = [(split, number) for split, sources in dataset.splits.items() for number in range(len(sources))]
    count = min(count, len(everything))
    chosen = [everything[(2 * n + 1) * len(everything) // (2 * count)] for n in range(count)]
    return [(split, dataset.splits[split][number]) for split, number in chosen]


def _inspections(
    pool: ThreadPoolExecutor, sources: Sequence[Source], num_classes: int, *, at_once: int
) -> Iterator[Inspection]:
    # A future each for all of them would take more room than what is kept.
    for first in range(0, len(sources), at_once):
        part = [sources[number] for number in range(first, min(first + at_once, len(sources)))]
        yield from pool.map(inspected, part, [num_classes] * len(part))


def _is_text(name: str) -> bool:
    """Whether a name can be written in UTF-8; of a file named otherwise Python has half a surrogate pair in its."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remarks(dataset: Dataset, splits: dict[str, SplitSurvey]) -> list[str]:
    found = []
    for split, each in splits.items():
        absent = [name for number, name in enumerate(dataset.classes) if not each.images[number]]
        if absent and each.count > each.unlabelled + each.damaged:
            found.append(f"{split}: classes that never occur: {', '.join(absent)}")
        if each.unlabelled:
            found.append(f"{split}: images with no label but void: {each.unlabelled}")
        for task in dataset.tasks:
            there = each.tasks[task].images if task in each.tasks else 0
            if there < each.count - each.damaged:
                found.append(f"{split}: images without {task}: {each.count - each.damaged - there}")
    return found


def _estimate(pool: ThreadPoolExecutor, dataset: Dataset, boundary: BoundaryParams) -> Estimate | None:
    """Time and bytes of some samples, made as ingest makes them."""

    def encoded(source: Source) -> int | None:
        try:
            reading = source.read()
        except (InputError, OSError):
            return None
        return stored_bits(source.name, reading, boundary_bits(reading.labels, boundary)).size

    chosen = [source for _, source in spread(dataset, _MEASURED)]
    begun = time.monotonic()
    sizes = [size for size in pool.map(encoded, chosen) if size is not None]
    if not sizes:
        return None
    each = (time.monotonic() - begun) / len(chosen)
    total = sum(map(len, dataset.splits.values()))
    return Estimate(len(sizes), each * total, sum(sizes) / len(sizes) * total)

"""One shard of samples at a time, and what is counted in it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.shard_plan import Job
from components.shard_receipts import Receipt, keep, partial_folder
from inverseform.boundary import BoundaryParams
from inverseform.data.boundary_bits import BOUNDARY, boundary_bits
from inverseform.data.dataset import Source
from inverseform.data.digest import digest_of
from inverseform.data.sample_store import DatasetInfo, write_samples
from inverseform.data.shards import shard_path
from inverseform.data.stored_sample import StoredSample, stored_bits
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError


class SampleReceipt(Receipt):
    """What is known of a shard of samples that is whole."""

    pixels: int
    """Of all its samples."""
    ignored: int
    """Of those, pixels of no known class."""
    boundary: int
    """Of those, pixels on a boundary."""


class Work(NamedTuple):
    """All that a process needs for one shard."""

    job: Job
    sources: list[Source]
    info: DatasetInfo
    folder: Path


def make(work: Work) -> SampleReceipt:
    """Make a shard and its receipt; memory holds one sample and one row group.

    Raises:
        InputError: A file of the data set is damaged, or does not fit the others.
        OSError: The disk is full, say.
    """
    job, tally = work.job, Counter[str]()
    with partial_folder(work.folder) as partial:
        rows = _rows(work, tally)
        write_samples(partial, work.info, job.split, rows, shard_bytes=2**62, first=job.number)
        made = shard_path(partial, job.split, job.number)
        receipt = SampleReceipt(digest=digest_of(made, samples=job.last - job.first), **tally)
        keep(made, work.folder, job, receipt)
    return receipt


def encode(source: Source, boundary: BoundaryParams, *, classes: int) -> tuple[StoredSample, Counter[str]]:
    """A sample as it is stored, and how many pixels it has, of which kinds.

    Raises:
        InputError: It is damaged, or has a label of no class.
    """
    reading = source.read()
    bits = boundary_bits(reading.labels, boundary)
    sample = stored_bits(source.name, reading, bits)
    known = sum(sample.class_pixels)
    if len(sample.class_pixels) > classes:
        raise InputError(
            f"{source.name}: has the label {len(sample.class_pixels) - 1} and ids go from 0 to {classes - 1}, or are "
            f"{IGNORE_INDEX} for unknown: a reader that gives such labels has a bug"
        )
    edge = int(np.count_nonzero(bits & BOUNDARY))
    return sample, Counter(pixels=bits.size, ignored=bits.size - known, boundary=edge)


def _rows(work: Work, tally: Counter[str]) -> Iterator[StoredSample]:
    for source in work.sources:
        sample, pixels = encode(source, work.info.boundary, classes=len(work.info.classes))
        tally.update(pixels)
        yield sample

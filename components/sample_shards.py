"""One shard of samples at a time: made under another name, renamed when it is whole, and a receipt beside it."""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from components.shard_plan import Job, write_whole
from inverseform.boundary import BoundaryParams
from inverseform.data.boundary_bits import BOUNDARY, boundary_bits
from inverseform.data.dataset import Source
from inverseform.data.digest import ShardDigest, difference, digest_of
from inverseform.data.sample_store import DatasetInfo, write_samples
from inverseform.data.shards import shard_path
from inverseform.data.stored_sample import StoredSample, stored_bits
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

PARTIAL = ".partial-"


class Receipt(Settings):
    """What is known of a shard that is whole; a JSON file beside it."""

    digest: ShardDigest
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


def make(work: Work) -> Receipt:
    """Make a shard and its receipt; memory holds one sample and one row group.

    Raises:
        InputError: A file of the data set is damaged, or does not fit the others.
        OSError: The disk is full, say.
    """
    job, tally = work.job, Counter[str]()
    # A folder of its own: of two runs that make the same shard, neither writes into the other's.
    partial = work.folder / f"{PARTIAL}{uuid.uuid4().hex}"
    partial.mkdir()
    try:
        rows = _rows(work, tally)
        write_samples(partial, work.info, job.split, rows, shard_bytes=2**62, first=job.number)
        made = shard_path(partial, job.split, job.number)
        digest = digest_of(made, samples=job.last - job.first)
        made.rename(work.folder / made.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    receipt = Receipt(digest=digest, **tally)
    write_whole(work.folder / f"{job.name}.json", receipt.model_dump_json() + "\n")
    return receipt


def whole(folder: Path, job: Job) -> Receipt | None:
    """The receipt of a shard that is there and undamaged, to the last byte; None where it has to be made."""
    try:
        receipt = Receipt.model_validate_json((folder / f"{job.name}.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    found = difference(folder / receipt.digest.name, receipt.digest, full=True)
    return receipt if found is None and receipt.digest.samples == job.last - job.first else None


def put(shard: Path, folder: Path) -> None:
    """Put a shard into another folder as well: as a second name of the same file, or as a copy on another disk."""
    try:
        os.link(shard, folder / shard.name)
    except OSError:
        # Some file systems have no second names, and none has them for files of another.
        shutil.copyfile(shard, folder / shard.name)


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

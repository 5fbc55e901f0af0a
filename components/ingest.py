"""Ingest: a data set to Parquet shards of samples with their boundary maps."""

import runpy
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import Field

from components import stage
from components.progress import track
from components.stage import Input, Output, Report
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data import DataParams, Dataset, open_dataset
from inverseform.data.dataset import Source
from inverseform.data.sample_store import DatasetInfo, write_info, write_samples
from inverseform.data.stored_sample import StoredSample, stored
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import Settings

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2
"""Samples in flight for each worker: one in work, one ready."""


class IngestParams(Settings):
    """A data set to Parquet shards of samples with their boundary maps."""

    data: DataParams
    boundary: BoundaryParams
    workers: int = Field(ge=1)
    """Samples decoded at the same time."""
    shard_mib: int = Field(ge=1)
    """Size of a shard, in MiB."""


def ingest(params: IngestParams, *, raw: Input, samples: Output) -> Report:
    """Read a data set, make its boundary maps (sec. 3.5), and write both as Parquet shards.

    Memory does not grow with the data set: a few samples are in flight, and one row group is kept.
    """
    start = time.monotonic()
    dataset = open_dataset(params.data, raw)
    tally = write_dataset(dataset, params, samples)
    return {
        "images": sum(map(len, dataset.splits.values())),
        **{f"{split}_images": len(sources) for split, sources in dataset.splits.items()},
        "ignored_share": tally["ignored"] / tally["pixels"],
        "boundary_share": tally["boundary"] / tally["pixels"],
        "seconds": time.monotonic() - start,
    }


def write_dataset(dataset: Dataset, params: IngestParams, folder: Path) -> Counter[str]:
    """Write all splits of a data set to a new folder; how many pixels there were, and of which kind.

    Raises:
        InputError: A file of the data set is damaged, or does not fit the others.
    """
    info = DatasetInfo(
        source=dataset.name,
        classes=dataset.classes,
        colours=dataset.colours,
        boundary=params.boundary,
        tasks=dataset.tasks,
        counts={split: len(sources) for split, sources in dataset.splits.items()},
    )
    tally: Counter[str] = Counter()

    def encode(source: Source) -> tuple[StoredSample, Counter[str]]:
        return _encode(source, params, num_classes=len(dataset.classes))

    def counted(sources: Iterable[Source]) -> Iterator[StoredSample]:
        for sample, pixels in in_order(encode, sources, workers=params.workers):
            tally.update(pixels)
            yield sample

    folder.mkdir(parents=True)
    for split, sources in dataset.splits.items():
        shown = track(counted(sources), description=f"ingest {split}", total=len(sources))
        write_samples(folder, info, split, shown, shard_bytes=params.shard_mib << 20)
    # Last: a folder with a description is one with all its shards.
    write_info(folder, info)
    return tally


def in_order(function: Callable[[Item], Result], items: Iterable[Item], *, workers: int) -> Iterator[Result]:
    """Map by threads, results in the order of the items, and never more than AHEAD items for each worker in flight.

    Threads are enough: PIL and torch let go of the interpreter while they work.
    """
    pending: deque[Future[Result]] = deque()
    # One thread of torch's in each: with more they wait for each other, on busy cores for ten times the work itself.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) == AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # After an error the rest need not be done.
            for future in pending:
                future.cancel()


def _encode(source: Source, params: IngestParams, *, num_classes: int) -> tuple[StoredSample, Counter[str]]:
    reading = source.read()
    labels = torch.from_numpy(reading.labels)
    boundary, valid = boundaries(
        labels[None], num_classes=num_classes, operator=params.boundary.operator, radius=params.boundary.radius
    )
    pixels = Counter(
        pixels=labels.numel(), ignored=int((labels == IGNORE_INDEX).sum()), boundary=int(boundary.sum().item())
    )
    # From here on only the encoded bytes live; the arrays go with this frame.
    return stored(source.name, reading, boundary[0], valid[0]), pixels


if __name__ == "__main__":
    if "--check" in sys.argv:
        # By its name: what it draws with is no part of what makes samples, and a change there makes none anew.
        runpy.run_module("components.check", run_name="__main__")
    else:
        stage.main(ingest)

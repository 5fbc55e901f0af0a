"""Stage 1: a data set to Parquet shards of samples with their boundary maps.

`--checkpoints` keeps each shard as soon as it is whole, so that a run which was ended in any way goes on from there.
On several machines, `--shard I --of N` makes each N-th of them from the I-th on, counted from 0, into a `--checkpoints`
that all share; the stage itself then has nothing left to do but to put them together. What comes out is the same to the
byte. `--verify --samples DIR` reads all that is there against the checksums.
"""

import logging
import runpy
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from pydantic import Field

from components import stage
from components.processes import Spread, processes
from components.progress import track
from components.sample_shards import SampleReceipt, Work, encode, make
from components.shard_plan import Job, Plan, every_nth, find_plan, inputs_of, probes, write_plan
from components.shard_receipts import put, sweep, whole
from components.stage import Input, Number, Output, Report, Scratch, Shared
from inverseform.boundary import BoundaryParams
from inverseform.data import DataParams, Dataset, open_dataset
from inverseform.data.dataset import Source
from inverseform.data.description import FORMAT
from inverseform.data.sample_store import DatasetInfo, SampleStore, write_info
from inverseform.settings import Settings

log = logging.getLogger("inverseform")


class IngestParams(Settings):
    """A data set to Parquet shards of samples with their boundary maps."""

    data: DataParams
    boundary: BoundaryParams
    workers: int = Field(ge=1)
    """Processes, each of which makes a shard at a time."""
    shard_mib: int = Field(ge=1)
    """Size of a shard, in MiB, as a few samples tell it beforehand; 64 to 256 suit disks and object stores."""


def ingest(params: IngestParams, *, raw: Input, samples: Output, checkpoints: Scratch) -> Report:
    """Read a data set, make its boundary maps (sec. 3.5), and write both as Parquet shards.

    Memory does not grow with the data set: each process holds one sample, and one row group.
    """
    start = time.monotonic()
    dataset = open_dataset(params.data, raw)
    checkpoints.mkdir(parents=True, exist_ok=True)
    sweep(checkpoints)
    receipts = make_shards(dataset, params, raw, checkpoints)
    _put_together(dataset, params, receipts, checkpoints, samples)
    tally = Counter[str]()
    for receipt in receipts.values():
        tally.update(pixels=receipt.pixels, ignored=receipt.ignored, boundary=receipt.boundary)
    return {
        "images": sum(map(len, dataset.splits.values())),
        **{f"{split}_images": len(sources) for split, sources in dataset.splits.items()},
        "ignored_share": tally["ignored"] / tally["pixels"],
        "boundary_share": tally["boundary"] / tally["pixels"],
        "seconds": time.monotonic() - start,
    }


def shard(params: IngestParams, *, raw: Input, checkpoints: Shared, shard: Number = None, of: Number = None) -> Report:
    """Make each `of`-th shard from the `shard`-th on, counted from 0; for one of several machines."""
    start = time.monotonic()
    part = every_nth(shard, of)
    dataset = open_dataset(params.data, raw)
    checkpoints.mkdir(parents=True, exist_ok=True)
    receipts = make_shards(dataset, params, raw, checkpoints, part=part)
    images = sum(receipt.digest.samples for receipt in receipts.values())
    return {"shards": len(receipts), "images": images, "seconds": time.monotonic() - start}


def verify(params: IngestParams, *, samples: Input) -> Report:
    """Read all shards of a folder and compare each with its checksum."""
    start = time.monotonic()
    store = SampleStore.open(samples, verify=True)
    images = sum(store.info.counts.values())
    log.info("%d images in %s are as they were written", images, samples)
    return {"images": images, "seconds": time.monotonic() - start}


def make_shards(
    dataset: Dataset, params: IngestParams, raw: Path, folder: Path, *, part: slice = slice(None)
) -> dict[Job, SampleReceipt]:
    """Make the shards of a data set that are not there yet; the receipts of all, or of a part of them.

    Raises:
        InputError: A file of the data set is damaged, or the folder has shards of another run.
    """
    info = describe(dataset, params)
    settings = {
        "version": FORMAT.version,
        "data": params.data.model_dump(mode="json"),
        "shard_mib": params.shard_mib,
        "info": info.model_dump(mode="json"),
    }
    inputs = inputs_of(dataset, raw)
    plan = find_plan(folder, settings, inputs, raw=raw)
    with processes(params.workers) as spread:
        if plan is None:
            plan = Plan(settings=settings, inputs=inputs, sizes=shard_sizes(dataset, params, spread))
            write_plan(folder, plan)
        jobs = plan.jobs(info.counts)[part]
        found = {job: receipt for job in jobs if (receipt := whole(folder, job, SampleReceipt))}
        # The largest first, so that no process has a long one left when the others are done.
        left = sorted((job for job in jobs if job not in found), key=lambda job: job.first - job.last)
        works = [Work(job, list(dataset.splits[job.split][job.first : job.last]), info, folder) for job in left]
        found |= dict(track(spread(_made, works), description="shard", total=len(jobs), done=len(found)))
    return {job: found[job] for job in jobs}


def shard_sizes(dataset: Dataset, params: IngestParams, spread: Spread) -> dict[str, int]:
    """Samples in a shard of each split, from the bytes of some that are spread evenly over it."""
    probed = {split: probes(list(sources)) for split, sources in dataset.splits.items()}
    size = partial(_size, boundary=params.boundary, classes=len(dataset.classes))
    chosen = [(split, source) for split, sources in probed.items() for source in sources]
    totals = Counter[str]()
    for split, found in spread(size, chosen):
        totals[split] += found
    sizes = {}
    for split, sources in probed.items():
        count = len(dataset.splits[split])
        shards = max(1, round(count * totals[split] / max(1, len(sources)) / (params.shard_mib << 20)))
        # Even, rather than full ones and a rest.
        sizes[split] = -(-count // shards)
    return sizes


def describe(dataset: Dataset, params: IngestParams) -> DatasetInfo:
    """What holds for all samples of a data set."""
    return DatasetInfo(
        source=dataset.name,
        classes=dataset.classes,
        colours=dataset.colours,
        boundary=params.boundary,
        tasks=dataset.tasks,
        counts={split: len(sources) for split, sources in dataset.splits.items()},
    )


def _put_together(
    dataset: Dataset, params: IngestParams, receipts: dict[Job, SampleReceipt], checkpoints: Path, samples: Path
) -> None:
    samples.mkdir(parents=True)
    digests = {split: [] for split in dataset.splits}
    for job, receipt in receipts.items():
        put(checkpoints / receipt.digest.name, samples)
        digests[job.split].append(receipt.digest)
    # Last: a folder with a description is one with all its shards.
    write_info(samples, describe(dataset, params), digests)


def _made(work: Work) -> tuple[Job, SampleReceipt]:
    return work.job, make(work)


def _size(chosen: tuple[str, Source], *, boundary: BoundaryParams, classes: int) -> tuple[str, int]:
    split, source = chosen
    return split, encode(source, boundary, classes=classes)[0].size


if __name__ == "__main__":
    if "--check" in sys.argv:
        # By its name: what it draws with is no part of what makes samples, and a change there makes none anew.
        runpy.run_module("components.check", run_name="__main__")
    else:
        stage.main(ingest, shard, verify)

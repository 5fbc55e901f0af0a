"""The shards of pairs, made by one machine or by several into one folder; any run makes the same, to the byte."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from components.pair_maker import PairMaker
from components.pair_params import SynthesizeParams
from components.progress import track
from components.shard_plan import Job, Plan, find_plan, write_plan
from components.shard_receipts import Receipt, keep, partial_folder, whole
from inverseform import weights
from inverseform.data import pair_store
from inverseform.data.description import read_description
from inverseform.data.digest import digest_of
from inverseform.data.sample_store import SampleStore
from inverseform.data.shards import shard_path


def agree(params: SynthesizeParams, samples: Path, folder: Path, *, localiser: Path | None = None) -> Plan:
    """The plan of a folder, written if there is none: from then on the folder is of these settings and inputs alone.

    Args:
        params: Settings.
        samples: The folder that ingest wrote.
        folder: Where shards, and the localiser that was fitted for them, are kept.
        localiser: One from elsewhere, if it is to be used.

    Raises:
        InputError: The folder is of other settings or inputs.
    """
    # How many are made at the same time changes no byte.
    made_with = params.model_dump(mode="json", exclude={"workers"})
    settings = {"version": pair_store.FORMAT.version, "synthesize": made_with}
    # The description has the checksums of all shards of samples.
    description = read_description(samples).model_dump_json()
    inputs = {"samples": hashlib.sha256(description.encode()).hexdigest()}
    if localiser is not None:
        inputs["localiser"] = weights.digest(localiser)
    plan = find_plan(folder, settings, inputs)
    if plan is None:
        sizes = {split: params.shard_size(split) for split in params.counts}
        plan = Plan(settings=settings, inputs=inputs, sizes=sizes)
        write_plan(folder, plan)
    return plan


def make_shards(
    params: SynthesizeParams,
    store: SampleStore,
    plan: Plan,
    folder: Path,
    *,
    localiser: Path | None = None,
    part: slice = slice(None),
) -> tuple[dict[Job, Receipt], int]:
    """Make the shards that are not there yet: the receipts of all, or of a part of them, and how many pairs were made.

    Memory does not grow with the number of pairs: `workers` shards are in work, and each is written as it is made.
    """
    jobs = plan.jobs(params.counts)[part]
    found = {job: receipt for job in jobs if (receipt := whole(folder, job, Receipt))}
    left = [job for job in jobs if job not in found]
    # One thread of torch's in each: with more they only wait for each other.
    with ThreadPoolExecutor(params.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        made = pool.map(lambda job: (job, _make(params, store, folder, job, localiser)), left)
        found |= dict(track(made, description="shard of pairs", total=len(jobs), done=len(found)))
    return {job: found[job] for job in jobs}, sum(found[job].digest.samples for job in left)


def write_shard(
    params: SynthesizeParams,
    store: SampleStore,
    folder: Path,
    split: str,
    number: int,
    *,
    localiser: Path | None = None,
) -> int:
    """Make one shard, which depends on the settings, the samples and its number alone; how many pairs it holds."""
    maker = PairMaker(params, store, split, number, localiser)
    settings = params.model_dump(mode="json", include={"tile", "degrees_of_freedom", "occupancy", "ranges"})
    settings["boundary"] = store.info.boundary.model_dump(mode="json")
    predictions = split != "probe" and params.predicted > 0
    pair_store.write(folder / split, number, maker, settings=settings, predictions=predictions)
    return len(maker)


def _make(params: SynthesizeParams, store: SampleStore, folder: Path, job: Job, localiser: Path | None) -> Receipt:
    with partial_folder(folder) as partial:
        count = write_shard(params, store, partial, job.split, job.number, localiser=localiser)
        made = shard_path(partial, job.split, job.number)
        receipt = Receipt(digest=digest_of(made, samples=count))
        keep(made, folder, job, receipt)
    return receipt

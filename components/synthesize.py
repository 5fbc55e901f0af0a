"""Stage 2: samples to pairs of boundary tiles and the transforms between them.

`--checkpoints` keeps each shard as soon as it is whole, so that a run which was ended in any way goes on from there.
On several machines, `--shard I --of N` makes each N-th of them from the I-th on, counted from 0, into a `--checkpoints`
that all share; the stage itself then has nothing left to do but to put them together. What comes out is the same to the
byte.

With `source: spatial_transformer` the stage first fits a localiser, which all shards then read, and keeps it beside the
pairs. `--fit --samples DIR --checkpoints DIR` does that alone, for the shards of several machines; `--localiser DIR`
uses one that was fitted before.
"""

import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from components import stage
from components.pair_params import SynthesizeParams
from components.pair_shards import agree, make_shards, write_shard
from components.progress import track
from components.shard_plan import every_nth
from components.shard_receipts import put, sweep
from components.stage import Extra, Input, Number, Output, Report, Scratch, Shared
from components.tiles import scene_pool
from inverseform import spatial_transformer
from inverseform.data import pair_store
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError
from inverseform.spatial_transformer import Localiser

__all__ = ["SynthesizeParams", "fit", "shard", "synthesize", "write_shard"]

LOCALISER = "localiser"

log = logging.getLogger("inverseform")


def synthesize(
    params: SynthesizeParams, *, samples: Input, pairs: Output, checkpoints: Scratch, localiser: Extra = None
) -> Report:
    """Cut boundary tiles and warp them: what the inverse network learns from (sec. 3.4)."""
    begun = time.monotonic()
    _check_localiser(params, localiser)
    store = SampleStore.open(samples)
    checkpoints.mkdir(parents=True, exist_ok=True)
    sweep(checkpoints)
    plan = agree(params, samples, checkpoints, localiser=localiser)
    drawn_from = localiser
    if params.source == "spatial_transformer" and localiser is None:
        fit(params, samples=samples, checkpoints=checkpoints)
        drawn_from = checkpoints / LOCALISER
    receipts, made = make_shards(params, store, plan, checkpoints, localiser=drawn_from)
    pairs.mkdir(parents=True)
    for receipt in receipts.values():
        put(checkpoints / receipt.digest.name, pairs)
    if drawn_from != localiser:
        shutil.copytree(checkpoints / LOCALISER, pairs / LOCALISER)
    # Last: a folder with its counts is one with all its shards.
    pair_store.write_counts(pairs, params.counts)
    total = sum(receipt.digest.samples for receipt in receipts.values())
    size = sum(path.stat().st_size for path in pairs.iterdir() if path.is_file())
    seconds = time.monotonic() - begun
    # Of the pairs that this run made: a resumed one did not spend any time on the others.
    return {"pairs": total, "bytes_per_pair": size / total, "pairs_per_second": made / seconds, "seconds": seconds}


def shard(
    params: SynthesizeParams,
    *,
    samples: Input,
    checkpoints: Shared,
    shard: Number = None,
    of: Number = None,
    localiser: Extra = None,
) -> Report:
    """Make each `of`-th shard from the `shard`-th on, counted from 0; for one of several machines."""
    begun = time.monotonic()
    part = every_nth(shard, of)
    _check_localiser(params, localiser)
    store = SampleStore.open(samples)
    checkpoints.mkdir(parents=True, exist_ok=True)
    plan = agree(params, samples, checkpoints, localiser=localiser)
    if params.source == "spatial_transformer" and localiser is None:
        localiser = checkpoints / LOCALISER
        # Of several machines that fitted one each, all but one would do so for nothing.
        if not localiser.exists():
            raise InputError(
                f"{localiser}: is not there, and all shards draw from it; run `python -m components.synthesize --fit` "
                f"once, with the same --checkpoints"
            )
    receipts, _ = make_shards(params, store, plan, checkpoints, localiser=localiser, part=part)
    pairs = sum(receipt.digest.samples for receipt in receipts.values())
    return {"shards": len(receipts), "pairs": pairs, "seconds": time.monotonic() - begun}


def fit(params: SynthesizeParams, *, samples: Input, checkpoints: Shared) -> Report:
    """Fit the localiser of the spatial transformer, which looks at the image (sec. 3.4), to tiles of train.

    It is put into the checkpoints, unless it is there already. With `source: random` there is nothing to fit.
    """
    begun = time.monotonic()
    if params.source == "random":
        log.info("fit: synthesize.source is random, which reads no localiser; there is nothing to do")
        return {"steps": 0, "seconds": 0.0}
    store, chosen, place = SampleStore.open(samples), params.spatial_transformer, checkpoints / LOCALISER
    checkpoints.mkdir(parents=True, exist_ok=True)
    # First: whatever lies beside a plan was made with its settings.
    agree(params, samples, checkpoints)
    if place.exists():
        log.info("fit: %s is there already", place)
        return {"steps": 0, "seconds": time.monotonic() - begun}

    def fitted() -> tuple[Localiser, list[float]]:
        net = Localiser.fresh(params.ranges, params.degrees_of_freedom, seed=params.seed)
        steps = spatial_transformer.fit(net, scene_pool(params, store), chosen, seed=params.seed)
        return net, list(track(steps, description="localiser, step", total=chosen.steps))

    # In a thread with one thread of torch's, as the shards: the same bits on any number of cores.
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        net, objective = pool.submit(fitted).result()
    spatial_transformer.save(place, net, tile=params.tile)
    last = objective[-max(1, chosen.steps // 10) :]
    return {"objective": sum(last) / len(last), "steps": chosen.steps, "seconds": time.monotonic() - begun}


def _check_localiser(params: SynthesizeParams, localiser: Path | None) -> None:
    """Refuse a localiser that nothing would read."""
    if localiser is not None and params.source == "random":
        raise InputError(
            f"--localiser {localiser}: synthesize.source is random, which reads none; leave it out, or set source to "
            f"spatial_transformer"
        )


if __name__ == "__main__":
    stage.main(synthesize, shard, fit)

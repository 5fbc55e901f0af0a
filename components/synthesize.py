"""Stage 2: samples to pairs of boundary tiles and the transforms between them.

With `source: spatial_transformer` the stage first fits a localiser, which all shards then read, and keeps it beside the
pairs. `--fit --samples DIR --localiser DIR` makes the localiser alone, and `--localiser DIR` uses that one.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from components import stage
from components.pair_maker import PairMaker
from components.pair_params import SynthesizeParams
from components.progress import track
from components.stage import Extra, Input, Output, Report
from components.tiles import scene_pool
from inverseform import spatial_transformer
from inverseform.data import pair_store
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError
from inverseform.spatial_transformer import Localiser


def synthesize(params: SynthesizeParams, *, samples: Input, pairs: Output, localiser: Extra = None) -> Report:
    """Cut boundary tiles and warp them: what the inverse network learns from (sec. 3.4).

    Memory does not grow with the number of pairs: `workers` shards are in work, and each is written as it is made.
    """
    begun = time.monotonic()
    if localiser is not None and params.source == "random":
        raise InputError(
            f"--localiser {localiser}: synthesize.source is random, which reads none; leave it out, or set source to "
            f"spatial_transformer"
        )
    store = SampleStore.open(samples)
    pairs.mkdir(parents=True)
    if params.source == "spatial_transformer" and localiser is None:
        fit(params, samples=samples, localiser=(localiser := pairs / "localiser"))
    counts = params.counts
    jobs = [(split, n) for split, count in counts.items() for n in range(-(-count // params.shard_size(split)))]
    # One thread of torch's in each: with more they only wait for each other.
    with ThreadPoolExecutor(params.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        made = pool.map(lambda job: write_shard(params, store, pairs, *job, localiser=localiser), jobs)
        total = sum(track(made, description="shards of pairs", total=len(jobs)))
    pair_store.write_counts(pairs, counts)
    size = sum(path.stat().st_size for path in pairs.iterdir() if path.is_file())
    seconds = time.monotonic() - begun
    return {
        "pairs": total,
        "bytes_per_pair": size / total,
        "pairs_per_second": total / seconds,
        "seconds": seconds,
    }


def fit(params: SynthesizeParams, *, samples: Input, localiser: Output) -> Report:
    """Fit the localiser of the spatial transformer, which looks at the image (sec. 3.4), to tiles of train."""
    begun = time.monotonic()
    store, chosen = SampleStore.open(samples), params.spatial_transformer

    def fitted() -> tuple[Localiser, list[float]]:
        net = Localiser.fresh(params.ranges, params.degrees_of_freedom, seed=params.seed)
        steps = spatial_transformer.fit(net, scene_pool(params, store), chosen, seed=params.seed)
        return net, list(track(steps, description="localiser, step", total=chosen.steps))

    # In a thread with one thread of torch's, as the shards: the same bits on any number of cores.
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        net, objective = pool.submit(fitted).result()
    spatial_transformer.save(localiser, net, tile=params.tile)
    last = objective[-max(1, chosen.steps // 10) :]
    return {"objective": sum(last) / len(last), "seconds": time.monotonic() - begun}


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


if __name__ == "__main__":
    stage.main(synthesize, fit)

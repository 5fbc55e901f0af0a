"""Stage 2: samples to pairs of boundary tiles and the transforms between them."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from components import stage
from components.progress import track
from components.stage import Input, Output, Report
from inverseform.data import pair_store
from inverseform.data.pair_store import Origin, Pairs
from inverseform.data.sample_store import SampleStore
from inverseform.pairs import cut
from inverseform.settings import InputError, Settings
from inverseform.transform import DegreesOfFreedom, TransformRanges, draw, identity

log = logging.getLogger("inverseform")


class SynthesizeParams(Settings):
    """Samples to pairs of boundary tiles and the transforms between them."""

    source: Literal["random"]
    """Where transforms come from: drawn at random within `ranges`."""
    tile: int = Field(ge=4)
    """Side of a tile, in pixels of the boundary map."""
    degrees_of_freedom: DegreesOfFreedom
    """4: two shifts and two scales; 6: any affine map."""
    ranges: TransformRanges
    identity: float = Field(ge=0, le=1)
    """Share of pairs whose transform is the identity."""
    occupancy: float = Field(ge=0, le=1)
    """Share of boundary pixels that a tile must have to be used."""
    train_pairs: int = Field(ge=1)
    val_pairs: int = Field(ge=1)
    pairs_per_sample: int = Field(ge=1)
    """How many tiles are cut from a sample before the next one is taken."""
    shard_pairs: int = Field(ge=1)
    """Pairs in a shard, which depends on the seed and its number alone."""
    seed: int = Field(ge=0, lt=2**32)
    workers: int = Field(ge=1)
    """Shards made at the same time."""


def synthesize(params: SynthesizeParams, *, samples: Input, pairs: Output) -> Report:
    """Cut boundary tiles and warp them: what the inverse network learns from (sec. 3.4)."""
    begun = time.monotonic()
    store = SampleStore.open(samples)
    pairs.mkdir(parents=True)
    jobs = [
        (split, number)
        for split, count in (("train", params.train_pairs), ("val", params.val_pairs))
        for number in range(-(-count // params.shard_pairs))
    ]
    # One thread of torch's in each: with more they only wait for each other.
    with ThreadPoolExecutor(params.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        made = pool.map(lambda job: write_shard(params, store, pairs, *job), jobs)
        counts = list(track(made, description="shards of pairs", total=len(jobs)))
    pair_store.write_counts(pairs, {"train": params.train_pairs, "val": params.val_pairs})
    size = sum(path.stat().st_size for path in pairs.iterdir())
    seconds = time.monotonic() - begun
    return {
        "pairs": sum(counts),
        "bytes_per_pair": size / sum(counts),
        "pairs_per_second": sum(counts) / seconds,
        "seconds": seconds,
    }


def write_shard(params: SynthesizeParams, store: SampleStore, folder: Path, split: str, number: int) -> int:
    """Make one shard, which depends on the settings, the samples and its number alone; how many pairs it holds."""
    total = params.train_pairs if split == "train" else params.val_pairs
    count = min(params.shard_pairs, total - number * params.shard_pairs)
    # Even for train and odd for val: no two shards share a stream, and none depends on the number of workers.
    generator = torch.Generator().manual_seed(params.seed * 1_000_003 + 2 * number + (split == "val"))
    parts = list(_pairs(params, store, split, number, count, generator))
    pairs = Pairs(*(torch.cat(fields) for fields in zip(*(part for part, _ in parts), strict=True)))
    origin = Origin([n for _, o in parts for n in o.source], torch.cat([o.place for _, o in parts]))
    settings = params.model_dump(mode="json", include={"tile", "degrees_of_freedom", "occupancy", "ranges"})
    settings["boundary"] = store.info.boundary.model_dump(mode="json")
    pair_store.write(folder / split, number, pairs, origin, settings=settings)
    return count


def _pairs(
    params: SynthesizeParams, store: SampleStore, split: str, number: int, count: int, generator: torch.Generator
) -> Iterator[tuple[Pairs, Origin]]:
    """Pairs of one sample after another, `count` in all.

    Samples come in an order that shards share, each shard beginning where the one before it ends if every sample
    has tiles: what it depends on is its number, not how the others went.
    """
    if not store.info.counts.get(split):
        raise InputError(
            f"samples: there are no {split} samples from {store.info.source}; give the data set some and run "
            f"`dvc repro ingest`"
        )
    order = torch.randperm(store.size(split), generator=torch.Generator().manual_seed(params.seed)).tolist()
    turn = number * -(-params.shard_pairs // params.pairs_per_sample)
    empty = 0
    while count:
        sample = store.sample(split, order[turn % len(order)])
        turn += 1
        origins = occupied(sample.boundary, params.tile, params.occupancy)
        empty = 0 if len(origins) else empty + 1
        # A whole turn without a tile would go on for ever.
        if empty == len(order):
            raise InputError(
                f"synthesize.occupancy is {params.occupancy}: none of the {len(order)} {split} samples has a tile of "
                f"{params.tile} pixels with so much boundary; set a smaller occupancy or another tile"
            )
        if not len(origins):
            continue
        some = min(count, params.pairs_per_sample)
        chosen = origins[torch.randint(len(origins), (some,), generator=generator)]
        yield _cut_pairs(params, sample.boundary, chosen, generator), Origin([sample.name] * some, chosen)
        count -= some


def occupied(boundary: Float[Tensor, "1 height width"], tile: int, share: float) -> Int64[Tensor, "count 2"]:
    """Rows and columns of all tiles that lie in the map and have at least that share of boundary, and some."""
    height, width = boundary.shape[-2:]
    # A row and a column of zeros before the first make the sums below hold at the frame as well.
    room = F.pad(boundary[0], (1, max(0, tile - width), 1, max(0, tile - height)))
    # Sums over all tiles at once, by an integral image: exact, as the pixels are counted in whole numbers.
    total = room.to(torch.int32).cumsum(0).cumsum(1)
    pixels = total[tile:, tile:] - total[:-tile, tile:] - total[tile:, :-tile] + total[:-tile, :-tile]
    # At least one pixel even at occupancy 0: two empty tiles say nothing of their transform.
    return (pixels >= max(1, share * tile**2)).nonzero()


def _cut_pairs(
    params: SynthesizeParams,
    boundary: Float[Tensor, "1 height width"],
    origins: Int64[Tensor, "count 2"],
    generator: torch.Generator,
) -> Pairs:
    count = len(origins)
    theta = draw(count, params.ranges, degrees_of_freedom=params.degrees_of_freedom, generator=generator)
    still = torch.rand(count, generator=generator) < params.identity
    theta[still] = identity(1, like=theta)
    # The tile by the same sampling as its twin, so that an identity pair is equal to the last bit.
    tile = cut(boundary, origins, identity(count, like=theta), tile=params.tile)
    warped = cut(boundary, origins, theta, tile=params.tile)
    return Pairs(tile, warped, theta, torch.randint(2**40, (count,), generator=generator))


if __name__ == "__main__":
    stage.main(synthesize)

"""Which tiles of the samples are used: those with enough boundary, of one sample after another."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from components.pair_params import SynthesizeParams
from inverseform import spatial_transformer
from inverseform.data.sample_store import SampleStore
from inverseform.data.stored_sample import Maps
from inverseform.sample import Sample
from inverseform.settings import InputError

POOL = 2048
"""Tiles that the localiser is fitted to."""


def scene_pool(params: SynthesizeParams, store: SampleStore) -> UInt8[Tensor, "tiles 2 wide wide"]:
    """Scenes of train for the localiser to be fitted to: some tiles of every sample, or of as many as there is room."""
    # No shard comes so far in the numbers of its streams.
    generator = torch.Generator().manual_seed(2**60 + params.seed)
    each = -(-POOL // max(1, store.info.counts.get("train", 0)))
    found = tiles(params, store, "train", turn=0, count=POOL, each=each, generator=generator)
    return torch.cat([(scenes(params, sample, places) * 255).round().byte() for sample, places in found])


def scenes(
    params: SynthesizeParams, sample: Sample | Maps, places: Int64[Tensor, "count 2"]
) -> Float[Tensor, "count 2 wide wide"]:
    """Tiles of a sample with their surroundings, as the localiser reads them."""
    assert isinstance(sample, Sample)  # for the type checker: with this source `tiles` reads images
    return spatial_transformer.scenes(sample.image, sample.boundary, places, params.tile)


def tiles(
    params: SynthesizeParams,
    store: SampleStore,
    split: str,
    *,
    turn: int,
    count: int,
    each: int,
    generator: torch.Generator,
) -> Iterator[tuple[Sample | Maps, Int64[Tensor, "some 2"]]]:
    """Occupied tiles of one sample after another, `count` in all, `each` of a sample.

    Samples come in an order that shards share, each shard beginning (`turn`) where the one before it ends if every
    sample has tiles: what it depends on is its number, not how the others went.

    Raises:
        InputError: No sample of the split has such a tile.
    """
    if not store.info.counts.get(split):
        raise InputError(
            f"samples: there are no {split} samples from {store.info.source}; give the data set some and run "
            f"`dvc repro ingest`"
        )
    order = torch.randperm(store.size(split), generator=torch.Generator().manual_seed(params.seed)).tolist()
    # Decoding an image takes longer than cutting its tiles.
    read = store.maps if params.source == "random" else store.sample
    empty = 0
    while count:
        sample = read(split, order[turn % len(order)])
        turn += 1
        places = occupied(sample.boundary, params.tile, params.occupancy)
        empty = 0 if len(places) else empty + 1
        # A whole turn without a tile would go on for ever.
        if empty == len(order):
            raise InputError(
                f"synthesize.occupancy is {params.occupancy}: none of the {len(order)} {split} samples has a tile of "
                f"{params.tile} pixels with so much boundary; set a smaller occupancy or another tile"
            )
        if len(places):
            some = min(count, each)
            yield sample, places[torch.randint(len(places), (some,), generator=generator)]
            count -= some


def occupied(boundary: Float[Tensor, "1 height width"], tile: int, share: float) -> Int64[Tensor, "count 2"]:
    """Rows and columns of all tiles that lie in the map and have at least that share of boundary, and some."""
    height, width = boundary.shape[-2:]
    # A row and a column of zeros before the first make the sums below hold at the frame as well.
    room = F.pad(boundary[0], (1, max(0, tile - width), 1, max(0, tile - height)))
    # Sums over all tiles at once, along the rows and then along the columns. They are whole numbers, far below the
    # 2**24 up to which floats count exactly.
    rows = room.cumsum(1)
    both = (rows[:, tile:] - rows[:, :-tile]).cumsum(0)
    pixels = both[tile:] - both[:-tile]
    # At least one pixel even at occupancy 0: two empty tiles say nothing of their transform.
    return (pixels >= max(1, share * tile**2)).nonzero()

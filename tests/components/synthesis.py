"""What the tests of synthesize and of its rooms share: small settings, and a look at maps moved as a whole."""

import torch

from components.pair_maker import PairMaker
from components.pair_params import SynthesizeParams
from inverseform.data.pair_store import join
from inverseform.data.sample_store import SampleStore
from inverseform.probes import probes
from inverseform.spatial_transformer import SpatialTransformerParams
from inverseform.transform import TransformRanges, grid

TILE = 24
SETTINGS = {
    "source": "random", "tile": TILE, "degrees_of_freedom": 6, "identity": 0.2, "predicted": 0.0, "occupancy": 0.03,
    "spatial_transformer": {"temperature": 0.02, "steps": 3, "batch": 4, "learning_rate": 0.01}, "probe_tiles": 5,
    "train_pairs": 130, "val_pairs": 40, "pairs_per_sample": 8, "shard_pairs": 50, "seed": 1, "workers": 2,
}  # fmt: skip
MOVES = probes(TILE)
RANGES = {"translation": 0.2, "scale": [0.85, 1.18], "rotation": 12.0, "shear": 8.0, "perspective": 0.0}


def params(**changes):
    ranges = TransformRanges(**{**RANGES, "scale": (0.85, 1.18)})
    localiser = SpatialTransformerParams(**SETTINGS["spatial_transformer"])
    return SynthesizeParams(**{**SETTINGS, "ranges": ranges, "spatial_transformer": localiser, **changes})


def made(settings, store, split, *, localiser=None):
    """The pairs of all shards of a split, and for each where it was cut."""
    shards = range(-(-settings.counts[split] // settings.shard_size(split)))
    parts = [part for number in shards for part in PairMaker(settings, store, split, number, localiser)]
    origins = [
        (name, *place) for _, origin in parts for name, place in zip(origin.source, origin.place.tolist(), strict=True)
    ]
    return join([pairs for pairs, _ in parts]), origins


def boundaries_of(samples, split):
    """The boundary maps of a split by the names of their samples."""
    store = SampleStore.open(samples)
    return {name: store.maps(split, index).boundary for index, name in enumerate(store.names(split))}


def for_the_whole_map(theta, row, column, height, width):
    """A tile's transform as one of the map: its own coordinates to the tile's, theta, and back again."""
    tile_of_map = torch.tensor([
        [width / TILE, 0, (width - 2 * column) / TILE - 1],
        [0, height / TILE, (height - 2 * row) / TILE - 1],
        [0, 0, 1],
    ], dtype=torch.float64)  # fmt: skip
    return torch.linalg.inv(tile_of_map) @ theta.double() @ tile_of_map


def moved(boundary, theta, row, column):
    """A tile of the map transformed as a whole, each pixel that of the place it comes from; where that is certain."""
    height, width = boundary.shape[-2:]
    points = grid(for_the_whole_map(theta, row, column, height, width)[None], height, width)[0]
    place = ((points + 1) * torch.tensor([width, height]) / 2)[row : row + TILE, column : column + TILE]
    x, y = place.floor().long().unbind(-1)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    value = boundary[0][y.clamp(0, height - 1), x.clamp(0, width - 1)].bool() & inside
    return value, ((place - place.round()).abs() > 1e-3).all(-1)

"""Settings of synthesize."""

from typing import Literal

from pydantic import Field

from inverseform.probes import probes
from inverseform.settings import Settings
from inverseform.spatial_transformer import SpatialTransformerParams
from inverseform.transform import DegreesOfFreedom, TransformRanges


class SynthesizeParams(Settings):
    """Samples to pairs of boundary tiles and the transforms between them."""

    source: Literal["random", "spatial_transformer"]
    """Where transforms come from: drawn at random within `ranges`, or by a network that looks at the image."""
    spatial_transformer: SpatialTransformerParams
    tile: int = Field(ge=4)
    """Side of a tile, in pixels of the boundary map."""
    degrees_of_freedom: DegreesOfFreedom
    """4: two shifts and two scales; 6: any affine map; 8: any homography."""
    ranges: TransformRanges
    identity: float = Field(ge=0, le=1)
    """Share of pairs whose transform is the identity."""
    predicted: float = Field(ge=0, le=1)
    """Share of pairs that hold a real prediction for the sample; above 0, all samples of train and val need one."""
    occupancy: float = Field(ge=0, le=1)
    """Share of boundary pixels that a tile must have to be used."""
    train_pairs: int = Field(ge=1)
    val_pairs: int = Field(ge=1)
    probe_tiles: int = Field(ge=1)
    """Tiles of val samples that go through every move of `probes`: the split that the gate of train_inverse reads."""
    pairs_per_sample: int = Field(ge=1)
    """How many tiles are cut from a sample before the next one is taken."""
    shard_pairs: int = Field(ge=1)
    """Pairs in a shard, which depends on the seed and its number alone."""
    seed: int = Field(ge=0, lt=2**32)
    workers: int = Field(ge=1)
    """Shards made at the same time."""

    @property
    def counts(self) -> dict[str, int]:
        """Pairs in each split."""
        return {"train": self.train_pairs, "val": self.val_pairs, "probe": self.probe_tiles * self.moves("probe")}

    def moves(self, split: str) -> int:
        """How many pairs are made of one tile: those of `probe` never part."""
        return len(probes(self.tile)) if split == "probe" else 1

    def shard_size(self, split: str) -> int:
        """Pairs in a whole shard."""
        return max(1, self.shard_pairs // self.moves(split)) * self.moves(split)

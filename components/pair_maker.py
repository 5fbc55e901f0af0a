"""The pairs of a shard: tiles of samples under transforms. What synthesize writes."""

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from components.pair_params import SynthesizeParams
from components.tiles import scenes, tiles
from inverseform import spatial_transformer
from inverseform.data.pair_store import Origin, Pairs
from inverseform.data.sample_store import SampleStore
from inverseform.data.stored_sample import Maps
from inverseform.noise import uniform
from inverseform.pairs import crop, cut
from inverseform.probes import probes
from inverseform.sample import Sample
from inverseform.settings import InputError
from inverseform.transform import draw, identity, inverse


class PairMaker:
    """Makes the pairs of one shard, a sample at a time; they depend on the settings, the samples and its number alone.

    Pair i of the split `probe` is tile i // K under the i % K-th of the K `probes`.

    Args:
        params: Settings.
        store: The samples.
        split: train, val, or probe, whose tiles are those of val samples, one of each in turn.
        number: Of the shard, from 0.
        localiser: The folder that transforms are drawn from; None draws them within the ranges at random.
    """

    def __init__(
        self, params: SynthesizeParams, store: SampleStore, split: str, number: int, localiser: Path | None = None
    ) -> None:
        self.params, self.split = params, split
        self._store, self._number = store, number
        self._localiser = None
        if localiser is not None:
            self._localiser = spatial_transformer.load(
                localiser, ranges=params.ranges, degrees_of_freedom=params.degrees_of_freedom, tile=params.tile
            )
        # Even for train, odd for val, negative for probe: no two shards share a stream, whatever makes them.
        stream = params.seed * 1_000_003 + 2 * number + (split == "val")
        self._generator = torch.Generator().manual_seed(-stream - 1 if split == "probe" else stream)

    def __len__(self) -> int:
        size = self.params.shard_size(self.split)
        return min(size, self.params.counts[self.split] - self._number * size)

    def __iter__(self) -> Iterator[tuple[Pairs, Origin]]:
        params, probed = self.params, self.split == "probe"
        moves = torch.stack([probe.theta for probe in probes(params.tile)])
        each, of_tile = (1, len(moves)) if probed else (params.pairs_per_sample, 1)
        turn = self._number * -(-params.shard_size(self.split) // of_tile // each)
        split, count = "val" if probed else self.split, len(self) // of_tile
        found = tiles(params, self._store, split, turn=turn, count=count, each=each, generator=self._generator)
        for sample, places in found:
            if probed:
                places = places.repeat_interleave(of_tile, dim=0)
                theta = moves.repeat(len(places) // of_tile, 1, 1)
            else:
                theta = self._draw(sample, places)
            seed = torch.randint(2**40, (len(places),), generator=self._generator)
            yield self._pairs(sample, places, theta, seed), Origin([sample.name] * len(places), places)

    def _draw(self, sample: Sample | Maps, places: Int64[Tensor, "count 2"]) -> Float[Tensor, "count 3 3"]:
        params, generator = self.params, self._generator
        if self._localiser is None:
            numbers = params.degrees_of_freedom
            theta = draw(len(places), params.ranges, degrees_of_freedom=numbers, generator=generator)
        else:
            theta = self._localiser.draw(scenes(params, sample, places), generator)
        still = torch.rand(len(places), generator=generator) < params.identity
        theta[still] = identity(1, like=theta)
        return theta

    def _pairs(
        self, sample: Sample | Maps, places: Int64[Tensor, "count 2"], theta: Float[Tensor, "count 3 3"],
        seed: Int64[Tensor, " count"],
    ) -> Pairs:  # fmt: skip
        tile = self.params.tile
        still = crop(sample.boundary > 0, places, tile)
        pairs = Pairs(still, cut(sample.boundary, places, theta, tile=tile), theta, seed)
        if not self.params.predicted or self.split == "probe":
            return pairs
        if sample.prediction is None:
            raise InputError(
                f"synthesize.predicted is {self.params.predicted}: {self.split} sample {sample.name} came without a "
                f"prediction; give the data set one for each image and run `dvc repro ingest`, or set predicted to 0"
            )
        # A stream of the pair's own seed decides, so that the transforms are the same for any share.
        soft = uniform(seed, 0, 1)[:, 0] < self.params.predicted
        # The prediction stays as the network gave it, and the truth moves: tile(theta u) = truth(u), the other way.
        if len(some := soft.nonzero()[:, 0]):
            back = inverse(theta[some].double()).float()
            pairs.tile[some] = cut(sample.boundary, places[some], back, tile=tile)
            pairs.warped[some] = crop(sample.boundary > 0, places[some], tile)
        prediction = crop((sample.prediction * 255).round().to(torch.uint8), places, tile)
        return pairs._replace(prediction=prediction * soft[:, None, None], soft=soft)

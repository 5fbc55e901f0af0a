"""The images and labels of a split in memory, decoded once, and the batches that are drawn from them."""

from functools import lru_cache

import torch
from jaxtyping import UInt8
from torch import Tensor

from inverseform.data.augment import AugmentParams, augment
from inverseform.data.sample_store import SampleStore
from inverseform.sample import Sample


class Pictures:
    """A split of a store; CamVid's 701 images of 480x360 are 0.5 GB."""

    def __init__(self, store: SampleStore, split: str) -> None:
        self.samples = [_light(store.sample(split, index)) for index in range(store.size(split))]

    def batch(
        self, step: int, size: int, params: AugmentParams, *, seed: int
    ) -> tuple[UInt8[Tensor, "batch 3 height width"], UInt8[Tensor, "batch height width"]]:
        """The batch of a step: every sample once an epoch, in an order and an augmentation of seed and step alone."""
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        parts = []
        for position in range(step * size, (step + 1) * size):
            epoch, place = divmod(position, len(self.samples))
            sample = self.samples[_order(seed, epoch, len(self.samples))[place]]
            parts.append(augment(sample, params, generator=generator))
        images, labels = zip(*parts, strict=True)
        return torch.stack(images), torch.stack(labels)


def _light(sample: Sample) -> Sample:
    """A sample whose boundary maps take no room: they are made anew from the labels of a crop."""
    none = torch.zeros(()).expand_as(sample.boundary)
    return sample._replace(boundary=none, valid=none, prediction=None)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of an epoch; two are kept, as a batch may lie in both."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()

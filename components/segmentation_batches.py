"""What a segmentation network is trained on: batches of augmented samples, and what is known of all of them."""

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from inverseform.data.augment import AugmentParams, augment
from inverseform.data.sample_store import SampleStore
from inverseform.networks import Channels
from inverseform.settings import InputError
from inverseform.training.batches import Part

SPLIT = "train"


class Batch(NamedTuple):
    """What a step of training sees."""

    step: int
    images: UInt8[Tensor, "batch 3 height width"]
    labels: UInt8[Tensor, "batch height width"]


class Statistics(NamedTuple):
    """What is known of the training samples."""

    mean: Channels
    """Of the images, per channel, in [0, 1]."""
    std: Channels
    """Their standard deviation."""
    counts: list[int]
    """Pixels of each class, of all samples."""


class Batches:
    """The batches of a training: every sample once an epoch, in an order and an augmentation drawn from seed and step.

    Args:
        store: Where samples are read from.
        params: What they go through.
        seed: Of the order and the augmentation.
    """

    def __init__(self, store: SampleStore, params: AugmentParams, *, seed: int) -> None:
        self.store, self.params, self.seed = store, params, seed

    def __call__(self, part: Part) -> Batch:
        """The samples of a part."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + part.step)
        # One generator serves the whole batch, and each sample draws six numbers of it: those of the samples before.
        torch.rand(6 * part.first, generator=generator)
        parts = [
            augment(self.store.sample(SPLIT, index), self.params, generator=generator) for index in self.indices(part)
        ]
        images, labels = (torch.stack(tensors) for tensors in zip(*parts, strict=True))
        return Batch(part.step, images, labels)

    def indices(self, part: Part) -> list[int]:
        """Which training samples a part holds."""
        places = (divmod(place, self.store.size(SPLIT)) for place in range(part.start, part.start + part.size))
        return [_order(self.seed, epoch, self.store.size(SPLIT))[place] for epoch, place in places]

    def describe(self, part: Part) -> str:
        """The samples of a part by their names."""
        names = self.store.names(SPLIT)
        told = ", ".join(f"{index} ({names[index]})" for index in self.indices(part))
        return f"the {SPLIT} samples {told}"


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of an epoch; two are kept, as a batch may lie in both."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()


def statistics(store: SampleStore, most: int = 256) -> Statistics:
    """What is known of the training samples; of their images, from at most so many of them, evenly spread.

    Raises:
        InputError: There are none.
    """
    count = store.size(SPLIT)
    check_split(store)
    total, square, pixels = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 0
    for index in range(0, count, max(1, -(-count // most))):
        # In double precision, as the variance below is the difference of two large sums.
        image = store.sample(SPLIT, index).image.double() / 255
        total += image.sum(dim=(1, 2))
        square += image.square().sum(dim=(1, 2))
        pixels += image[0].numel()
    mean = total / pixels
    # The floor, a deviation of 1e-3, keeps a channel of one value from being divided by 0.
    std = (square / pixels - mean.square()).clamp(min=1e-6).sqrt()
    red, green, blue = zip(mean.tolist(), std.tolist(), strict=True)
    middle, spread = (red[0], green[0], blue[0]), (red[1], green[1], blue[1])
    return Statistics(middle, spread, [sum(counts) for counts in zip(*store.class_pixels(SPLIT), strict=True)])


def check_split(store: SampleStore) -> None:
    """Refuse a training without samples.

    Raises:
        InputError: There are none.
    """
    if not store.size(SPLIT):
        raise InputError(
            f"samples: there are no {SPLIT} samples from {store.info.source}; give the data set some and run "
            f"`dvc repro ingest`"
        )

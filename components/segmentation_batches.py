"""What a segmentation network is trained on: batches of augmented samples, and what is known of all of them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from pydantic import Field
from torch import Tensor

from inverseform.data.augment import AugmentParams, Focus, augment
from inverseform.data.sample_store import SampleStore
from inverseform.networks import Channels
from inverseform.settings import InputError, Settings
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


class SamplingParams(Settings):
    """Which training samples are seen how often."""

    class_uniform: float = Field(ge=0, le=1)
    """Share of the samples that are chosen for a class, each class as often as any other: an image in which it occurs,
    cut out so that it shows a pixel of it. 0.5 is that of HMS (Tao et al. 2020), 0 sees every image once an epoch."""


EVERY_IMAGE = SamplingParams(class_uniform=0.0)
"""Every image once an epoch."""


class Choice(NamedTuple):
    """A training sample, and what it was chosen for."""

    sample: int
    focus: Focus | None


class Batches:
    """The batches of a training: every sample once an epoch, in an order and an augmentation drawn from seed and step.

    With `class_uniform` some places of that order are given to samples that are chosen for a class, place by place, so
    that whoever loads a place chooses the same.

    Args:
        store: Where samples are read from.
        params: What they go through.
        seed: Of the order and the augmentation.
        sampling: Which are seen how often.

    Raises:
        InputError: Samples are to be chosen for their classes, and no pixel has one.
    """

    def __init__(
        self, store: SampleStore, params: AugmentParams, *, seed: int, sampling: SamplingParams = EVERY_IMAGE
    ) -> None:
        self.store, self.params, self.seed, self.sampling = store, params, seed, sampling
        # Once, and sent along to the processes that load: a small number for each image and class.
        self._images = _images_by_class(store) if sampling.class_uniform else {}

    def __call__(self, part: Part) -> Batch:
        """The samples of a part."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + part.step)
        # One generator serves the whole batch, and each sample draws six numbers of it: those of the samples before.
        torch.rand(6 * part.first, generator=generator)
        parts = [
            augment(self.store.sample(SPLIT, index), self.params, generator=generator, focus=focus)
            for index, focus in self.choices(part)
        ]
        images, labels = (torch.stack(tensors) for tensors in zip(*parts, strict=True))
        return Batch(part.step, images, labels)

    def choices(self, part: Part) -> list[Choice]:
        """Which training samples a part holds, and which class each was chosen for, if for one."""
        return [self._choice(place) for place in range(part.start, part.start + part.size)]

    def indices(self, part: Part) -> list[int]:
        """Which training samples a part holds."""
        return [choice.sample for choice in self.choices(part)]

    def describe(self, part: Part) -> str:
        """The samples of a part by their names."""
        names = self.store.names(SPLIT)
        told = ", ".join(f"{index} ({names[index]})" for index in self.indices(part))
        return f"the {SPLIT} samples {told}"

    def _choice(self, place: int) -> Choice:
        """The sample at a place of the stream of all steps."""
        if self.sampling.class_uniform:
            # A generator for each place: no choice hangs on how many there were before, by whomever they were made.
            # numpy's, which mixes both numbers into its state: torch's would repeat what it draws for a step.
            chosen, which, image, pixel = np.random.default_rng([self.seed, place]).random(4).tolist()
            if chosen < self.sampling.class_uniform:
                klass = list(self._images)[int(which * len(self._images))]
                images = self._images[klass]
                return Choice(images[int(image * len(images))], Focus(klass, pixel))
        epoch, number = divmod(place, self.store.size(SPLIT))
        return Choice(_order(self.seed, epoch, self.store.size(SPLIT))[number], None)


def _images_by_class(store: SampleStore) -> dict[int, list[int]]:
    """The training samples in which each class occurs, of the classes that do.

    Raises:
        InputError: None does.
    """
    images: dict[int, list[int]] = {}
    for index, pixels in enumerate(store.class_pixels(SPLIT)):
        for klass, count in enumerate(pixels):
            if count:
                images.setdefault(klass, []).append(index)
    if not images:
        raise InputError(
            f"train_segmentation.sampling.class_uniform: no {SPLIT} sample from {store.info.source} has a pixel of a "
            f"known class; set it to 0.0, or give the data set labels and run `dvc repro ingest`"
        )
    return dict(sorted(images.items()))


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

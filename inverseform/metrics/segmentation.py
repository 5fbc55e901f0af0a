"""Scores over all pixels of a set, from one table of counts: mean intersection over union and pixel accuracy.

The counts are pooled over the set before anything is divided, as Cityscapes and PASCAL VOC do; a mean of the scores
of single images is another number. What has no value (a class that occurs neither in the labels nor in the
predictions, anything of an empty set) is None: never NaN, and never a 0 that would pull a mean down.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from inverseform.sample import IGNORE_INDEX


class Scores(NamedTuple):
    """What a table of counts says."""

    miou: float | None
    """Mean of the defined entries of `iou`."""
    pixel_accuracy: float | None
    """Share of the known pixels whose class was found."""
    iou: tuple[float | None, ...]
    """Intersection over union of each class: true pixels found, of all that are true or predicted."""


def update(
    counts: Int64[Tensor, "classes classes"], predicted: UInt8[Tensor, "*shape"], labels: UInt8[Tensor, "*shape"]
) -> Int64[Tensor, "classes classes"]:
    """Add pixels to a table whose rows are the actual classes and whose columns are the predicted ones.

    >>> update(torch.zeros(2, 2, dtype=torch.int64), torch.tensor([0, 1, 1]).byte(), torch.tensor([0, 0, 255]).byte())
    tensor([[1, 1],
            [0, 0]])

    Raises:
        ValueError: A class id is not one of the table's.
    """
    classes = len(counts)
    check_ids(predicted, labels, classes)
    # The two ids make one index, label * classes + predicted. That of an ignored pixel lies past those of the known
    # ones, and so it needs no mask: in uint8 it wraps around to 256 - classes + predicted, which is past them as
    # long as there are at most 15 classes.
    dtype = torch.uint8 if classes <= 15 else torch.int16 if classes <= 128 else torch.int32
    index = labels.to(dtype, copy=True).mul_(classes).add_(predicted)
    found = torch.bincount(index.flatten(), minlength=classes**2)
    return counts + found[: classes**2].view(classes, classes)


def scores(counts: Int64[Tensor, "classes classes"]) -> Scores:
    """Scores of a table of counts."""
    hits, actual, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    union = (actual + predicted - hits).tolist()
    iou = tuple(hit / whole if whole else None for hit, whole in zip(hits.tolist(), union, strict=True))
    defined = [value for value in iou if value is not None]
    known = int(counts.sum())
    return Scores(
        miou=sum(defined) / len(defined) if defined else None,
        pixel_accuracy=int(hits.sum()) / known if known else None,
        iou=iou,
    )


def examples(counts: Int64[Tensor, "classes classes"], *, most: int) -> list[tuple[int, int]]:
    """Pairs of an actual and a predicted class as often as they are counted, or fewer in proportion."""
    total = int(counts.sum())
    share = min(1.0, most / total) if total else 0.0
    return [
        (actual, predicted)
        for actual, row in enumerate(counts.tolist())
        for predicted, pixels in enumerate(row)
        for _ in range(int(pixels * share))
    ]


class Confusion:
    """The table of a whole set, image by image."""

    def __init__(self, num_classes: int, *, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, predicted: UInt8[Tensor, "*shape"], labels: UInt8[Tensor, "*shape"]) -> None:
        """Add the pixels of an image or a batch."""
        self.counts = update(self.counts, predicted, labels)

    def scores(self) -> Scores:
        """Scores of all that was added."""
        return scores(self.counts)


def check_ids(predicted: UInt8[Tensor, "*shape"], labels: UInt8[Tensor, "*shape"], classes: int) -> None:
    """Refuse ids that would be counted in the wrong place."""
    for name, ids in (("predicted", predicted), ("labels", labels)):
        if ids.dtype != torch.uint8:
            raise ValueError(
                f"{name} are of {ids.dtype} and ids are of torch.uint8: {name}.byte(), -1 or -100 made 255 before"
            )
    if predicted.shape != labels.shape:
        raise ValueError(
            f"predicted are {tuple(predicted.shape)} and labels {tuple(labels.shape)}: give both one shape"
        )
    if predicted.numel() == 0:
        return
    # Adding one takes the ignored 255 to 0, out of the way of the largest known id.
    largest = {"predicted": int(predicted.amax()), "labels": int((labels + 1).amax()) - 1}
    for name, value in largest.items():
        if value >= classes:
            raise ValueError(f"{name} hold class {value} and the counts are of {classes}: use 0 to {classes - 1}"
                             f", or {IGNORE_INDEX} in labels for an unknown class")  # fmt: skip

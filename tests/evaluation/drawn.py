"""Tables of images whose predictions are wrong here and there."""

import torch

from inverseform.evaluation.images import Images, hashed
from inverseform.evaluation.measures import Columns, measure

CLASSES = ("road", "tree, large", "absent")


def scene(seed, *, wrong=0.1, ignored=False):
    """Prediction, probabilities and labels of two halves, one of whose sides is at another place each time."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(30, 40, dtype=torch.uint8)
    labels[:, 12 + seed % 9 :] = 1
    if ignored:
        labels[:4] = 255
    predicted = labels.where(labels != 255, 0).roll(1, dims=1)
    flipped = torch.rand(30, 40, generator=generator) < wrong
    predicted = torch.where(flipped, 1 - predicted, predicted)
    probabilities = torch.rand(3, 30, 40, generator=generator).scatter_(0, predicted.long()[None], 1.5)
    return predicted, probabilities / probabilities.sum(0), labels


def table(scenes, *, split="val", names=None):
    """The table of scenes."""
    columns = Columns(CLASSES)
    rows = torch.stack([measure(*scene, columns).row for scene in scenes])
    names = names or tuple(f"image {number}" for number in range(len(scenes)))
    return Images(split, columns, names, tuple(hashed(labels) for _, _, labels in scenes), rows)

"""Small label maps in which what is rare is frequent: one pixel, one class, nothing known, no boundary, ties."""

import numpy as np
import torch
from hypothesis import strategies as st

from inverseform.sample import IGNORE_INDEX


@st.composite
def pairs(draw, *, classes=4, most=9):
    """A prediction and labels of the same size; the labels are a patchwork, some of it not known."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return drawn(random, (draw(st.integers(1, most)), draw(st.integers(1, most))), classes=classes)


def drawn(random, shape, *, classes=4):
    """The pair of a generator of random numbers."""
    labels = patchwork(random, shape, classes)
    predicted = labels.copy() if random.random() < 0.5 else patchwork(random, shape, classes)
    wrong = random.random(shape) < random.choice([0.0, 0.1])
    predicted[wrong] = random.integers(0, classes, wrong.sum())
    labels[random.random(shape) < random.choice([0.0, 0.0, 0.1, 0.5, 1.0])] = IGNORE_INDEX
    return torch.from_numpy(predicted), torch.from_numpy(labels)


def patchwork(random, shape, classes):
    """Rectangles of random classes, or one class alone."""
    labels = np.full(shape, random.integers(0, classes), dtype=np.uint8)
    for _ in range(random.integers(0, 5)):
        top, left = (random.integers(0, side) for side in shape)
        height, width = random.integers(1, 7, 2)
        labels[top : top + height, left : left + width] = random.integers(0, classes)
    return labels

import numpy as np
import pytest
import torch

from benchmarks.losses.boundary_f import TOLERANCES, BoundaryF
from inverseform.settings import InputError
from tests.drawn import scene

IGNORED = 255


def contour(labels, klass):
    """Pixels of a class with another known class among their eight neighbours, one by one."""
    found = []
    for y, x in np.argwhere(labels == klass):
        around = labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        if ((around != klass) & (around != IGNORED)).any():
            found.append((y, x))
    return np.array(found, dtype=float).reshape(-1, 2)


def met(one, other, tolerance):
    return sum(bool(len(other)) and ((other - place) ** 2).sum(axis=1).min() <= tolerance**2 for place in one)


def twin(pairs, classes, tolerance):
    scores = []
    for klass in range(classes):
        counts = np.zeros(4)
        for predicted, labels in pairs:
            predicted = np.where(labels == IGNORED, IGNORED, predicted)
            hidden = np.argwhere(labels == IGNORED).astype(float)
            lines = [contour(each, klass) for each in (predicted, labels)]
            sure = [np.array([p for p in line if not met([p], hidden, tolerance)]).reshape(-1, 2) for line in lines]
            counts += (met(sure[0], lines[1], tolerance), len(sure[0]), met(sure[1], lines[0], tolerance), len(sure[1]))
        if counts[1] or counts[3]:
            precision, recall = counts[0] / max(1, counts[1]), counts[2] / max(1, counts[3])
            scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return np.mean(scores)


@pytest.mark.parametrize("ignored", [0.0, 0.01])
def test_it_is_what_looking_at_every_pixel_gives(ignored):
    pairs, score = [], BoundaryF(5)
    for seed in (1, 2):
        labels = scene(30, 40, batch=1, ignored=ignored, seed=seed)[0].byte()
        predicted = scene(30, 40, batch=1, seed=seed)[0].byte().roll((1, 2), dims=(0, 1))
        # A class that is predicted and never true, and one that is neither.
        predicted[:4, :4] = 3
        labels[labels == 3] = 1
        pairs.append((predicted.numpy(), labels.numpy()))
        score.update(predicted, labels)
    found = score.scores()
    for value, tolerance in zip(found, TOLERANCES, strict=True):
        assert value == pytest.approx(twin(pairs, 5, tolerance))
    assert 0 < found[0] < found[1] < found[2] < 1


def test_it_is_1_where_all_is_right_and_undefined_where_there_is_no_contour():
    labels = scene(30, 40, batch=1, ignored=0.02)[0].byte()
    score = BoundaryF(4)
    score.update(labels.where(labels != IGNORED, 0), labels)
    assert score.scores() == (1.0, 1.0, 1.0)
    empty = BoundaryF(4)
    empty.update(torch.zeros(9, 9).byte(), torch.zeros(9, 9).byte())
    assert empty.scores() == (None, None, None)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_contour_is_met_up_to_its_distance_and_no_further(shift):
    labels, predicted = torch.zeros(2, 20, 40, dtype=torch.uint8)
    labels[:, 20:], predicted[:, 20 + shift :] = 1, 1
    score = BoundaryF(2)
    score.update(predicted, labels)
    # A shift of n takes both columns of the border n pixels on, each beside the other class's.
    assert score.scores() == tuple(float(shift <= tolerance) for tolerance in TOLERANCES)


def test_the_largest_class_has_its_bit_and_one_more_is_refused():
    labels = torch.zeros(9, 9, dtype=torch.uint8)
    labels[:, 5:] = 62
    score = BoundaryF(63)
    score.update(labels, labels)
    assert score.scores() == (1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="there are 64 classes: at most 63; leave the F score out"):
        BoundaryF(64)

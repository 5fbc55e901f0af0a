import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inverseform.metrics.boundary_f import FRACTIONS, PIXELS, BoundaryF, count, pixels
from inverseform.settings import InputError
from tests.drawn import scene
from tests.metrics.maps import drawn, pairs

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


def slow_counts(predicted, labels, klass, tolerance):
    """The four counts of a class, contour pixel by contour pixel."""
    predicted = np.where(labels == IGNORED, IGNORED, predicted)
    hidden = np.argwhere(labels == IGNORED).astype(float)
    lines = [contour(each, klass) for each in (predicted, labels)]
    sure = [np.array([p for p in line if not met([p], hidden, tolerance)]).reshape(-1, 2) for line in lines]
    return met(sure[0], lines[1], tolerance), len(sure[0]), met(sure[1], lines[0], tolerance), len(sure[1])


def slow_f(counts):
    if not (counts[1] or counts[3]):
        return None
    precision, recall = counts[0] / max(1, counts[1]), counts[2] / max(1, counts[3])
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def mean(values):
    defined = [value for value in values if value is not None]
    return np.mean(defined) if defined else None


def gscnn_contour(mask):
    """One pixel wide: where membership differs from that of the lower, right or lower right neighbour."""
    height, width = mask.shape
    found = np.zeros(mask.shape, dtype=bool)
    for row, column in np.ndindex(mask.shape):
        around = [(row, column + 1), (row + 1, column), (row + 1, column + 1)]
        found[row, column] = any(mask[row, column] != mask[y, x] for y, x in around if y < height and x < width)
    return found


def gscnn_f(predicted, labels, klass, distance):
    """F of one class of one image by distance transforms; 1 where neither map has a contour of it."""
    known = labels != IGNORED
    one, other = (gscnn_contour((each == klass) & known) for each in (predicted, labels))
    if not one.any() and not other.any():
        return 1.0
    if not one.any() or not other.any():
        return 0.0
    precision = (ndimage.distance_transform_edt(~other)[one] <= distance).mean()
    recall = (ndimage.distance_transform_edt(~one)[other] <= distance).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("ignored", [0.0, 0.01])
def test_it_is_what_looking_at_every_pixel_gives(ignored):
    images, score = [], BoundaryF(5, tolerances=PIXELS)
    for seed in (1, 2):
        labels = scene(30, 40, batch=1, ignored=ignored, seed=seed)[0].byte()
        predicted = scene(30, 40, batch=1, seed=seed)[0].byte().roll((1, 2), dims=(0, 1))
        # A class that is predicted and never true, and one that is neither.
        predicted[:4, :4] = 3
        labels[labels == 3] = 1
        images.append((predicted.numpy(), labels.numpy()))
        score.update(predicted, labels)
    found = score.scores()
    for index, tolerance in enumerate(PIXELS):
        counts = np.array([[slow_counts(*image, klass, tolerance) for klass in range(5)] for image in images])
        assert found.pooled[index].value == pytest.approx(mean(map(slow_f, counts.sum(axis=0))), abs=1e-12)
        by_class = [mean(map(slow_f, counts[:, klass])) for klass in range(5)]
        assert found.per_image[index].value == pytest.approx(mean(by_class), abs=1e-12)
    assert 0 < found.pooled[0].value < found.pooled[1].value < found.pooled[2].value < 1


@settings(deadline=None, max_examples=250)
@given(pairs(), st.lists(st.sampled_from([0.02, 0.2, 1, 2, 4]), min_size=1, max_size=3))
def test_counts_are_those_of_looking_at_every_pixel(pair, tolerances):
    found = count(*pair, num_classes=4, tolerances=tolerances)
    for row, tolerance in zip(found, tolerances, strict=True):
        distance = pixels(tolerance, *pair[0].shape)
        for klass in range(4):
            wanted = slow_counts(*(each.numpy() for each in pair), klass, distance)
            assert row[:, klass].tolist() == list(wanted)


@settings(deadline=None, max_examples=250)
@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.2, 1, 3]))
def test_read_like_gscnn_it_is_the_mean_over_classes_and_images_of_its_f(seed, tolerance):
    random = np.random.default_rng(seed)
    score, by_image = BoundaryF(4, tolerances=[tolerance], like_gscnn=True), []
    for _ in range(2):
        image = drawn(random, tuple(random.integers(1, 10, 2).tolist()))
        score.update(*image)
        distance = tolerance if tolerance >= 1 else math.ceil(tolerance * np.linalg.norm(image[0].shape))
        by_image.append([gscnn_f(*(each.numpy() for each in image), klass, distance) for klass in range(4)])
    assert score.scores().per_image[0].value == pytest.approx(np.mean(by_image), abs=1e-12)


def test_tolerances_are_those_of_gscnn_and_rounded_up():
    assert [pixels(each, 1024, 2048) for each in FRACTIONS] == [2, 5, 9, 12]
    assert [pixels(each, 480, 640) for each in FRACTIONS] == [1, 2, 3, 4]
    assert pixels(3, 1024, 2048) == 3


def test_it_is_1_where_all_is_right_and_undefined_where_there_is_no_contour():
    labels = scene(30, 40, batch=1, ignored=0.02)[0].byte()
    score = BoundaryF(4, tolerances=PIXELS)
    score.update(labels.where(labels != IGNORED, 0), labels)
    assert score.scores().pooled == ((1.0, None),) * 3
    empty = BoundaryF(4, tolerances=PIXELS)
    empty.update(torch.zeros(9, 9).byte(), torch.zeros(9, 9).byte())
    nothing = ((None, "no class has a contour, true or predicted"),) * 3
    assert empty.scores() == (nothing, nothing)


def test_an_image_without_a_class_has_a_1_for_it_in_gscnns_program_alone():
    labels, predicted = torch.zeros(2, 9, 9, dtype=torch.uint8)
    labels[:, 5:] = 1
    ours, theirs = (BoundaryF(4, tolerances=[1], like_gscnn=like) for like in (False, True))
    for score in (ours, theirs):
        score.update(predicted, labels)
    assert ours.scores().per_image[0].value == 0.0
    assert theirs.scores().per_image[0].value == 0.5


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_contour_is_met_up_to_its_distance_and_no_further(shift):
    labels, predicted = torch.zeros(2, 20, 40, dtype=torch.uint8)
    labels[:, 20:], predicted[:, 20 + shift :] = 1, 1
    score = BoundaryF(2, tolerances=PIXELS)
    score.update(predicted, labels)
    # A shift of n takes both columns of the border n pixels on, each beside the other class's.
    assert [each.value for each in score.scores().pooled] == [float(shift <= tolerance) for tolerance in PIXELS]


# The last and first sizes at which a set of classes needs a wider number.
@pytest.mark.parametrize("classes", [7, 8, 15, 16, 31, 32, 63])
def test_the_largest_class_has_its_bit(classes):
    labels = torch.zeros(9, 9, dtype=torch.uint8)
    labels[:, 5:] = classes - 1
    for like_gscnn in (False, True):
        found = count(labels, labels, num_classes=classes, tolerances=[1], like_gscnn=like_gscnn)[0]
        assert found[:, classes - 1].tolist() == [9.0] * 4
        assert found[:, 1:-1].sum() == 0


def test_more_classes_than_bits_and_tolerances_that_are_neither_are_refused():
    with pytest.raises(InputError, match="there are 64 classes: at most 63; leave the F score out"):
        BoundaryF(64)
    for tolerance in (0, -1, 1.5, math.nan, math.inf, -math.inf):
        with pytest.raises(InputError, match=f"tolerances hold {tolerance}: write whole pixels from 1 on"):
            BoundaryF(3, tolerances=[tolerance])
        with pytest.raises(InputError, match=f"tolerances hold {tolerance}: write whole pixels from 1 on"):
            count(torch.zeros(3, 3).byte(), torch.zeros(3, 3).byte(), num_classes=3, tolerances=[tolerance])


def test_halves_add_up_to_the_whole():
    random = np.random.default_rng(0)
    whole, left, right = (BoundaryF(4) for _ in range(3))
    for half in (left, right, right):
        image = drawn(random, (20, 30))
        whole.update(*image)
        half.update(*image)
    left.counts += right.counts
    assert torch.allclose(left.counts, whole.counts, rtol=1e-14)
    assert left.scores().pooled == whole.scores().pooled

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inverseform.metrics.boundary_iou import BoundaryIou, bands, boundary_iou, count, reach
from tests.metrics.maps import drawn, pairs

SQUARE = np.ones((3, 3), dtype=bool)


def official_band(mask, distance):
    """The band of one mask as the authors' program makes it: so many erosions by 3 x 3, with nothing around."""
    return mask & ~ndimage.binary_erosion(mask, SQUARE, iterations=distance, border_value=0)


def slow_band(labels, name, distance, *, frame):
    """Pixels of a class near a known pixel of another one, each pixel by itself."""
    height, width = labels.shape
    band = np.zeros(labels.shape, dtype=bool)
    for row, column in np.argwhere(labels == name):
        near = labels[max(0, row - distance) : row + distance + 1, max(0, column - distance) : column + distance + 1]
        edge = min(row, column, height - 1 - row, width - 1 - column) < distance
        band[row, column] = ((near != name) & (near != 255)).any() or (frame and edge)
    return band


@settings(deadline=None, max_examples=300)
@given(pairs(), st.integers(1, 5), st.booleans())
def test_bands_are_what_looking_around_each_pixel_gives(pair, distance, frame):
    for labels in pair:
        wanted = [slow_band(labels.numpy(), name, distance, frame=frame) for name in range(4)]
        np.testing.assert_array_equal(bands(labels, distance=distance, frame=frame).numpy(), np.any(wanted, axis=0))


@settings(deadline=None, max_examples=300)
@given(pairs(classes=2, most=30), st.sampled_from([0.02, 0.1, 0.3]))
def test_of_a_mask_with_the_frame_it_is_that_of_the_official_program(pair, fraction):
    one, other = (labels.numpy() % 2 == 1 for labels in pair)
    distance = reach(*one.shape, fraction=fraction)
    in_one, in_other = official_band(one, distance), official_band(other, distance)
    union = (in_one | in_other).sum()
    found = boundary_iou(torch.from_numpy(one), torch.from_numpy(other), fraction=fraction, frame=True)
    assert found.value == (pytest.approx((in_one & in_other).sum() / union, abs=1e-12) if union else None)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.booleans())
def test_counts_are_pooled_over_the_images_and_the_mean_is_over_the_classes(seed, frame):
    random = np.random.default_rng(seed)
    scores, both, either = BoundaryIou(4, fraction=0.1, frame=frame), np.zeros(4), np.zeros(4)
    for _ in range(3):
        shape = tuple(random.integers(1, 14, 2).tolist())
        predicted, labels = drawn(random, shape)
        scores.update(predicted, labels)
        predicted = predicted.where(labels != 255, 255)
        distance = reach(*shape, fraction=0.1)
        for name in range(4):
            one, other = (slow_band(each.numpy(), name, distance, frame=frame) for each in (predicted, labels))
            both[name] += (one & other).sum()
            either[name] += (one | other).sum()
    wanted = [one / other if other else None for one, other in zip(both, either, strict=True)]
    found = scores.scores()
    assert [score.value for score in found.iou] == wanted
    defined = [value for value in wanted if value is not None]
    assert found.mean.value == (pytest.approx(np.mean(defined)) if defined else None)
    assert all((score.value is None) == (score.reason is not None) for score in (*found.iou, found.mean))


def test_the_distance_is_a_fiftieth_of_the_diagonal_and_at_least_a_pixel():
    assert reach(480, 640) == 16
    assert reach(1024, 2048) == 46
    # 2.83 and 3.11.
    assert reach(100, 100) == reach(110, 110) == 3
    assert reach(3, 3) == 1


def test_a_mask_that_is_cut_by_the_frame_has_no_outline_there_unless_asked():
    mask = torch.zeros(100, 100, dtype=torch.bool)
    mask[:, :50] = True
    # d is 3: the prediction is right but for the first 3 columns, far from the mask's outline.
    predicted = mask.clone()
    predicted[:, :3] = False
    assert boundary_iou(mask, mask).value == 1.0
    # Where it begins too late, the prediction has an outline of its own.
    assert boundary_iou(predicted, mask).value == 300 / 600
    # The bands are all but 94 x 44 pixels of the mask, and all but 94 x 41 of the prediction.
    both, one, other = 300 + 6 * 44, 5000 - 94 * 44, 4700 - 94 * 41
    assert boundary_iou(predicted, mask, frame=True).value == both / (one + other - both)


def test_ignored_pixels_make_no_outline_and_are_not_counted():
    labels = torch.ones(20, 20, dtype=torch.uint8)
    labels[5:15, 5:15] = 255
    predicted = labels.where(labels != 255, 0)
    assert count(predicted, labels, num_classes=2).sum() == 0
    known = torch.ones(20, 20, dtype=torch.bool)
    known[5:15, 5:15] = False
    found = boundary_iou(predicted.bool(), torch.ones_like(known), known=known)
    assert found == (None, "the class has no boundary, true or predicted")


def test_halves_add_up_to_the_whole():
    random = np.random.default_rng(0)
    images = [drawn(random, (20, 30)) for _ in range(4)]
    whole, left, right = (BoundaryIou(4) for _ in range(3))
    for index, image in enumerate(images):
        whole.update(*image)
        (left if index < 1 else right).update(*image)
    left.counts += right.counts
    assert left.scores() == whole.scores()


@pytest.mark.parametrize(("predicted", "label", "name"), [(3, 0, "predicted"), (255, 0, "predicted"), (0, 3, "labels")])
def test_an_id_past_the_classes_is_refused(predicted, label, name):
    with pytest.raises(ValueError, match=f"{name} hold class {max(predicted, label)} and the counts are of 3"):
        count(torch.full((2, 2), predicted).byte(), torch.full((2, 2), label).byte(), num_classes=3)

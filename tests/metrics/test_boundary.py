import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inverseform.metrics.boundary import (
    DISTANCES,
    STRIP,
    BoundaryAccuracy,
    count,
    disc,
    ellipse,
    foreground,
    mask_accuracy,
    mean_accuracy,
    near_boundary,
    radii,
)
from tests.metrics.maps import pairs


def scene(seed, *, size=(40, 50), classes=5, ignored=True):
    """Overlapping rectangles of several classes, some of them ignored."""
    random = np.random.default_rng(seed)
    labels = np.zeros(size, dtype=np.uint8)
    for _ in range(8):
        top, left = random.integers(0, size[0]), random.integers(0, size[1])
        height, width = random.integers(1, 15, 2)
        labels[top : top + height, left : left + width] = random.integers(0, classes)
    if ignored:
        labels[random.integers(0, size[0]) :, : random.integers(1, 12)] = 255
        labels[random.random(size) < 0.02] = 255
    return torch.from_numpy(labels)


def kernel(window):
    """A window as an array of booleans."""
    radius = len(window) - 1
    return np.array(
        [[abs(x) <= window[abs(y)] for x in range(-radius, radius + 1)] for y in range(-radius, radius + 1)]
    )


def slow_region(labels, structure):
    """Pixels whose window holds two or more known classes: one dilation for each class."""
    labels = labels.numpy()
    present = [ndimage.binary_dilation(labels == name, structure) for name in np.unique(labels) if name != 255]
    return np.sum(present, axis=0) >= 2 if present else np.zeros(labels.shape, dtype=bool)


def slow_gradient(labels, structure):
    """Union over the classes of dilation minus erosion, the window cut at the frame (CascadePSP's region)."""
    labels = labels.numpy()
    region = np.zeros(labels.shape, dtype=bool)
    for name in np.unique(labels):
        grown = ndimage.binary_dilation(labels == name, structure)
        region |= grown & ~ndimage.binary_erosion(labels == name, structure, border_value=1)
    return region


def slow_mba(predicted, labels):
    """The mBA of one image, written as its definition reads."""
    shares = []
    for radius in radii(*labels.shape):
        region = slow_region(labels, kernel(ellipse(radius))) & (labels != 255).numpy()
        if region.any():
            shares.append((predicted == labels).numpy()[region].mean())
    return float(np.mean(shares)) if shares else None


def test_ellipses_are_those_of_opencv():
    # cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)) of OpenCV 5.0.0: half-widths of the rows
    # from the middle downwards. The formula agreed with it for every r from 1 to 59.
    assert ellipse(1) == (1, 0)
    assert ellipse(2) == (2, 2, 0)
    assert ellipse(3) == (3, 3, 2, 0)
    assert ellipse(8) == (8, 8, 8, 7, 7, 6, 5, 4, 0)


def test_radii_are_those_of_cascadepsp():
    assert radii(480, 640) == (1, 1, 2, 2, 3)
    assert radii(512, 512) == (1, 1, 1, 2, 2)
    assert radii(1024, 2048) == (1, 2, 4, 6, 8)
    assert radii(197, 233) == (1, 1, 1, 1, 1)
    assert radii(20, 20) == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
def test_a_disc_holds_what_is_no_farther_than_its_radius(radius):
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    np.testing.assert_array_equal(kernel(disc(radius)), rows**2 + columns**2 <= radius**2)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([*map(ellipse, (1, 2, 4, 6, 8)), *map(disc, DISTANCES)]))
def test_regions_are_those_of_a_dilation_for_each_class(seed, window):
    labels = scene(seed)
    [found] = near_boundary(labels, windows=[window])
    np.testing.assert_array_equal(found.numpy(), slow_region(labels, kernel(window)))


@pytest.mark.parametrize("radius", [1, 2, 4, 8])
def test_without_ignored_pixels_regions_are_the_union_of_morphological_gradients(radius):
    labels = scene(radius, ignored=False)
    [found] = near_boundary(labels, windows=[ellipse(radius)])
    np.testing.assert_array_equal(found.numpy(), slow_gradient(labels, kernel(ellipse(radius))))


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10**6))
def test_mba_is_that_of_the_definition(seed):
    labels, predicted = scene(seed, size=(300, 420)), scene(seed + 1, size=(300, 420), ignored=False)
    assert BoundaryAccuracy().update(predicted, labels) == pytest.approx(slow_mba(predicted, labels))


# Less than a strip, one, a row more, several; and more windows than a byte has bits.
@pytest.mark.parametrize("height", [3, STRIP, STRIP + 1, 2 * STRIP + 9])
def test_strips_put_together_are_the_image(height):
    labels, predicted = scene(height, size=(height, 30)), scene(height + 1, size=(height, 30), ignored=False)
    windows = [*map(ellipse, (1, 2, 4, 6, 8)), *map(disc, (1, 2, 3, 5, 4, 7, 9))]
    known, right = labels != 255, predicted == labels
    regions = near_boundary(labels, windows=windows)
    wanted = [[int((region & known & right).sum()), int((region & known).sum())] for region in regions]
    assert count(predicted, labels, windows=windows).tolist() == wanted


@settings(deadline=None, max_examples=300)
@given(pairs(), st.sampled_from([*map(ellipse, (1, 2, 4)), *map(disc, DISTANCES)]))
def test_counts_of_small_images_are_those_of_a_dilation_for_each_class(pair, window):
    predicted, labels = pair
    near = slow_region(labels, kernel(window)) & (labels != 255).numpy()
    wanted = [int((predicted == labels).numpy()[near].sum()), int(near.sum())]
    assert count(predicted, labels, windows=[window]).tolist() == [wanted]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**6))
def test_of_a_mask_it_is_the_binary_mba_of_cascadepsp(seed):
    predicted, mask = (scene(seed + step, size=(60, 90), classes=2, ignored=False).bool() for step in (0, 1))
    gradients = [slow_gradient(mask.byte(), kernel(ellipse(radius))) for radius in radii(60, 90)]
    right = (predicted == mask).numpy()
    wanted = np.mean([right[region].mean() for region in gradients]) if gradients[0].any() else None
    assert mask_accuracy(predicted, mask) == (wanted if wanted is None else pytest.approx(wanted, abs=1e-12))


def test_of_a_mask_only_what_is_known_counts():
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[:, 5:] = True
    known = torch.ones_like(mask)
    known[3:] = False
    predicted = mask.clone()
    predicted[3:] = ~mask[3:]
    assert mask_accuracy(predicted, mask, known=known) == 1.0
    assert mask_accuracy(mask, mask, known=torch.zeros_like(mask)) is None
    assert foreground(mask, known=known).unique().tolist() == [0, 1, 255]


@pytest.mark.parametrize("classes", [1, 2, 254])
def test_class_zero_and_class_254_are_like_any_other(classes):
    labels = torch.zeros(4, 6, dtype=torch.uint8)
    labels[:, 3:] = classes
    [found] = near_boundary(labels, windows=[ellipse(1)])
    assert found.nonzero()[:, 1].unique().tolist() == [2, 3]


def test_a_perfect_prediction_scores_one():
    scores = BoundaryAccuracy()
    assert scores.update(scene(1, ignored=False), scene(1, ignored=False)) == 1.0
    assert scores.scores() == (1.0, (1.0, 1.0, 1.0, 1.0), 1, 0)


def test_a_prediction_wrong_everywhere_scores_zero():
    scores = BoundaryAccuracy()
    assert scores.update((scene(1, ignored=False) + 1) % 5, scene(1, ignored=False)) == 0.0


def test_an_error_far_from_every_boundary_is_free():
    labels = torch.zeros(40, 40, dtype=torch.uint8)
    labels[:, 20:] = 1
    predicted = labels.clone()
    predicted[:, 30] = 0
    scores = BoundaryAccuracy()
    scores.update(predicted, labels)
    assert scores.scores().mba == 1.0


def test_accuracy_falls_as_the_error_comes_within_reach():
    labels = torch.zeros(40, 40, dtype=torch.uint8)
    labels[:, 20:] = 1
    predicted = labels.clone()
    # The boundary is that of columns 19 and 20; column 22 is within 3 pixels of it and not within 2.
    predicted[:, 22] = 0
    scores = BoundaryAccuracy()
    scores.update(predicted, labels)
    assert scores.scores().within == (1.0, 1.0, pytest.approx(5 / 6), pytest.approx(9 / 10))


def test_neither_the_frame_nor_an_ignored_pixel_is_a_boundary():
    labels = torch.full((30, 30), 3, dtype=torch.uint8)
    labels[10:20, 10:20] = 255
    scores = BoundaryAccuracy()
    assert scores.update(labels, labels) is None
    assert scores.scores() == (None, (None, None, None, None), 0, 1)


def test_ignored_pixels_are_never_counted():
    labels = scene(4)
    right = torch.where(labels == 255, 0, labels)
    wrong = torch.where(labels == 255, 4, labels)
    windows = [ellipse(2), disc(3)]
    assert torch.equal(count(right, labels, windows=windows), count(wrong, labels, windows=windows))


def test_an_image_without_a_boundary_is_left_out_and_counted():
    flat = torch.zeros(30, 30, dtype=torch.uint8)
    scores = BoundaryAccuracy()
    scores.update(scene(2, ignored=False), scene(2, ignored=False))
    scores.update(flat + 1, flat)
    assert scores.scores() == (1.0, (1.0, 1.0, 1.0, 1.0), 1, 1)


def test_an_image_of_ignored_pixels_alone_has_no_score():
    nothing = torch.full((9, 9), 255, dtype=torch.uint8)
    assert BoundaryAccuracy().update(nothing * 0, nothing) is None


def test_images_weigh_the_same_in_mba_and_pixels_in_the_accuracy_within():
    small, large = torch.zeros(10, 10, dtype=torch.uint8), torch.zeros(30, 30, dtype=torch.uint8)
    small[:, 5:], large[:, 15:] = 1, 1
    scores = BoundaryAccuracy()
    scores.update(small, small)
    scores.update(1 - large, large)
    assert scores.scores().mba == 0.5
    assert scores.scores().within[0] == 20 / 80


def test_halves_add_up_to_the_whole():
    whole, left, right = BoundaryAccuracy(), BoundaryAccuracy(), BoundaryAccuracy()
    for seed, half in enumerate([left, right, right]):
        for scores in (whole, half):
            scores.update(scene(seed + 50, ignored=False), scene(seed))
    left.images += right.images
    left.within += right.within
    assert left.scores() == whole.scores()


def test_the_mean_is_over_the_windows_that_hold_pixels():
    assert mean_accuracy(torch.tensor([[0, 0], [1, 2], [1, 1]])) == 0.75
    assert mean_accuracy(torch.tensor([[0, 0]])) is None


def test_scores_do_not_depend_on_how_the_image_lies():
    labels, predicted = scene(3), scene(4, ignored=False)
    as_it_is = BoundaryAccuracy().update(predicted, labels)
    assert BoundaryAccuracy().update(predicted.flip(0), labels.flip(0)) == as_it_is
    assert BoundaryAccuracy().update(predicted.T, labels.T) == as_it_is

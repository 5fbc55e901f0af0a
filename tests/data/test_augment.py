import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.boundary import boundaries
from inverseform.data.augment import AugmentParams, Focus, augment
from inverseform.sample import IGNORE_INDEX, Sample
from tests.drawn import CLASSES, scene

NEUTRAL = {"scale": (1.0, 1.0), "crop": (40, 56), "flip": False, "brightness": 0.0}
GREY = 60
"""Between the grey values of two classes."""


@functools.cache
def sample(height=40, width=56, picture=0):
    """An image that shows the label of each pixel."""
    labels = scene(height, width, batch=1, seed=picture)
    boundary, valid = boundaries(labels, num_classes=CLASSES)
    image = (labels * GREY).to(torch.uint8).expand(3, -1, -1).contiguous()
    return Sample("drawn", image, labels[0].to(torch.uint8), boundary[0], valid[0])


def params(**changes):
    return AugmentParams(**{**NEUTRAL, **changes})


def made(changes, seed, **drawn):
    return augment(sample(**drawn), params(**changes), generator=torch.Generator().manual_seed(seed))


def test_nothing_changes_at_neutral_settings():
    image, labels = made({}, seed=0)
    assert torch.equal(image, sample().image) and torch.equal(labels, sample().labels)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(2, 70), st.integers(2, 70), st.integers(1, 60), st.integers(1, 60), st.floats(0.1, 2.5), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_the_result_has_the_size_of_the_crop_whatever_the_sample(height, width, rows, columns, scale, flip, seed):
    changes = {"crop": (rows, columns), "scale": (scale, scale), "flip": flip, "brightness": 0.3}
    image, labels = made(changes, seed, height=height, width=width)
    assert image.shape == (3, rows, columns) and labels.shape == (rows, columns)
    assert image.dtype == labels.dtype == torch.uint8


@pytest.mark.parametrize("flip", [False, True])
def test_a_window_shows_the_same_of_image_and_labels(flip):
    for seed in range(20):
        image, labels = made({"flip": flip, "crop": (23, 31)}, seed, picture=seed % 3)
        assert torch.equal(image, (labels * GREY).expand(3, -1, -1))


def centre(weight):
    """Row and column of the centre of mass."""
    rows, columns = torch.meshgrid(*map(torch.arange, weight.shape), indexing="ij")
    return torch.stack([(weight * place).sum() / weight.sum() for place in (rows, columns)])


# At a whole ratio every border lies between two pixels, before and after: nothing is rounded.
@pytest.mark.parametrize(("scale", "slack"), [(0.5, 0.02), (2.0, 0.02), (3.0, 0.02), (0.8, 0.51), (1.37, 0.51)])
@pytest.mark.parametrize("flip", [False, True])
def test_resized_image_and_labels_stay_on_top_of_each_other(scale, slack, flip):
    labels = torch.zeros(48, 64, dtype=torch.uint8)
    labels[12:40, 20:36] = 1
    square = Sample("square", (labels * 200).expand(3, -1, -1).contiguous(), labels, *2 * [torch.zeros(1, 48, 64)])
    changed = params(scale=(scale, scale), crop=(150, 200), flip=flip)
    for seed in range(4):
        image, known = augment(square, changed, generator=torch.Generator().manual_seed(seed))
        seen, meant = image[0] / 200, (known == 1).float()
        assert (centre(seen) - centre(meant)).abs().max() < slack
        assert abs(seen.sum() / meant.sum() - 1) < slack / 4
        assert abs(meant.sum() - 28 * 16 * scale**2) < 45 * scale * slack + 1


@pytest.mark.parametrize("scale", [0.8, 1.37])
def test_rounding_moves_labels_to_neither_side(scale):
    apart = []
    for place in range(12):
        labels = torch.zeros(48, 64, dtype=torch.uint8)
        labels[8 + place : 30 + place, 12 + place : 40 + place] = 1
        square = Sample("square", (labels * 200).expand(3, -1, -1).contiguous(), labels, *2 * [torch.zeros(1, 48, 64)])
        changed = params(scale=(scale, scale), crop=(80, 100))
        image, known = augment(square, changed, generator=torch.Generator().manual_seed(0))
        apart.append(centre(image[0] / 200) - centre((known == 1).float()))
    assert torch.stack(apart).mean(dim=0).abs().max() < 0.1


def test_what_is_beyond_the_sample_is_black_and_ignored():
    image, labels = made({"crop": (50, 60)}, seed=0)
    assert (labels[40:] == IGNORE_INDEX).all() and (labels[:, 56:] == IGNORE_INDEX).all()
    assert not image[:, 40:].any() and not image[:, :, 56:].any()
    assert torch.equal(labels[:40, :56], sample().labels) and torch.equal(image[:, :40, :56], sample().image)


def test_padding_makes_no_boundary():
    _, labels = made({"crop": (50, 60)}, seed=0)
    boundary, valid = boundaries(labels[None], num_classes=CLASSES)
    assert not boundary[0, 0, 40:].any() and not valid[0, 0, 40:].any()
    assert torch.equal(boundary[0, :, :40, :56], sample().boundary)


def test_labels_are_never_blended():
    for seed in range(20):
        _, labels = made({"scale": (0.4, 2.5), "crop": (64, 64)}, seed)
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3, IGNORE_INDEX}


def test_half_of_the_results_are_mirrored():
    mirrored = sum(torch.equal(made({"flip": True}, seed)[1], sample().labels.flip(-1)) for seed in range(200))
    assert 75 <= mirrored <= 125
    assert all(torch.equal(made({"flip": False}, seed)[1], sample().labels) for seed in range(20))


def test_windows_come_from_all_over_the_sample():
    labels = torch.arange(8).repeat(6, 1).to(torch.uint8) + 10 * torch.arange(6)[:, None].to(torch.uint8)
    marked = Sample("marked", labels.expand(3, -1, -1).contiguous(), labels, torch.zeros(1, 6, 8), torch.ones(1, 6, 8))
    corners = set()
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        corners.add(int(augment(marked, params(crop=(4, 5)), generator=generator)[1][0, 0]))
    assert corners == {10 * row + column for row in range(3) for column in range(4)}


def test_the_same_draw_gives_the_same_result_and_another_another():
    changes = {"scale": (0.7, 1.4), "flip": True, "brightness": 0.3, "crop": (32, 32)}
    one, again, other = made(changes, 5), made(changes, 5), made(changes, 6)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0], other[0])


def test_what_is_drawn_does_not_depend_on_what_is_switched_on():
    """So that one setting can be changed and the rest of a run compared."""
    plain, lit = (made({"crop": (20, 20), "brightness": b}, 4)[1] for b in (0.0, 0.4))
    assert torch.equal(plain, lit)


def test_brightness_and_contrast_stay_within_what_was_asked_for():
    flat = torch.full((3, 40, 56), 100, dtype=torch.uint8)
    grey = sample()._replace(image=flat)
    means = []
    for seed in range(100):
        image, _ = augment(grey, params(brightness=0.2), generator=torch.Generator().manual_seed(seed))
        means.append(image.float().mean().item())
    assert 80 <= min(means) < 85 and 115 < max(means) <= 120
    image, _ = made({"brightness": 0.9}, seed=1)
    assert image.dtype == torch.uint8


def speck(row, column, height=40, width=56):
    """One pixel of class 2 in class 0; the image shows the labels."""
    labels = torch.zeros(height, width, dtype=torch.uint8)
    labels[row, column] = 2
    return sample()._replace(image=(labels * GREY).expand(3, -1, -1).contiguous(), labels=labels)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 39), st.integers(0, 55), st.integers(1, 60), st.integers(1, 70), st.floats(1, 2), st.integers(0, 99)
)
def test_a_window_with_a_focus_shows_a_pixel_of_its_class(row, column, rows, columns, scale, seed):
    changed = params(crop=(rows, columns), scale=(scale, scale), flip=True)
    generator = torch.Generator().manual_seed(seed)
    _, labels = augment(speck(row, column), changed, generator=generator, focus=Focus(2, 0.5))
    assert (labels == 2).any()


def test_a_focus_lies_anywhere_in_its_window_and_its_place_says_which_pixel_it_is():
    places = set()
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        _, labels = augment(speck(20, 30), params(crop=(3, 4)), generator=generator, focus=Focus(2, 0.0))
        places.add(tuple((labels == 2).nonzero()[0].tolist()))
    assert places == {(row, column) for row in range(3) for column in range(4)}
    two = speck(3, 5)
    two.labels[30, 50] = 2
    for place, found in ((0.0, (3, 5)), (0.49, (3, 5)), (0.5, (30, 50)), (0.999, (30, 50))):
        marked = two._replace(image=torch.arange(40 * 56).remainder(251).reshape(40, 56).byte().expand(3, -1, -1))
        image, _ = augment(marked, params(crop=(1, 1)), generator=torch.Generator(), focus=Focus(2, place))
        assert image[0, 0, 0] == marked.image[0, *found]


def test_a_focus_changes_the_window_alone_and_nothing_where_its_class_is_not():
    changes = {"scale": (0.7, 1.4), "flip": True, "brightness": 0.3, "crop": (90, 90)}
    for seed in range(10):
        whole = augment(sample(), params(**changes), generator=torch.Generator().manual_seed(seed), focus=Focus(1, 0.3))
        assert all(torch.equal(a, b) for a, b in zip(whole, made(changes, seed), strict=True))
        small = {**changes, "crop": (9, 9)}
        absent = augment(sample(), params(**small), generator=torch.Generator().manual_seed(seed), focus=Focus(77, 0.3))
        assert all(torch.equal(a, b) for a, b in zip(absent, made(small, seed), strict=True))


@pytest.mark.parametrize(
    "wrong", [{"scale": (1.2, 0.8)}, {"scale": (0.0, 1.0)}, {"scale": (-1.0, 1.0)}, {"crop": (0, 8)}, {"crop": (8, -8)},
              {"brightness": 1.0}, {"brightness": -0.1}]
)  # fmt: skip
def test_settings_that_make_no_picture_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        params(**wrong)

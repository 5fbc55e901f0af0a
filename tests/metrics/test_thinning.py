import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import morphology

from inverseform.metrics.thinning import WORD, thin

EIGHT = np.ones((3, 3))


def noise(seed, *, maps=1, height=20, width=23):
    """Maps of random pixels, each of its own density."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.random((maps, height, width)) < random.random((maps, 1, 1)))


def blobs(seed, *, maps=1, size=(40, 50)):
    """Smooth noise at rising thresholds, as a detector's map is."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random(size), 2)
    levels = np.quantile(smooth, np.linspace(0.05, 0.95, maps))
    return torch.from_numpy(smooth >= levels[:, None, None])


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 30))
def test_thinning_is_that_of_scikit_image(seed, height, width):
    maps = noise(seed, maps=6, height=height, width=width)
    expected = np.stack([morphology.thin(each) for each in maps.numpy()])
    np.testing.assert_array_equal(thin(maps).numpy(), expected)


@pytest.mark.parametrize("seed", range(4))
def test_thick_shapes_are_thinned_as_by_scikit_image(seed):
    maps = blobs(seed, maps=9)
    expected = np.stack([morphology.thin(each) for each in maps.numpy()])
    np.testing.assert_array_equal(thin(maps).numpy(), expected)


@pytest.mark.parametrize("maps", [1, WORD - 1, WORD, WORD + 1, 2 * WORD + 1])
def test_maps_of_one_word_or_several_do_not_see_each_other(maps):
    together = noise(5, maps=maps)
    assert torch.equal(thin(together), torch.cat([thin(each[None]) for each in together]))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6))
def test_pieces_stay_whole_and_none_is_lost(seed):
    [before] = noise(seed)
    [after] = thin(before[None])
    assert not (after & ~before).any()
    pieces, number = ndimage.label(before.numpy(), EIGHT)
    assert ndimage.label(after.numpy(), EIGHT)[1] == number
    assert set(np.unique(pieces[after.numpy()])) == set(range(1, number + 1))


def test_what_is_thin_stays_as_it_is():
    once = thin(torch.cat([noise(1, maps=5, height=40, width=50), blobs(2, maps=5)]))
    assert torch.equal(thin(once), once)


def test_no_pixels_and_no_maps_give_none():
    assert not thin(torch.zeros(2, 5, 6, dtype=torch.bool)).any()
    assert thin(torch.zeros(0, 5, 6, dtype=torch.bool)).shape == (0, 5, 6)
    assert thin(torch.zeros(2, 0, 6, dtype=torch.bool)).shape == (2, 0, 6)


def test_a_pixel_alone_stays_also_at_the_frame():
    corner = torch.zeros(1, 4, 4, dtype=torch.bool)
    corner[0, 0, 0] = corner[0, 3, 3] = True
    assert torch.equal(thin(corner), corner)


def test_the_maps_given_are_not_changed():
    maps = blobs(3, maps=3)
    copy = maps.clone()
    thin(maps)
    assert torch.equal(maps, copy)

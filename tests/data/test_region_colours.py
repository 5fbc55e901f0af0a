import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inverseform.boundary import boundaries
from inverseform.data.region_colours import region_colours


def boundary(labels, operator, radius):
    ids = torch.from_numpy(labels.astype(np.int64))[None]
    return boundaries(ids, num_classes=int(ids.max()) + 1, ignore_index=-1, operator=operator, radius=radius)[0]


def rectangles(seed, count=60, side=48):
    random = np.random.default_rng(seed)
    regions = np.zeros((side, side + 9), np.uint16)
    for number in range(1, count):
        top, left = random.integers(0, side, 2)
        regions[top : top + random.integers(1, 12), left : left + random.integers(1, 12)] = 7 * number
    return regions


@pytest.mark.parametrize("operator", ["sobel", "inequality"])
@pytest.mark.parametrize("radius", [1, 3])
def test_boundaries_of_the_colours_are_those_of_the_regions(operator, radius):
    for seed in range(5):
        regions = rectangles(seed)
        colours = region_colours(regions)
        assert torch.equal(boundary(colours, operator, radius), boundary(regions, operator, radius))
        assert colours.max() < 12 < len(np.unique(regions))


@settings(deadline=None, max_examples=60)
@given(arrays(np.uint16, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(1, 9)))
def test_a_window_of_3_by_3_sees_no_two_regions_in_one_colour(regions):
    colours = region_colours(regions)
    for row in range(regions.shape[0]):
        for column in range(regions.shape[1]):
            window = (slice(row, row + 3), slice(column, column + 3))
            seen = set(zip(regions[window].flat, colours[window].flat, strict=True))
            assert len({colour for _, colour in seen}) == len({region for region, _ in seen}) == len(seen)
    assert set(np.unique(colours)) == set(range(colours.max() + 1))


def test_the_same_regions_have_the_same_colours_and_one_region_one():
    assert (region_colours(rectangles(1)) == region_colours(rectangles(1))).all()
    assert not region_colours(np.full((5, 6), 900)).any()
    stripes = np.repeat(np.arange(40), 3)[None].repeat(9, axis=0)
    assert region_colours(stripes).max() == 1

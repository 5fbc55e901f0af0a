import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data import boundary_bits as room
from inverseform.data.boundary_bits import BOUNDARY, VALID, boundary_bits, spread

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
LABELS = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 254, 255])))
OPERATORS = st.sampled_from(["sobel", "inequality"])


def by_definition(labels, params):
    boundary, valid = boundaries(
        torch.from_numpy(labels)[None], num_classes=255, operator=params.operator, radius=params.radius
    )
    return (BOUNDARY * boundary + VALID * valid)[0, 0].byte().numpy()


@settings(max_examples=150, deadline=None)
@given(labels=LABELS, operator=OPERATORS, radius=st.integers(1, 5))
def test_bits_are_those_of_the_definition(labels, operator, radius):
    params = BoundaryParams(operator=operator, radius=radius)
    assert np.array_equal(boundary_bits(labels, params), by_definition(labels, params))


@pytest.mark.parametrize("band", [1, 150, 10**6])
def test_bands_leave_no_seams(band, monkeypatch):
    monkeypatch.setattr(room, "_BAND", band)
    labels = np.random.default_rng(0).choice([0, 1, 2, 255], (50, 60), p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8)
    params = BoundaryParams(operator="sobel", radius=2)
    assert np.array_equal(boundary_bits(labels, params), by_definition(labels, params))


@pytest.mark.parametrize("radius", [0, 1, 2, 6, 7, 20, 64])
def test_a_mask_is_spread_to_the_square_of_the_radius(radius):
    mask = np.random.default_rng(radius).random((23, 31)) < 0.01
    rows, columns = np.mgrid[:23, :31]
    wanted = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        wanted |= (abs(rows - row) <= radius) & (abs(columns - column) <= radius)
    before = mask.copy()
    assert np.array_equal(spread(mask, radius), wanted)
    assert np.array_equal(mask, before)

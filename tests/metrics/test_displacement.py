import math

import pytest
import torch

from inverseform.metrics.displacement import normal_error, normals
from inverseform.transform import identity

SIDE = 32


def line(angle, width=1.0):
    """A straight line through the middle, whose normal points at an angle, in degrees."""
    place = torch.arange(SIDE) - (SIDE - 1) / 2
    x, y = place.expand(SIDE, SIDE), place[:, None].expand(SIDE, SIDE)
    across = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))
    return (across.abs() <= width).float()[None]


def shift(x, y):
    theta = identity(1, like=torch.zeros(1))
    theta[0, 0, 2], theta[0, 1, 2] = 2 * x / SIDE, 2 * y / SIDE
    return theta


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 135, 160])
def test_the_normal_of_a_straight_line_is_across_it(angle):
    inside = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    inside[:, 3:-3, 3:-3] = True
    found = normals(line(angle))[(line(angle) > 0) & inside]
    expected = torch.tensor([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    assert (found @ expected).abs().min() > 0.97
    assert torch.allclose(found.norm(dim=-1), torch.ones(len(found)), atol=1e-5)


def test_an_error_across_the_line_counts_in_pixels_and_one_along_it_does_not():
    upright = line(0)
    for x, y, expected in ((2.0, 0.0, 2.0), (0.0, 2.0, 0.0), (-1.5, 4.0, 1.5)):
        mean, median = normal_error(shift(x, y), shift(0, 0), upright)
        assert mean.item() == pytest.approx(expected, abs=0.05)
        assert median.item() == pytest.approx(expected, abs=0.05)


def test_a_right_estimate_has_no_error_and_a_tile_without_a_boundary_none_that_is_known():
    mean, median = normal_error(shift(3, 1), shift(3, 1), line(30))
    assert mean.item() == median.item() == 0
    mean, median = normal_error(shift(3, 1), shift(0, 0), torch.zeros(1, SIDE, SIDE))
    assert mean.isnan().all() and median.isnan().all()


def test_only_the_boundary_is_looked_at():
    # A scale about the middle moves what is far from it; the line through the middle stays on itself.
    theta = identity(1, like=torch.zeros(1))
    theta[0, 0, 0] = 1.2
    mean, _ = normal_error(theta, identity(1, like=theta), line(0))
    assert mean.item() < 0.2


def test_what_is_at_the_frame_of_a_tile_does_not_count():
    tiles = torch.zeros(1, SIDE, SIDE)
    tiles[:, :, :2] = tiles[:, :, -2:] = 1
    mean, _ = normal_error(shift(3, 0), shift(0, 0), tiles)
    assert mean.isnan().all()

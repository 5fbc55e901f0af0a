import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.transform import (
    ENTRIES,
    TransformRanges,
    compose,
    draw,
    from_offsets,
    grid,
    identity,
    inverse,
    offsets,
    warp,
)

RANGES = TransformRanges(translation=0.2, scale=(0.8, 1.25), rotation=15.0, shear=10.0, perspective=0.2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bump(side=33):
    """A smooth map, so that resampling it twice loses little."""
    x = torch.linspace(-1, 1, side)
    return torch.exp(-4 * (x[None] ** 2 + (x[:, None] - 0.2) ** 2))[None, None]


def test_identity_warp_changes_nothing():
    maps = torch.rand(3, 2, 7, 10, generator=generator())
    assert torch.allclose(warp(maps, identity(3, like=maps)), maps, atol=1e-6)


def test_theta_maps_output_to_input_x_right_and_y_down():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 2, 5] = 1
    theta = identity(1, like=maps)
    theta[0, 0, 2], theta[0, 1, 2] = 2 / 8, 2 * 2 / 8  # one pixel along x, two along y
    moved = warp(maps, theta)
    assert moved[0, 0].argmax() == 0 * 8 + 4  # what lies at (2, 5) in the input is wanted at (0, 4) of the output


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_warp_then_inverse_warp_restores_the_interior(seed):
    theta = draw(1, RANGES, degrees_of_freedom=8, generator=generator(seed))
    back = warp(warp(bump(), theta), inverse(theta))
    inside = (slice(None), slice(None), slice(12, 21), slice(12, 21))
    assert (back - bump())[inside].abs().max() < 0.02


@pytest.mark.parametrize("degrees_of_freedom", [4, 6, 8])
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_offsets_and_back_is_the_same_transform(degrees_of_freedom, data):
    numbers = torch.tensor(
        [data.draw(st.lists(st.floats(-2, 2, width=32), min_size=degrees_of_freedom, max_size=degrees_of_freedom))]
    )
    theta = from_offsets(numbers)
    assert torch.allclose(offsets(theta, degrees_of_freedom), numbers, atol=1e-6)
    assert (theta[:, 2, 2] == 1).all()


def test_no_offset_is_the_identity():
    for degrees_of_freedom in ENTRIES:
        assert torch.equal(from_offsets(torch.zeros(2, degrees_of_freedom)), torch.eye(3).expand(2, 3, 3))


def test_drawn_transforms_stay_in_their_ranges():
    theta = draw(2000, RANGES, degrees_of_freedom=6, generator=generator()).double()
    assert theta[:, :2, 2].abs().max() <= 0.2 + 1e-6
    # translation * rotation * shear * scale: x's image has the length of the scale, and the angle of the rotation.
    along_x = theta[:, :2, 0]
    length = along_x.norm(dim=-1)
    angle = torch.atan2(along_x[:, 1], along_x[:, 0]).rad2deg()
    assert 0.8 - 1e-6 <= length.min() < 0.81 and 1.24 < length.max() <= 1.25 + 1e-6
    assert 14.5 < angle.abs().max() <= 15 + 1e-4
    area = torch.linalg.det(theta[:, :2, :2])
    assert 0.8**2 - 1e-6 <= area.min() and area.max() <= 1.25**2 + 1e-6


def test_four_degrees_of_freedom_have_neither_rotation_nor_shear():
    theta = draw(100, RANGES, degrees_of_freedom=4, generator=generator())
    assert not theta[:, 0, 1].any() and not theta[:, 1, 0].any()


def test_the_same_generator_draws_the_same():
    draws = [draw(5, RANGES, degrees_of_freedom=6, generator=generator(3)) for _ in range(2)]
    assert torch.equal(*draws)


def test_four_and_six_degrees_of_freedom_draw_what_they_always_drew():
    # Written down before there were eight.
    drawn = {
        4: [[0.84997046, 0.0, 0.12051625], [0.0, 0.94808632, -0.11255879]],
        6: [[0.84746528, 0.03037515, 0.12051625], [-0.06520987, 0.94855160, -0.11255879]],
    }
    for degrees_of_freedom, rows in drawn.items():
        theta = draw(3, RANGES, degrees_of_freedom=degrees_of_freedom, generator=generator(5))  # pyright: ignore
        assert torch.allclose(theta[2, :2], torch.tensor(rows), atol=1e-7)
        assert torch.equal(theta[:, 2], torch.tensor([0.0, 0, 1]).expand(3, 3))


def test_eight_degrees_of_freedom_add_perspective_within_its_range():
    theta = draw(2000, RANGES, degrees_of_freedom=8, generator=generator())
    assert (theta[:, 2, 2] == 1).all()
    tilt = theta[:, 2, :2]
    assert 0.199 < tilt.abs().max() <= 0.2 and tilt.min() < -0.199
    assert torch.allclose(from_offsets(offsets(theta, 8)), theta, atol=1e-7)
    flat = TransformRanges(**{**RANGES.model_dump(), "perspective": 0.0})
    six, eight = (draw(9, flat, degrees_of_freedom=n, generator=generator(4)) for n in (6, 8))
    assert torch.allclose(six, eight, atol=1e-7)


def test_a_homography_keeps_straight_lines_straight_and_the_whole_tile_before_the_horizon():
    theta = draw(300, RANGES, degrees_of_freedom=8, generator=generator(2)).double()
    for way in (theta, inverse(theta)):
        points = grid(way, 101, 101)
        diagonal = torch.diagonal(points, dim1=1, dim2=2).movedim(-1, 1)
        ends, step = diagonal[:, :1], diagonal[:, 1:] - diagonal[:, :1]
        along = diagonal[:, -1:] - ends
        assert (step[..., 0] * along[..., 1] - step[..., 1] * along[..., 0]).abs().max() < 1e-9
        corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)], dtype=torch.float64)
        assert (way[:, 2] @ corners.T).min() > 0


@pytest.mark.parametrize("degrees_of_freedom", [4, 6, 8])
def test_the_inverse_leads_back_and_is_written_as_a_transform(degrees_of_freedom):
    theta = draw(200, RANGES, degrees_of_freedom=degrees_of_freedom, generator=generator(6))
    back = inverse(theta)
    both = back @ theta
    assert torch.allclose(both / both[:, 2:, 2:], identity(200, like=theta), atol=1e-5)
    assert (back[:, 2, 2] == 1).all()
    if degrees_of_freedom != 8:
        assert not back[:, 2, :2].any()
    assert torch.equal(inverse(identity(2, like=theta)), identity(2, like=theta))


@pytest.mark.parametrize("changes", [{"perspective": 0.45}, {"perspective": 0.26}, {"shear": 80.0}])
def test_ranges_that_could_draw_a_horizon_across_the_tile_are_refused(changes):
    with pytest.raises(ValueError, match="perspective"):
        TransformRanges(**{**RANGES.model_dump(), **changes})
    TransformRanges(**{**RANGES.model_dump(), "shear": 80.0, "perspective": 0.0})


def test_a_turn_keeps_lengths_and_a_quarter_swaps_the_axes():
    one = torch.ones(1, 2, dtype=torch.float64)
    theta = compose(0 * one, one, torch.tensor([math.pi / 2], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    expected = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    assert torch.allclose(theta[0], expected, atol=1e-12)


def test_a_homography_grid_divides_by_its_last_coordinate():
    theta = torch.eye(3, dtype=torch.float64)[None].clone()
    theta[0, 2, 0] = 0.5
    points = grid(theta, 1, 2)[0, 0]
    assert torch.allclose(points[:, 0], torch.tensor([-0.5 / 0.75, 0.5 / 1.25], dtype=torch.float64))


def test_warp_has_a_gradient_for_theta():
    theta = draw(1, RANGES, degrees_of_freedom=6, generator=generator(1)).double().requires_grad_()
    maps = bump(9).double()
    assert torch.autograd.gradcheck(lambda t: warp(maps, t), theta, atol=1e-4)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.2, 0.8), (-1.0, 1.0)])
def test_a_scale_that_is_no_range_is_refused(scale):
    with pytest.raises(ValueError, match="0 < smallest <= largest"):
        TransformRanges(translation=0.1, scale=scale, rotation=0.0, shear=0.0, perspective=0.0)

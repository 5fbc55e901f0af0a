import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.boundary import boundaries
from inverseform.pairs import crop, cut, pack, reflect, remainders, unpack
from inverseform.transform import TransformRanges, compose, draw, grid, identity, warp

RANGES = TransformRanges(translation=0.2, scale=(0.8, 1.25), rotation=15.0, shear=10.0, perspective=0.1)


def ring(side=96, radius=30.0):
    """The boundary map of a disc."""
    place = torch.arange(side) - side / 2 + 0.5
    disc = (place[None] ** 2 + place[:, None] ** 2 < radius**2).long()
    return boundaries(disc[None], num_classes=2)[0][0]


def test_the_identity_cuts_the_tile_as_it_is():
    boundary = ring()
    origins = torch.tensor([[0, 0], [10, 20], [64, 64], [13, 7]])
    tiles = cut(boundary, origins, identity(4, like=boundary), tile=32)
    for tile, (row, column) in zip(tiles, origins.tolist(), strict=True):
        assert torch.equal(tile, boundary[0, row : row + 32, column : column + 32].bool())


def test_a_shift_by_whole_pixels_is_the_neighbouring_tile():
    boundary = ring()
    shift = torch.tensor([[2 * 5 / 32, 2 * -3 / 32]])
    theta = compose(shift, torch.ones(1, 2), torch.zeros(1), torch.zeros(1))
    moved = cut(boundary, torch.tensor([[20, 30]]), theta, tile=32)
    assert torch.equal(moved[0], boundary[0, 17:49, 35:67].bool())


def test_pixels_are_those_of_the_map_in_which_their_centres_fall():
    """The slow twin: one point after another."""
    boundary, origins = ring(), torch.tensor([[-5, 10], [30, 2], [50, 60]])
    theta = draw(3, RANGES, degrees_of_freedom=8, generator=torch.Generator().manual_seed(2))
    tiles = cut(boundary, origins, theta, tile=24)
    for tile, (top, left), matrix in zip(tiles, origins.tolist(), theta.double(), strict=True):
        for row in range(24):
            for column in range(24):
                point = torch.tensor([(2 * column + 1) / 24 - 1, (2 * row + 1) / 24 - 1, 1.0], dtype=torch.float64)
                x, y, depth = (matrix @ point).tolist()
                x, y = (math.floor(start + (1 + v / depth) * 12) for start, v in ((left, x), (top, y)))
                inside = 0 <= y < 96 and 0 <= x < 96
                assert tile[row, column] == (boundary[0, y, x].bool() if inside else False)


def test_a_map_of_zeros_and_ones_is_cut_as_bilinear_sampling_and_a_half_would_but_for_corners():
    boundary, origins = ring(), torch.tensor([[16, 16]]).repeat(20, 1)
    theta = draw(20, RANGES, degrees_of_freedom=6, generator=torch.Generator().manual_seed(3))
    middle = warp(boundary[None, :, 16:80, 16:80].expand(20, -1, -1, -1), theta)[:, 0] > 0.499
    inner = (slice(None), slice(20, 44), slice(20, 44))
    assert (cut(boundary, origins, theta, tile=64) != middle)[inner].float().mean() < 0.003


def test_a_crop_has_the_map_in_it_and_nothing_beyond():
    soft = torch.rand(1, 40, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(crop(soft, torch.tensor([[3, 7], [24, 34]]), 16)[1], soft[0, 24:40, 34:50])
    outside = crop((soft * 255).to(torch.uint8), torch.tensor([[-6, -16], [30, 45]]), 16)
    assert not outside[0, :6].any() and not outside[0, :, :16].any()
    assert crop(soft, torch.zeros(0, 2, dtype=torch.int64), 64).shape == (0, 64, 64)
    assert torch.equal(outside[1, :10, :5], (soft[0, 30:, 45:] * 255).to(torch.uint8)) and not outside[1, 10:].any()


def test_boundaries_come_in_from_beyond_the_tile_and_no_false_border_does():
    boundary = torch.zeros(1, 96, 96)
    boundary[:, :, 40:42] = 1  # a line just right of the tile
    theta = compose(torch.tensor([[4 * 2 / 32, 0.0]]), torch.ones(1, 2), torch.zeros(1), torch.zeros(1))
    tile = cut(boundary, torch.tensor([[32, 6]]), theta, tile=32)
    assert torch.equal(tile[0].any(dim=0).nonzero().flatten(), torch.tensor([30, 31]))
    turned = compose(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([math.pi / 5]), torch.zeros(1))
    assert not cut(torch.zeros(1, 96, 96), torch.tensor([[32, 32]]), turned, tile=32).any()
    assert cut(torch.ones(1, 96, 96), torch.tensor([[32, 32]]), turned, tile=32).all()


def test_a_thin_line_is_not_lost_at_any_angle():
    boundary = ring()
    for degrees in range(0, 90, 7):
        theta = compose(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([math.radians(degrees)]), torch.zeros(1))
        turned = cut(boundary, torch.tensor([[16, 16]]), theta, tile=64)
        assert abs(turned.sum() / boundary[:, 16:80, 16:80].sum() - 1) < 0.06


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5), st.integers(1, 21), st.integers(0, 99))
def test_unpacking_what_was_packed_gives_it_back(count, tile, seed):
    tiles = torch.rand(count, tile, tile, generator=torch.Generator().manual_seed(seed)) < 0.3
    packed = pack(tiles)
    assert packed.shape == (count, math.ceil(tile**2 / 8))
    assert torch.equal(unpack(packed, tile), tiles)


@pytest.mark.parametrize("degrees_of_freedom", [6, 8])
def test_a_reflected_pair_is_a_pair_of_the_reflected_transform(degrees_of_freedom):
    count, seeds = 64, torch.arange(64)
    theta = draw(count, RANGES, degrees_of_freedom=degrees_of_freedom, generator=torch.Generator().manual_seed(1))
    place = torch.tensor([[8, 20]]).repeat(count, 1)
    tile, warped = (cut(ring(), place, t, tile=32) for t in (identity(count, like=theta), theta))
    tile, warped, turned = reflect(tile, warped, theta, seeds)
    assert len({tuple(t.flatten().tolist()) for t in tile}) == 8
    again = F.grid_sample(tile[:, None].float(), grid(turned, 32, 32), mode="nearest", align_corners=False)[:, 0] > 0.5
    inner = (slice(None), slice(8, 24), slice(8, 24))
    assert (again == warped)[inner].float().mean() > 0.995
    assert torch.allclose(torch.linalg.det(turned), torch.linalg.det(theta), atol=1e-6)
    assert (turned[:, 2, 2] == 1).all()


def test_of_some_pairs_a_share_of_the_transform_is_left_and_of_the_others_all():
    seeds = torch.arange(20000) * 977
    left = remainders(seeds, 0.4)
    blended = left < 1
    assert abs(blended.float().mean() - 0.4) < 0.02
    assert left.min() >= 0 and abs(left[blended].mean() - 0.5) < 0.02 and abs(left[blended].std() - 12**-0.5) < 0.02
    assert torch.equal(remainders(seeds[5:9], 0.4), left[5:9])
    assert (remainders(seeds, 0.0) == 1).all() and (remainders(seeds, 1.0) < 1).all()

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.boundary import boundaries
from inverseform.pairs import DegradationParams, cut, degrade, pack, reflect, uniform, unpack
from inverseform.transform import TransformRanges, compose, draw, identity, warp

RANGES = TransformRanges(translation=0.2, scale=(0.8, 1.25), rotation=15.0, shear=10.0)
NONE = {"missing": 0.0, "thick": 0.0, "blurred": 0.0, "blur_sigma": 1.5, "faint": 0.0, "noisy": 0.0}


def ring(side=96, radius=30.0):
    """The boundary map of a disc."""
    place = torch.arange(side) - side / 2 + 0.5
    disc = (place[None] ** 2 + place[:, None] ** 2 < radius**2).long()
    return boundaries(disc[None], num_classes=2)[0][0]


def hard_tiles(count=40, tile=32):
    generator = torch.Generator().manual_seed(0)
    origins = torch.randint(0, 96 - tile, (count, 2), generator=generator)
    return cut(ring(), origins, identity(count, like=torch.zeros(1)), tile=tile).float()


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


def test_a_reflected_pair_is_a_pair_of_the_reflected_transform():
    count, seeds = 64, torch.arange(64)
    theta = draw(count, RANGES, degrees_of_freedom=6, generator=torch.Generator().manual_seed(1))
    place = torch.tensor([[8, 20]]).repeat(count, 1)
    tile, warped = (cut(ring(), place, t, tile=32) for t in (identity(count, like=theta), theta))
    tile, warped, turned = reflect(tile, warped, theta, seeds)
    assert len({tuple(t.flatten().tolist()) for t in tile}) == 8
    again = warp(tile[:, None].float(), turned)[:, 0] > 0.499
    inner = (slice(None), slice(8, 24), slice(8, 24))
    assert (again == warped)[inner].float().mean() > 0.995
    assert torch.allclose(torch.linalg.det(turned), torch.linalg.det(theta), atol=1e-6)


def test_uniform_numbers_are_uniform_and_belong_to_their_seed():
    seeds = torch.arange(2000)
    numbers = uniform(seeds, 1, 50)
    assert 0 <= numbers.min() and numbers.max() < 1
    histogram = torch.histc(numbers, 10, 0, 1) / numbers.numel()
    assert (histogram - 0.1).abs().max() < 0.005
    assert torch.corrcoef(numbers.T).fill_diagonal_(0).abs().max() < 0.12
    assert torch.equal(uniform(seeds[7:9], 1, 50), numbers[7:9])
    assert not torch.equal(uniform(seeds, 2, 50), numbers)


def test_a_degraded_tile_depends_on_its_seed_alone():
    params = DegradationParams(missing=0.5, thick=0.5, blurred=0.5, blur_sigma=1.5, faint=0.5, noisy=0.5)
    tiles, seeds = hard_tiles(), torch.arange(40) * 7919
    together = degrade(tiles, seeds, params)
    some = torch.tensor([3, 17, 30])
    assert torch.allclose(degrade(tiles[some], seeds[some], params), together[some], atol=1e-6)
    assert 0 <= together.min() and together.max() <= 1


def test_nothing_is_done_at_probability_zero():
    tiles = hard_tiles()
    assert torch.equal(degrade(tiles, torch.arange(40), DegradationParams(**NONE)), tiles)


def mass(tiles):
    return tiles[:, 5:-5, 5:-5].sum()


LAWS = {
    "missing": lambda before, after: (after <= before).all() and after.sum() < before.sum(),
    "thick": lambda before, after: torch.equal(after, F.max_pool2d(before[:, None], 3, 1, 1)[:, 0]),
    "blurred": lambda before, after: after.max() < 1 and abs(mass(after) / mass(before) - 1) < 0.1,
    "faint": lambda before, after: torch.equal(after > 0, before > 0) and after.sum() < 0.9 * before.sum(),
    "noisy": lambda before, after: 0.01 < (after - before).abs().mean() and (after - before).abs().max() <= 0.2,
}


@pytest.mark.parametrize("name", LAWS)
def test_each_degradation_does_what_its_name_says(name):
    tiles = hard_tiles()
    assert LAWS[name](tiles, degrade(tiles, torch.arange(40), DegradationParams(**{**NONE, name: 1.0})))


def test_degradations_come_as_often_as_they_are_asked_for():
    tiles = torch.ones(2000, 8, 8)
    changed = (degrade(tiles, torch.arange(2000), DegradationParams(**{**NONE, "faint": 0.3})) != tiles).any(-1).any(-1)
    assert abs(changed.float().mean() - 0.3) < 0.03

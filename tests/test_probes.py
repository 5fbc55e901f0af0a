import math
from itertools import groupby, pairwise

import pytest
import torch

from inverseform.probes import UNITS, probes
from inverseform.transform import warp

TILES = [8, 16, 40, 60, 64, 128, 224]


@pytest.mark.parametrize("tile", TILES)
def test_the_identity_comes_first_and_only_once(tile):
    first, *others = probes(tile)
    assert (first.move, first.amount) == ("identity", 0)
    assert torch.equal(first.theta, torch.eye(3))
    assert all(probe.amount > 0 and not torch.equal(probe.theta, torch.eye(3)) for probe in others)


@pytest.mark.parametrize("tile", TILES)
def test_the_order_is_fixed_and_no_move_comes_twice(tile):
    once, again = probes(tile), probes(tile)
    assert [p[:2] + p[3:] for p in once] == [p[:2] + p[3:] for p in again]
    assert torch.equal(torch.stack([p.theta for p in once]), torch.stack([p.theta for p in again]))
    assert len({tuple(p.theta.flatten().tolist()) for p in once}) == len(once)
    assert {p.move for p in once} == set(UNITS)


@pytest.mark.parametrize("tile", TILES)
def test_the_amounts_of_each_way_of_a_move_grow(tile):
    for _, way in groupby(probes(tile)[1:], key=lambda p: (p.move, p.direction)):
        amounts = [p.amount for p in way]
        assert len(amounts) >= 4 and amounts == sorted(set(amounts))


@pytest.mark.parametrize("tile", TILES)
def test_shifts_are_1_to_6_pixels_and_then_as_far_as_a_fifth_of_the_half_tile(tile):
    amounts = sorted({p.amount for p in probes(tile) if p.move == "shift"})
    assert amounts[:6] == [1, 2, 3, 4, 5, 6]
    assert amounts[-1] == max(6, tile // 10)
    assert max(b - a for a, b in pairwise(amounts)) <= 6
    assert all(amount == int(amount) for amount in amounts)


def test_every_move_has_its_opposite():
    sides = {(p.move, p.amount, p.direction): p.theta for p in probes(64)}
    for (move, amount, direction), theta in sides.items():
        other = {"right": "left", "down": "up", "more": "less"}.get(direction)
        if other:
            assert torch.allclose(theta @ sides[move, amount, other], torch.eye(3), atol=1e-6)


def test_a_shift_is_in_pixels():
    tile = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    moves = {(p.amount, p.direction): p.theta for p in probes(20) if p.move == "shift"}
    moved = {way: warp(tile, moves[3.0, way][None]) for way in ("right", "left", "down", "up")}
    # theta says where a pixel comes from: to the right of it, so that the picture goes to the left.
    assert torch.allclose(moved["right"][..., :-3], tile[..., 3:], atol=1e-5)
    assert torch.allclose(moved["left"][..., 3:], tile[..., :-3], atol=1e-5)
    assert torch.allclose(moved["down"][..., :-3, :], tile[..., 3:, :], atol=1e-5)
    assert torch.allclose(moved["up"][..., 3:, :], tile[..., :-3, :], atol=1e-5)


def test_a_turn_keeps_areas_a_scale_multiplies_them_and_a_shear_slants_the_vertical():
    for move, amount, theta, direction in probes(40):
        area = torch.linalg.det(theta).item()
        if move == "scale":
            assert area == pytest.approx((1 + amount) ** (2 if direction == "more" else -2), rel=1e-5)
        else:
            assert area == pytest.approx(1, rel=1e-5)
        if move == "rotation":
            assert math.degrees(math.acos(theta[0, 0].item())) == pytest.approx(amount, abs=1e-3)
        if move == "shear":
            assert abs(theta[0, 1].item()) == pytest.approx(amount)

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from inverseform.boundary import BoundaryParams
from inverseform.distance import euclidean
from inverseform.inverse_net import DenseParams, InverseNet, InverseNetSettings
from inverseform.metrics import response
from inverseform.metrics.response import Answers, answers, figures, points_back, spearman
from inverseform.probes import probes
from inverseform.transform import TransformRanges
from inverseform.trials import draw, material
from tests.drawn import small_net

TILE = 16
MOVES = probes(TILE)


@pytest.fixture(scope="module")
def given_tiles():
    return material(draw(TILE, 4, seed=0), TILE, 5, seed=0)


def asked(net, given, degraded=None):
    """Answers by tile and probe."""
    tiles = given.targets[:, None].expand_as(given.moved).flatten(0, 1).contiguous()
    moved = given.moved.flatten(0, 1)
    found = answers(net, tiles, moved, moved if degraded is None else degraded, MOVES * len(given.targets))
    return Answers(*(column.unflatten(0, (-1, len(MOVES))) for column in found))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=30))
def test_rank_correlation_is_that_of_scipy_ties_included(pairs):
    one, other = torch.tensor(pairs, dtype=torch.float32).unbind(dim=1)
    found = spearman(one, other)
    if one.min() == one.max() or other.min() == other.max():
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(one.numpy(), other.numpy()).statistic, abs=1e-9)


def test_two_values_and_values_that_are_nan_have_no_rank_correlation():
    assert spearman(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])) is None
    assert spearman(torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([1.0, 2.0, 3.0])) is None


def test_a_gradient_points_back_if_a_small_step_against_it_lessens_the_squared_error():
    generator = torch.Generator().manual_seed(0)
    gradient, predicted, target = torch.randn(3, 50, 6, 6, generator=generator).double()
    after = predicted - 1e-6 * gradient
    nearer = (after - target).square().sum(dim=(1, 2)) < (predicted - target).square().sum(dim=(1, 2))
    assert torch.equal(points_back(gradient, predicted, target), nearer)
    assert 5 < nearer.sum() < 45


def test_no_gradient_and_one_that_is_nan_point_nowhere():
    maps = torch.rand(2, 4, 4)
    for gradient in (torch.zeros(2, 4, 4), torch.full((2, 4, 4), torch.nan)):
        assert not points_back(gradient, maps, 1 - maps).any()


def test_answers_are_those_of_a_loop_whatever_goes_through_at_once(given_tiles, monkeypatch):
    net = small_net()
    monkeypatch.setattr(response, "CHUNK", 7)
    found = asked(net, given_tiles)
    for row, target in enumerate(given_tiles.targets):
        for column, probe in enumerate(MOVES):
            moved = given_tiles.moved[row, column].clone().requires_grad_()
            value = euclidean(net.estimate(moved[None], target[None]))[0]
            assert found.distance[row, column] == pytest.approx(value.item(), abs=1e-6)
            change = (moved - target).abs().sum() / target.sum()
            assert found.change[row, column] == pytest.approx(change.item(), rel=1e-5)
            assert found.raw[row, column].isnan() == (probe.move != "identity")
            assert found.normal_mean[row, column].isnan() == ((probe.move, probe.amount) != ("shift", 3.0))
            if probe.move != "shift":
                assert found.back[row, column].isnan()
                continue
            gradient = torch.autograd.grad(value, moved)[0]
            back = (-gradient * (target - moved)).sum() > 0
            assert found.back[row, column] == float(back)
    raw = euclidean(net.estimate(given_tiles.targets, given_tiles.targets, calibrated=False))
    assert torch.allclose(found.raw[:, 0], raw)


def test_the_degraded_maps_have_a_figure_of_their_own(given_tiles):
    degraded = 1 - given_tiles.moved.flatten(0, 1)
    found = asked(small_net(), given_tiles, degraded)
    plain = asked(small_net(), given_tiles)
    assert torch.equal(found.distance, plain.distance)
    assert torch.equal(found.back.nan_to_num(9), plain.back.nan_to_num(9))
    assert not torch.equal(found.back_degraded.nan_to_num(9), plain.back_degraded.nan_to_num(9))


def table(distance, change=1.0):
    """Answers that were made up: a distance for each tile and probe, and all the gradients right."""
    shape = distance.shape
    ones = torch.ones(shape)
    return Answers(distance, distance, ones * change, ones, ones, ones, ones)


def test_a_distance_that_is_the_amount_has_all_figures_perfect():
    distance = torch.tensor([probe.amount for probe in MOVES]).expand(3, -1)
    found = figures(table(distance), MOVES, TILE)
    for move in ("shift", "scale", "rotation", "shear"):
        assert found[f"spearman_{move}"] == pytest.approx(1) == found[f"spearman_within_a_tile_{move}"]
    assert found["identity_ratio"] == 0 and found["points_back"] == 1 and found["probe_tiles"] == 3
    assert found["distance_by_shift"] == {str(float(n)): n for n in range(1, 7)}
    # 0.2 of the half tile would be 1.6 pixels: three shifts are the least that is looked at.
    assert found["distance_at_largest_shift"] == 3


def test_tiles_of_different_scale_are_in_order_each_but_not_together():
    amounts = torch.tensor([probe.amount for probe in MOVES])
    found = figures(table(torch.stack([amounts, 100 * amounts])), MOVES, TILE)
    assert found["spearman_within_a_tile_scale"] == pytest.approx(1)
    assert found["spearman_scale"] < 0.8


def test_a_tile_that_a_move_hardly_changes_has_no_part_in_it():
    amounts = torch.tensor([probe.amount for probe in MOVES])
    change = torch.ones(2, len(MOVES))
    change[1] = 0.4
    answer = table(torch.stack([amounts, -amounts]))._replace(change=change)
    found = figures(answer._replace(back=torch.stack([torch.ones(len(MOVES)), torch.zeros(len(MOVES))])), MOVES, TILE)
    assert found["spearman_rotation"] == pytest.approx(1) and found["points_back"] == 1
    none = figures(table(amounts.expand(2, -1), change=0.1), MOVES, TILE)
    assert none["spearman_shift"] is None and none["points_back"] is None


def test_a_distance_that_never_changes_is_as_bad_as_can_be():
    found = figures(table(torch.zeros(2, len(MOVES))), MOVES, TILE)
    assert found["identity_ratio"] == float("inf")
    assert found["spearman_shift"] is None and found["spearman_within_a_tile_shift"] == 0


def centroid_net(side):
    """An inverse network set by hand: it measures how far the centre of mass has moved, in tiles of mass 1.

    Each of x and y goes through two hidden units, of either sign, as ReLU lets only one of them pass.
    """
    settings = InverseNetSettings(
        network=DenseParams(name="dense", pooling=1, hidden=(4,)), tile=side, degrees_of_freedom=6, occupancy=0.0,
        boundary=BoundaryParams(operator="sobel", radius=1),
        ranges=TransformRanges(translation=0.2, scale=(0.8, 1.25), rotation=10.0, shear=5.0, perspective=0.0),
        mean=(0.0,) * 6, scale=(2.0,) * 6,
    )  # fmt: skip
    net = InverseNet(settings)
    place = (torch.arange(side) * 2 + 1) / side - 1
    x, y = place.expand(side, side).flatten(), place[:, None].expand(side, side).flatten()
    first, last = (layer for layer in net.modules() if isinstance(layer, torch.nn.Linear))
    moved = torch.stack([torch.cat([-axis, axis]) / 36 for axis in (x, y)])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        first.weight.copy_(torch.cat([moved, -moved]))
        # In units of the scale, 2; the numbers 2 and 5 are the shifts.
        for row, units in ((2, (0, 2)), (5, (1, 3))):
            last.weight[row, units[0]], last.weight[row, units[1]] = 0.5, -0.5
    return net


def test_a_network_that_measures_the_centre_of_mass_sees_shifts_and_no_turns():
    side, moves = 32, probes(32)
    square = torch.zeros(1, 1, 3 * side, 3 * side)
    square[..., 45:51, 45:51] = 1
    # The square alone, in the middle of a tile: what leaves and what enters it is nothing.
    given = material([square[0]], side, 200, seed=0)
    middle = (given.targets[:, 13:19, 13:19].sum(dim=(1, 2)) == 36).nonzero().flatten()
    if not len(middle):
        middle = (given.targets[:, 8:24, 8:24].sum(dim=(1, 2)) == 36).nonzero().flatten()
    one = given._replace(targets=given.targets[middle[:1]], moved=given.moved[middle[:1]])
    tiles = one.targets.expand(len(moves), -1, -1).contiguous()
    found = answers(centroid_net(side), tiles, one.moved[0], one.moved[0], moves)
    for value, probe in zip(found.distance.tolist(), moves, strict=True):
        if probe.move == "shift":
            assert value == pytest.approx(probe.amount * 2 / side, abs=1e-4)
    assert found.normal_median[[p.amount == 3 and p.move == "shift" for p in moves]].max() < 1e-3

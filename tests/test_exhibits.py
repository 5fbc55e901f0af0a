import pytest
import torch

from inverseform import exhibits
from inverseform.exhibits import LOSSES, aligned, losses, pushes, sensitivity
from inverseform.loss import InverseFormLoss
from inverseform.probes import probes
from inverseform.trials import sure
from tests.drawn import pair_stores, trained_net

TILE = 32


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return pair_stores(tmp_path_factory.mktemp("exhibits") / "pairs", tile=TILE, pairs=40, probe_tiles=7)


@pytest.fixture(scope="module")
def net():
    return trained_net(TILE, steps=120)


@pytest.fixture(scope="module")
def given(net, stores):
    return sensitivity(net, stores["probe"])


def test_the_moves_are_the_identity_and_one_direction_of_each(given):
    assert given.moves[0].move == "identity"
    assert {(probe.move, probe.direction) for probe in given.moves[1:]} == set(exhibits.WAYS.items())
    for move in exhibits.WAYS:
        amounts = [given.moves[column].amount for column in given.columns(move)]
        assert amounts[0] == 0 and amounts == sorted(amounts) and len(amounts) >= 5


def test_the_drawn_tile_is_moved_as_the_store_has_it(given, stores):
    warped = torch.cat([batch.warped for batch in stores["probe"].all()]).unflatten(0, (7, -1)).float()
    columns = [n for n, p in enumerate(probes(TILE)) if n == 0 or exhibits.WAYS.get(p.move) == p.direction]
    assert torch.equal(given.moved, warped[given.shown][columns])
    fuller = (warped[:, 0].mean(dim=(1, 2)) > given.moved[0].mean()).sum()
    assert 0 < fuller < 7 / 2


def test_every_loss_is_that_of_a_loop_over_the_library(given, net, stores):
    warped = torch.cat([batch.warped for batch in stores["probe"].all()]).unflatten(0, (7, -1)).float()
    columns = [n for n, p in enumerate(probes(TILE)) if n == 0 or exhibits.WAYS.get(p.move) == p.direction]
    assert given.values.shape == (7, len(columns), len(LOSSES))
    for place, name in enumerate(LOSSES[1:], start=1):
        criterion = InverseFormLoss(net, distance=name)
        for tile, column in ((0, 0), (3, 4), (6, len(columns) - 1)):
            predicted, target = sure(warped[tile, columns[column]]), warped[tile, 0]
            slow = criterion(predicted[None, None], target[None, None])
            assert given.values[tile, column, place].item() == pytest.approx(slow.item(), abs=1e-5)


def test_cross_entropy_counts_boundary_and_background_half_each(net):
    target = torch.zeros(TILE, TILE)
    target[5:7] = 1
    predicted = target.roll(1, dims=0)
    probability = torch.sigmoid(sure(predicted))
    on = -probability[target == 1].log().mean()
    off = -(1 - probability[target == 0]).log().mean()
    found = losses(net, sure(predicted)[None], target)
    assert found[0, 0].item() == pytest.approx(((on + off) / 2).item(), rel=1e-4)


def test_a_perfect_prediction_costs_least_of_all(given):
    assert (given.values[:, 1:] >= given.values[:, :1]).all()
    assert (given.swapped > given.values[:, :1]).all()


def test_no_tile_is_swapped_for_itself(given):
    assert given.swapped.shape == (7, exhibits.OTHERS, len(LOSSES))
    assert all(not torch.equal(other, given.moved[0]) for other in given.others)


def test_a_tile_that_is_alone_is_swapped_for_none(net, tmp_path):
    alone = sensitivity(net, pair_stores(tmp_path / "pairs", tile=TILE, probe_tiles=1)["probe"])
    assert alone.swapped.shape == (1, 0, len(LOSSES)) and len(alone.others) == 0


def test_of_many_tiles_some_that_are_evenly_spaced_are_asked(given, net, stores, monkeypatch):
    monkeypatch.setattr(exhibits, "TILES", 3)
    few = sensitivity(net, stores["probe"])
    assert torch.allclose(few.values, given.values[::3], atol=1e-6)


def test_pairs_are_brought_nearer_by_a_network_that_has_learned(net, stores):
    found = aligned(net, stores["val"], lambda pairs: pairs.warped.float())
    assert len(found) == exhibits.ALIGNED
    before, after = (
        sum((getattr(pair, name) - pair.target).abs().sum() for pair in found) for name in ("predicted", "brought")
    )
    assert after < before
    batch = next(stores["val"].all())
    assert all(torch.equal(p.target, batch.tile[5 * n + 2].float()) for n, p in enumerate(found))
    assert found[0].distance[0] == pytest.approx((batch.theta[2] - torch.eye(3)).norm().item())


def test_pairs_are_shown_as_they_are_predicted(net, stores):
    faint = aligned(net, stores["val"], lambda pairs: 0.5 * pairs.warped.float())
    assert all(pair.predicted.max() == 0.5 for pair in faint)


def test_a_step_along_the_push_lowers_the_loss(net, given):
    found = pushes(net, given)
    assert [(push.pixels, push.blurred) for push in found] == [
        (pixels, blurred) for blurred in (False, True) for pixels in exhibits.PUSHES
    ]
    for push in found:
        step = 1e-3 * push.force / push.force.norm()
        costs = [
            InverseFormLoss(net)(torch.logit(maps, eps=1e-6)[None, None], push.target[None, None]).item()
            for maps in (push.predicted, push.predicted + step)
        ]
        assert costs[1] < costs[0]
        assert push.back == bool((push.force * (push.target - push.predicted)).sum() > 0)

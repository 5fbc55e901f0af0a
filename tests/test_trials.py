import pytest
import torch
import torch.nn.functional as F

from inverseform import trials
from inverseform.probes import probes
from inverseform.settings import InputError


def test_drawn_boundaries_are_hard_thin_and_the_same_for_the_same_seed():
    maps = trials.draw(32, 5, seed=3)
    assert len(maps) == 5 and all(m.shape == (1, 96, 96) for m in maps)
    assert all(set(m.unique().tolist()) <= {0, 1} and 0.01 < m.mean() < 0.4 for m in maps)
    assert all(torch.equal(a, b) for a, b in zip(maps, trials.draw(32, 5, seed=3), strict=True))
    assert not torch.equal(maps[0], trials.draw(32, 5, seed=4)[0])


def test_tiles_hold_boundary_and_move_with_what_is_around_them():
    given = trials.material(trials.draw(32, 3, seed=0), 32, 7, seed=0)
    assert given.targets.shape == (7, 32, 32) and given.moved.shape == (7, len(probes(32)), 32, 32)
    assert (given.targets.mean(dim=(1, 2)) >= 0.02).all()
    assert torch.equal(given.moved[:, 0], given.targets)
    column = next(i for i, p in enumerate(given.moves) if (p.move, p.amount, p.direction) == ("shift", 3.0, "right"))
    assert torch.equal(given.moved[:, column, :, :-3], given.targets[:, :, 3:])


def test_maps_too_small_or_empty_are_refused():
    for maps in ([torch.ones(1, 20, 40)], [torch.zeros(1, 64, 64)]):
        with pytest.raises(InputError, match="none of 1 has a tile of 32 x 32 pixels with 2% of boundary; give a smal"):
            trials.material(maps, 32, 2, seed=0)


def test_a_call_gives_value_and_gradient_and_none_where_there_is_no_path():
    logits, target = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    value, gradient = trials.call(lambda x, y: (x - y).square().sum(), logits, target)
    assert value == pytest.approx((logits - target).square().sum().item(), rel=1e-5)
    assert torch.allclose(gradient, 2 * (logits - target), atol=1e-6)
    assert trials.call(lambda x, y: (x.detach() - y).sum(), logits, target)[1] is None
    weight = torch.ones(1, requires_grad=True)
    assert trials.call(lambda x, y: (x > y).float().mean() * weight, logits, target)[1] is None


@pytest.mark.parametrize("given", [lambda x, y: x - y, lambda x, y: 3.0, lambda x, y: (x.sum(), y.sum())])
def test_what_is_no_scalar_is_refused(given):
    with pytest.raises(InputError, match="must give a tensor of one number"):
        trials.call(given, torch.zeros(8, 8), torch.zeros(8, 8))


def test_the_leaves_of_a_graph_are_the_tensors_that_can_be_trained():
    layer = torch.nn.Linear(4, 1)
    value = layer(torch.zeros(4, requires_grad=True) * 2).sum()
    assert {id(p) for p in layer.parameters()} < trials.leaves(value) and len(trials.leaves(value)) == 3


def test_a_sure_prediction_is_near_the_map_a_saturated_one_is_it_and_a_soft_one_is_blurred():
    tile = trials.material(trials.draw(32, 1, seed=0), 32, 1, seed=0).targets[0]
    assert (torch.sigmoid(trials.sure(tile)) - tile).abs().max() < 0.003
    assert torch.equal(torch.sigmoid(trials.sure(tile, trials.SATURATED))[tile == 1], tile[tile == 1])
    soft = torch.sigmoid(trials.soft(tile))
    assert 0.019 < soft.min() < soft.max() < 0.981 and soft[tile == 1].mean() > 2 * soft[tile == 0].mean()


def test_a_loss_is_found_by_its_name_and_a_class_is_called():
    assert trials.named("torch.nn.functional:binary_cross_entropy_with_logits") is F.binary_cross_entropy_with_logits
    assert isinstance(trials.named("torch.nn:BCEWithLogitsLoss"), torch.nn.BCEWithLogitsLoss)


@pytest.mark.parametrize("name", ["torch.nn", "torch.nn:Absent", "absent.module:loss", ":loss", "torch.nn:"])
def test_a_name_that_names_nothing_is_refused(name):
    with pytest.raises(InputError, match=f"^{name}: "):
        trials.named(name)

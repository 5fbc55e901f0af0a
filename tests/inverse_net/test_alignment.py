import pytest
import torch
import torch.nn.functional as functional

from inverseform.inverse_net import alignment
from inverseform.inverse_net.alignment import Alignment, AlignmentParams, LevelParams
from inverseform.inverse_net.network import demand_multiple
from inverseform.settings import InputError

LEVELS = (
    LevelParams(stride=16, reach=1, width=8, depth=1),
    LevelParams(stride=8, reach=2, width=8, depth=1),
    LevelParams(stride=8, reach=0, width=8, depth=1),
)
PARAMS = AlignmentParams(name="alignment", pooling=1, smoothing=0.0, subsampling=1, features=(4, 6, 8), levels=LEVELS)


def network(numbers=6, tile=32, seed=0, params=PARAMS):
    torch.manual_seed(seed)
    return Alignment(params, tile, mean=(0.01,) * numbers, scale=(0.1,) * numbers)


def test_smoothing_keeps_what_is_constant_and_a_width_of_0_is_none():
    assert torch.allclose(alignment._band(24, 2.0, 1) @ torch.full((24, 1), 0.7), torch.full((24, 1), 0.7))
    assert torch.equal(alignment._band(24, 0.0, 1), torch.eye(24))


def test_a_band_is_a_gaussian_and_then_an_average():
    line = torch.rand(24)
    taps = torch.exp(-0.5 * (torch.arange(-4, 5) / 1.5) ** 2)
    padded = torch.cat([line[:1].expand(4), line, line[-1:].expand(4)])
    slow = torch.stack([(padded[k : k + 9] * taps / taps.sum()).sum() for k in range(24)])
    assert torch.allclose(alignment._band(24, 1.5, 2) @ line, slow.reshape(12, 2).mean(dim=1), atol=1e-6)


def test_maps_are_read_at_points_as_grid_sample_reads_them():
    maps = torch.randn(3, 8, 8, 5, dtype=torch.float64, requires_grad=True)
    points = 2.4 * torch.rand(3, 2, 64, dtype=torch.float64) - 1.2
    slow = functional.grid_sample(
        maps.movedim(-1, 1), points.movedim(1, -1).unflatten(1, (8, 8)), align_corners=False
    ).movedim(1, -1)
    fast, upstream = alignment._sample(maps, points), torch.randn(3, 8, 8, 5, dtype=torch.float64)
    assert torch.allclose(fast, slow, atol=1e-12)
    both = [torch.autograd.grad(each, maps, upstream)[0] for each in (fast, slow)]
    assert torch.allclose(*both, atol=1e-12)


def test_the_value_is_the_last_answers_and_the_gradient_the_mean_of_all():
    net = network(tile=64).double()
    predicted = torch.rand(2, 64, 64, dtype=torch.float64, requires_grad=True)
    embedded = net.embed(torch.rand(2, 64, 64, dtype=torch.float64))
    answers, answer = net.refine(predicted, embedded), net.compare(predicted, embedded)
    assert torch.equal(answers[-1], answer)
    each = [torch.autograd.grad(one.sum(), predicted, retain_graph=True)[0] for one in answers]
    mean = torch.autograd.grad(answer.sum(), predicted)[0]
    assert torch.allclose(mean, sum(each) / len(each)) and not torch.allclose(mean, each[-1])


def test_training_reaches_every_weight():
    net = network(tile=64)
    answers = net.refine(torch.rand(2, 64, 64), net.embed(torch.rand(2, 64, 64)))
    sum(answer.square().sum() for answer in answers).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_the_same_weights_answer_for_any_tile():
    small, large = network(tile=32), network(tile=64)
    large.load_state_dict(small.state_dict())
    assert large.compare(torch.rand(1, 64, 64), large.embed(torch.rand(1, 64, 64))).shape == (1, 6)


def test_empty_tiles_give_a_finite_answer_and_gradient():
    net = network()
    empty = torch.zeros(2, 32, 32, requires_grad=True)
    answer = net.compare(empty, net.embed(torch.zeros(2, 32, 32)))
    answer.sum().backward()
    assert answer.isfinite().all() and empty.grad is not None and empty.grad.isfinite().all()


def test_a_tile_that_does_not_divide_into_cells_is_refused():
    with pytest.raises(InputError, match=r"tile is 40 and network.pooling 1: .*parts of 16 pixels.*the tile to 48"):
        network(tile=40)
    with pytest.raises(InputError, match=r"tile is 80 and network.pooling 2: .*parts of 32 pixels.*the tile to 96"):
        demand_multiple(40, 16, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_gives_an_answer_that_is_not(value):
    net = network()
    broken = torch.rand(2, 32, 32)
    broken[0, 3, 4] = value
    answer = net.compare(broken, net.embed(torch.rand(2, 32, 32)))
    assert not answer[0].isfinite().any() and answer[1].isfinite().all()

import pytest
import torch

from inverseform.inverse_net import alignment
from inverseform.inverse_net.alignment import Alignment, AlignmentParams, LevelParams
from inverseform.settings import InputError

LEVELS = (LevelParams(stride=16, reach=1, width=8, depth=1), LevelParams(stride=8, reach=2, width=8, depth=1))
PARAMS = AlignmentParams(name="alignment", pooling=1, smoothing=0.0, features=(4, 6, 8), levels=LEVELS)


def network(numbers=6, tile=32, seed=0, params=PARAMS):
    torch.manual_seed(seed)
    return Alignment(params, tile, mean=(0.01,) * numbers, scale=(0.1,) * numbers)


def test_smoothing_keeps_what_is_constant_and_a_width_of_0_is_none():
    assert torch.allclose(alignment._band(24, 1, 2.0) @ torch.full((24, 1), 0.7), torch.full((24, 1), 0.7))
    assert torch.equal(alignment._band(24, 1, 0.0), torch.eye(24))


def test_a_band_is_an_average_and_then_a_gaussian():
    line = torch.rand(48)
    pooled = line.reshape(24, 2).mean(dim=1)
    taps = torch.exp(-0.5 * (torch.arange(-4, 5) / 1.5) ** 2)
    padded = torch.cat([pooled[:1].expand(4), pooled, pooled[-1:].expand(4)])
    slow = torch.stack([(padded[k : k + 9] * taps / taps.sum()).sum() for k in range(24)])
    assert torch.allclose(alignment._band(48, 2, 1.5) @ line, slow, atol=1e-6)


def test_only_the_last_answer_has_a_gradient_outside_training_and_it_is_the_same():
    net = network(tile=64)
    predicted, target = torch.rand(2, 64, 64, requires_grad=True), torch.rand(2, 64, 64)
    embedded = net.embed(target)
    whole = torch.autograd.grad(net.refine(predicted, embedded)[-1].sum(), predicted)[0]
    short = torch.autograd.grad(net.compare(predicted, embedded).sum(), predicted)[0]
    assert torch.equal(whole, short) and whole.abs().sum() > 0


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
    with pytest.raises(
        InputError, match=r"tile is 40 and network.pooling 1: .*multiple of 16 pixels; set the tile to 48"
    ):
        network(tile=40)

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.inverse_net import alignment
from inverseform.inverse_net.alignment import Alignment, AlignmentParams, LevelParams
from inverseform.settings import InputError
from inverseform.transform import ENTRIES, draw, from_offsets, offsets
from tests.test_transform import RANGES

LEVELS = (LevelParams(stride=16, reach=1, width=8, depth=1), LevelParams(stride=8, reach=2, width=8, depth=1))
PARAMS = AlignmentParams(name="alignment", pooling=1, features=(4, 6, 8), levels=LEVELS)


def network(numbers=6, tile=32, seed=0, params=PARAMS):
    torch.manual_seed(seed)
    return Alignment(params, tile, mean=(0.01,) * numbers, scale=(0.1,) * numbers)


@pytest.mark.parametrize("numbers", [4, 6, 8])
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_fit_finds_the_transform_that_the_displacements_came_from(numbers, seed):
    """Whatever the precisions: where all cells agree there is nothing to weigh."""
    level = network(numbers, tile=64).levels[1]
    generator = torch.Generator().manual_seed(seed)
    theta = draw(3, RANGES, degrees_of_freedom=numbers, generator=generator)
    centres = torch.cat([level.centres, torch.ones(1, level.centres.shape[1])])
    mapped = theta @ centres
    precision = torch.randn(3, 3, level.centres.shape[1], generator=generator)
    # A wide prior, so that it does not pull.
    fitted = level._fit(
        mapped[:, :2] / mapped[:, 2:], precision, torch.zeros(numbers), torch.full((numbers,), 30.0), 0.25
    )
    assert torch.allclose(from_offsets(fitted * 30), theta, atol=2e-3)


def test_without_evidence_the_answer_is_the_prior():
    level = network().levels[0]
    mean, scale = torch.full((6,), 0.02), torch.full((6,), 0.1)
    nothing = torch.full((1, 3, level.centres.shape[1]), -40.0)
    nothing[:, 1] = 0
    fitted = level._fit(level.centres[None] + 0.3, nothing, mean, scale, 1.0)
    assert torch.allclose(fitted, torch.zeros(1, 6), atol=1e-4)


def test_an_edge_alone_does_not_show_a_shift_along_itself():
    """Cells that are sure of their displacement across, and of nothing along it, fix one shift and leave the other."""
    level = network(tile=64).levels[1]
    cells = level.centres.shape[1]
    across = torch.zeros(1, 3, cells)
    # softplus(9 - 1) is near 8; softplus(-40) is nothing.
    across[:, 0], across[:, 2] = 9.0, -40.0
    moved = level.centres[None] + torch.tensor([0.05, 0.05])[:, None]
    fitted = level._fit(moved, across, torch.zeros(6), torch.full((6,), 0.1), 0.25) * 0.1
    shift = offsets(from_offsets(fitted), 6)[0, [2, 5]]
    assert torch.allclose(shift, torch.tensor([0.05, 0.0]), atol=2e-3)


def test_every_level_sees_the_rows_of_a_homography():
    """rows @ offsets = found - centre holds exactly, perspective included."""
    generator = torch.Generator().manual_seed(2)
    theta = draw(1, RANGES, degrees_of_freedom=8, generator=generator).double()
    centres = torch.rand(2, 30, generator=generator, dtype=torch.float64) * 2 - 1
    mapped = theta @ torch.cat([centres, torch.ones(1, 30, dtype=torch.float64)])
    found = mapped[:, :2] / mapped[:, 2:]
    rows = alignment._rows(centres, found)[..., list(ENTRIES[8])]
    moved = (rows @ offsets(theta, 8)[0]).reshape(2, 30)
    assert torch.allclose(moved, (found[0] - centres), atol=1e-12)


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

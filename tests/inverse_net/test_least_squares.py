import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.inverse_net.least_squares import fit
from inverseform.transform import ENTRIES, draw, from_offsets, offsets
from tests.test_transform import RANGES


def lattice(side=8):
    """Centres of cells, x and y."""
    place = (torch.arange(side) * 2 + 1) / side - 1
    y, x = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()])


def moved(theta, centres):
    mapped = theta @ torch.cat([centres, torch.ones_like(centres[:1])])
    return mapped[:, :2] / mapped[:, 2:]


def slow_fit(centres, found, precision, mean, scale):
    """The weighted least squares of a cell after the other, by the rows of the direct linear transform."""
    numbers = len(mean)
    normal, right = torch.eye(numbers, dtype=torch.float64), torch.zeros(numbers, dtype=torch.float64)
    for (x, y), (u, v), (xx, xy, yy) in zip(centres.T, found.T, precision.T, strict=True):
        rows = torch.tensor([[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]])
        rows = rows.double()[:, list(ENTRIES[numbers])]
        weight = torch.tensor([[xx, xy], [xy, yy]]).double()
        gap = torch.stack([u - x, v - y]).double() - rows @ mean.double()
        rows = rows * scale.double()
        normal += rows.T @ weight @ rows
        right += rows.T @ weight @ gap
    return torch.linalg.solve(normal, right)


@pytest.mark.parametrize("numbers", [4, 6, 8])
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_fit_finds_the_transform_that_the_displacements_came_from(numbers, seed):
    """Whatever the precisions: where all cells agree there is nothing to weigh."""
    generator = torch.Generator().manual_seed(seed)
    theta = draw(3, RANGES, degrees_of_freedom=numbers, generator=generator)
    found = moved(theta, lattice())
    factor = torch.randn(3, 64, 2, 2, generator=generator)
    weight = factor @ factor.transpose(-1, -2)
    precision = torch.stack([weight[..., 0, 0], weight[..., 0, 1], weight[..., 1, 1]], dim=1)
    # A wide prior, so that it does not pull.
    fitted = fit(lattice(), found, precision, torch.zeros(numbers), torch.full((numbers,), 100.0))
    assert torch.allclose(from_offsets(fitted * 100), theta, atol=2e-3)


@pytest.mark.parametrize("numbers", [4, 6, 8])
def test_the_fit_is_weighted_least_squares_with_a_prior(numbers):
    generator = torch.Generator().manual_seed(1)
    found = lattice()[None] + 0.2 * torch.randn(1, 2, 64, generator=generator)
    factor = torch.randn(1, 64, 2, 2, generator=generator)
    weight = factor @ factor.transpose(-1, -2)
    precision = torch.stack([weight[..., 0, 0], weight[..., 0, 1], weight[..., 1, 1]], dim=1)
    mean, scale = 0.1 * torch.randn(numbers, generator=generator), 0.1 + torch.rand(numbers, generator=generator)
    slow = slow_fit(lattice(), found[0], precision[0], mean, scale)
    assert torch.allclose(fit(lattice(), found, precision, mean, scale)[0].double(), slow, atol=1e-4)


def test_without_evidence_the_answer_is_the_prior():
    fitted = fit(lattice(), lattice()[None] + 0.3, torch.zeros(1, 3, 64), torch.full((6,), 0.02), torch.full((6,), 0.1))
    assert torch.equal(fitted, torch.zeros(1, 6))


def test_an_edge_alone_does_not_show_a_shift_along_itself():
    """Cells that are sure of their displacement across, and of nothing along it, fix one shift and leave the other."""
    across = torch.zeros(1, 3, 64)
    across[:, 0] = 1e4
    shifted = lattice()[None] + torch.tensor([0.05, 0.05])[:, None]
    fitted = fit(lattice(), shifted, across, torch.zeros(6), torch.full((6,), 0.1)) * 0.1
    assert torch.allclose(offsets(from_offsets(fitted), 6)[0, [2, 5]], torch.tensor([0.05, 0.0]), atol=1e-4)

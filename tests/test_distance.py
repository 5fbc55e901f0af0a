import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.distance import DISTANCES, euclidean
from inverseform.transform import identity

entries = st.lists(st.floats(-3, 3, width=32), min_size=9, max_size=9).map(lambda x: torch.tensor(x).reshape(1, 3, 3))


@settings(deadline=None, max_examples=50)
@given(entries)
def test_euclidean_is_the_root_of_the_sum_of_squares(theta):
    slow = sum((theta[0, i, j].item() - (i == j)) ** 2 for i in range(3) for j in range(3)) ** 0.5
    assert abs(euclidean(theta).item() - slow) < 1e-5


def test_distance_is_zero_at_the_identity_and_its_gradient_finite():
    for distance in DISTANCES.values():
        theta = identity(2, like=torch.zeros(1)).requires_grad_()
        values = distance(theta)
        values.sum().backward()
        assert not values.any() and theta.grad.isfinite().all()


def test_gradient_agrees_with_differences():
    theta = torch.randn(4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for distance in DISTANCES.values():
        assert torch.autograd.gradcheck(distance, theta)

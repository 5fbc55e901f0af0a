import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.pooling import pool


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5), st.integers(0, 2**31))
def test_pooling_is_an_average_over_squares_padded_with_zeros_and_so_is_its_gradient(height, width, size, seed):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, 1, height, width, dtype=torch.float64, generator=generator, requires_grad=True)
    padded = functional.pad(maps, (0, -width % size, 0, -height % size))
    slow, fast = functional.avg_pool2d(padded, size), pool(maps, size)
    assert torch.allclose(fast, slow, atol=1e-12)
    upstream = torch.rand(slow.shape, dtype=torch.float64, generator=generator)
    both = [torch.autograd.grad(each, maps, upstream)[0] for each in (fast, slow)]
    assert torch.allclose(*both, atol=1e-12)


def test_a_second_derivative_goes_through():
    maps = torch.rand(1, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda m: pool(m, 2).square(), maps)


def test_a_square_of_one_pixel_is_the_map_itself():
    maps = torch.rand(2, 3, 3)
    assert pool(maps, 1) is maps
